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

Results are kept on the disk as they come, in a file beside the first output file whose name ends in .unfinished.jsonl.
After a stop, the same command goes on there. Under a launcher, such as torchrun --standalone --nproc_per_node 4,
several processes share the files. The output files do not depend on the number of processes.

Exit status: 0 when every file was traced; 1 when some files could not be traced, which are then named; 2 when no file
could be traced.
"""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from prediction.settings import TraceConfig
from utils.errors import print_error, run
from utils.flags import opt, parse_flags
from utils.hardware import is_first_process


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
    json: Path = opt(None, "write all results to this file", writes="json")
    jsonl: Path = opt(None, "write the same as lines of JSON, one for each file", writes="json")
    csv: Path = opt(None, "write a table with one line for each file to this file", writes="csv")
    parquet: Path = opt(None, "write that table as Parquet; needs pyarrow", writes="parquet")
    plot: Path = opt(None, "write a plot of each file into this folder")


def main(argv=None):
    config = parse_flags(__doc__, argv, PredictConfig)
    from prediction.collecting import blocks_of, plot_paths, run_description, trace_into
    from prediction.journal import journal_path, open_journal
    from prediction.output import Summary, print_results
    from prediction.recordings import STDIN, collect_recordings, describe_passed, split_channels
    from prediction.result_files import WRITERS, output_paths
    from prediction.tracer import Tracer

    outputs = output_paths(config)
    with ExitStack() as stack:
        recordings, passed = collect_recordings(config.files, config.list, stack)
        recordings = split_channels(recordings, config.channel)
        tracer = Tracer(config)
        plots = plot_paths(config.plot, recordings) if config.plot else None
        journal = None
        if is_first_process():
            # Audio on standard input may be another one the next time, so there is nothing to go on with.
            path = None if STDIN in config.files else journal_path(outputs.values())
            run = run_description(tracer, recordings) if path else {}
            journal = stack.enter_context(open_journal(path, run, recordings, blocks_of(recordings, config)))
        begin = time.monotonic()
        there = journal.files if journal else 0
        plot_errors = trace_into(journal, tracer, recordings, plots)
        if not journal:
            return
        seconds = time.monotonic() - begin
        for kind, path in outputs.items():
            WRITERS[kind](path, journal, tracer.settings_used())
        journal.saved = True

        # Everything is on the disk now: a program that reads the output and ends, such as `head`, changes no file.
        summary = Summary(journal)
        print_results(journal, len(recordings), bool(outputs))
        summary.print_counts(seconds, len(recordings) - there)
        summary.print_warnings(tracer.calibration.tpr)
        if passed:
            print(describe_passed(passed), file=sys.stderr)
        summary.print_errors()
        for message in plot_errors:
            print_error(message)
        for path in outputs.values():
            print(f"wrote {path}")
        if config.plot:
            drawn = summary.traced - len(plot_errors)
            print(f"wrote {drawn} plot{'s' * (drawn != 1)} into {config.plot}")
    if summary.failed or plot_errors:
        raise SystemExit(1 if summary.traced else 2)


if __name__ == "__main__":
    run(main)
