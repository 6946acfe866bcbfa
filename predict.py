"""Trace audio files: each gets a verdict (real speech, a known codec, an unknown codec, or "cannot tell") and metrics.

    python predict.py clip.wav
    python predict.py folder/ --json out.json --csv out.csv --plot plots
    find . -name '*.flac' | python predict.py - --model_folder models/w2v

A file may have any format, sample rate and length that libsndfile reads. For a folder, predict.py reads all audio files
below it. Without --model_folder, the model of real codecs in pretrained/real-codecs answers; its README.md says what it
knows and how often it is wrong. Another folder must hold what main_train.py and calibrate.py, or evaluate_held_out.py,
wrote. Nothing else is read and nothing is downloaded, except the XLS-R of W2VAASIST (--SSL_path). A model without
calibration is refused, because without development data nobody knows what its scores mean. Flags with several values,
such as --taxonomy_model, come after the files.

The verdict is "unknown codec" when real speech is too improbable but no codec is probable enough, and when the file
fits no known source. It is "cannot tell" when no source is probable enough, when the windows of a file disagree
(--min_agreement), and when the file is silent or too short. The timeline of a longer file then gives details.

Exit status: 0 when every file was traced; 1 when some files could not be traced, which are then named; 2 when no file
could be traced.
"""

from dataclasses import dataclass
from pathlib import Path

from prediction.settings import TraceConfig
from utils.errors import print_error, run
from utils.flags import opt, parse_flags


@dataclass(frozen=True)
class PredictConfig(TraceConfig):
    """Input and output."""

    files: tuple[str, ...] = opt(
        (),
        "audio files, folders of them, or - for names on standard input, one a line",
        positional=True,
        nargs="+",
        metavar="FILE",
    )
    json: Path = opt(None, "write all results to this file")
    csv: Path = opt(None, "write a table with one line for each file to this file")
    plot: Path = opt(None, "write a plot of each file into this folder")


def main(argv=None):
    config = parse_flags(__doc__, argv, PredictConfig)
    from evaluation.tables import write_metrics
    from prediction.output import csv_text, print_predictions, warn_of_shift, write_plots
    from prediction.tracer import Tracer
    from prediction.windows import list_audio_files
    from utils.files import check_writable, write_text

    files = list_audio_files(config.files)
    if config.csv:
        check_writable(config.csv.parent, config.csv)
    if config.plot:
        check_writable(config.plot)

    tracer = Tracer(config)
    results = tracer.trace(files)
    predictions = [prediction for prediction, _ in results if prediction]
    failures = [(file, message) for file, (prediction, message) in zip(files, results, strict=True) if not prediction]

    print_predictions(predictions)
    warn_of_shift(predictions, tracer.calibration.tpr)
    for _, message in failures:
        print_error(message)
    if config.csv:
        write_text(config.csv, csv_text(predictions, failures))
        print(f"wrote {config.csv}")
    failed = [{"file": file, "error": message} for file, message in failures]
    write_metrics(config, {**tracer.settings_used(), "files": [p.as_dict() for p in predictions], "failed": failed})
    if config.plot:
        write_plots(config.plot, predictions)
    if failures:
        raise SystemExit(1 if predictions else 2)


if __name__ == "__main__":
    run(main)
