"""Trace audio files: each gets a verdict (real speech, a known codec, an unknown codec, or "cannot tell") and metrics.

    python predict.py clip.wav
    python predict.py folder/ --json out.json --csv out.csv --plot plots
    python predict.py --list names.txt --model_folder models/w2v
    ffmpeg -i meeting.mkv -f wav - | python predict.py -

A file may have any length and sample rate, and any format that libsndfile or FFmpeg reads; of a video, its sound is
read. The content decides, not the extension. For a folder, predict.py reads all files below it that have the extension
of audio or video. The name - means audio on standard input. --list reads names of files and folders from a file, one a
line, and --list - reads them from standard input. Of several channels, the mean is traced: --channel each gives each of
them a verdict.

Without --model_folder, the model of real codecs in pretrained/real-codecs answers; its README.md says what it knows and
how often it is wrong. Another folder must hold what main_train.py and calibrate.py, or evaluate_held_out.py, wrote.
Nothing else is read and nothing is downloaded, except the XLS-R of W2VAASIST (--SSL_path). A model without calibration
is refused, because without development data nobody knows what its scores mean. Flags with several values, such as
--taxonomy_model, come after the files.

The verdict is "unknown codec" when real speech is too improbable but no codec is probable enough, and when the file
fits no known source. It is "cannot tell" when no source is probable enough, when the windows of a file disagree
(--min_agreement), and when the file is silent or too short. The timeline of a longer file then gives details.

Exit status: 0 when every file was traced; 1 when some files could not be traced, which are then named; 2 when no file
could be traced.
"""

import sys
from contextlib import ExitStack
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
        "audio files, folders of them, or - for audio on standard input",
        positional=True,
        nargs="*",
        metavar="FILE",
    )
    list: str = opt(None, "file of names of files and folders, one a line; - for standard input", "-l", metavar="FILE")
    json: Path = opt(None, "write all results to this file")
    csv: Path = opt(None, "write a table with one line for each file to this file")
    plot: Path = opt(None, "write a plot of each file into this folder")


def main(argv=None):
    config = parse_flags(__doc__, argv, PredictConfig)
    from evaluation.tables import write_metrics
    from prediction.output import csv_text, print_predictions, warn_of_channels, warn_of_shift, write_plots
    from prediction.recordings import collect_recordings, describe_passed
    from prediction.tracer import Tracer
    from utils.files import check_writable, write_text

    if config.csv:
        check_writable(config.csv.parent, config.csv)
    if config.plot:
        check_writable(config.plot)

    with ExitStack() as stack:
        recordings, passed = collect_recordings(config.files, config.list, stack)
        tracer = Tracer(config)
        results = tracer.trace(recordings)
        predictions = [result for result in results if result]
        failures = [result for result in results if not result]

        print_predictions(predictions)
        warn_of_shift(predictions, tracer.calibration.tpr)
        warn_of_channels(predictions)
        if passed:
            print(describe_passed(passed), file=sys.stderr)
        for failure in failures:
            print_error(failure.error)
        if config.csv:
            write_text(config.csv, csv_text(predictions, failures))
            print(f"wrote {config.csv}")
        files, failed = ([result.to_dict() for result in kind] for kind in (predictions, failures))
        write_metrics(config, {**tracer.settings_used(), "files": files, "failed": failed})
        if config.plot:
            write_plots(config.plot, predictions)
    if failures:
        raise SystemExit(1 if predictions else 2)


if __name__ == "__main__":
    run(main)
