"""Predictions as text: what predict.py prints. Results can be iterated several times; see journal.py."""

import sys
from collections import Counter

from utils.console import percent, print_table
from utils.errors import print_error, printable

MOST_BLOCKS = 4  # files that are described one by one; more files make a table
MOST_CLASSES = 8  # classes that a line of text lists
MOST_PEAKS_LISTED = 8
SMALLEST_SHARE = 0.005  # probabilities below this are not listed
MOST_ROWS = 1000  # files that are listed in a table; more are only counted, where they are in an output file
MOST_WARNINGS = 20  # lines about single files


def clock(seconds):
    """`seconds` as text: 75.5 is 1:15.5."""
    tenths = round(seconds * 10)
    hours, minutes = divmod(tenths // 600, 60)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{tenths % 600 // 10:02}.{tenths % 10}"


def list_shares(probabilities):
    """{class: probability} as text, the largest first, without those below SMALLEST_SHARE.

    With more than MOST_CLASSES such classes, the last ones are only counted.
    """
    rows = sorted(probabilities.items(), key=lambda row: -row[1])
    rows = [(name, share) for name, share in rows if share >= SMALLEST_SHARE]
    shown = [f"{name} {percent(share)}" for name, share in rows[:MOST_CLASSES]]
    left = rows[MOST_CLASSES:]
    if left:
        shown.append(f"{len(left)} others {sum(share for _, share in left):.1%}")
    return ", ".join(shown)


def most_probable(probabilities):
    """The most probable class of {class: probability} and its probability, as text."""
    name, share = max(probabilities.items(), key=lambda row: row[1])
    return f"{name} {percent(share)}"


def codec_text(codec):
    """What the table of codecs says, a dict of describe_codec(), as text: "Mimi: VQ MVQ, ..."."""
    if codec["kind"] == "classical":
        parts = "a classical codec, not a neural one"
    else:
        known = [f"{task} {codec[task]}" for task in ("VQ", "AUX", "DEC") if codec[task]]
        parts = ", ".join(known) or "a neural codec"
    head = f"{codec['name']}: " if codec["name"] else ""
    users = f"; used by {', '.join(codec['used_by'])}" if codec["used_by"] else ""
    return f"{head}{parts} (from the table of codecs, not heard){users}"


def list_peaks(peaks):
    """Peaks as text: the MOST_PEAKS_LISTED highest by frequency, and the rates that any peak is a multiple of."""
    shown = ", ".join(f"{hertz:.0f}" for hertz in sorted(peak.hz for peak in peaks[:MOST_PEAKS_LISTED]))
    more = f" and {len(peaks) - MOST_PEAKS_LISTED} more" if len(peaks) > MOST_PEAKS_LISTED else ""
    rates = sorted({rate for peak in peaks for rate in peak.frame_rates})
    return f"{shown} Hz{more}" + (f"; multiples of {' and '.join(f'{rate:g}' for rate in rates)} Hz" if rates else "")


def describe_prediction(prediction):
    """A Prediction as lines of text."""
    p = prediction
    lines = [
        printable(p.file),
        f"  verdict        {p.verdict}: {p.reason}",
        *([f"  codec          {codec_text(p.codec)}"] if p.codec else []),
        f"  probabilities  {list_shares(p.probabilities)}",
        f"  fit            {p.detector} {p.score:.4g}, threshold {p.threshold:.4g};"
        f" percentile {p.percentile:.1f} and p = {p.p_value:.3g} among development files",
        f"  windows        {p.windows} over {clock(p.seconds)}, {p.agreement:.0%} agree",
    ]
    if p.peaks:
        lines.append(f"  peaks          {list_peaks(p.peaks)}")
    lines += [f"  {task:<14} {list_shares(classes)} (heard, not calibrated)" for task, classes in p.taxonomy.items()]
    if len(p.timeline) > 1:
        rows = [f"{clock(s.start):>10} - {clock(s.end):<10} {s.source}" for s in p.timeline]
        lines += ["  timeline", *(f"    {row}" for row in rows)]
    return "\n".join(lines)


def table_row(prediction):
    """A Prediction as a row of the table of many files."""
    p = prediction
    taxonomy = [most_probable(classes) for classes in p.taxonomy.values()]
    measured = f"{p.p_value:.3f}", f"{p.agreement:.0%}", clock(p.seconds), len(p.timeline)
    return p.file, p.verdict, most_probable(p.probabilities), *measured, *taxonomy


class TableRows:
    """table_row() of the predictions among `results`, each made when it is printed."""

    def __init__(self, results):
        self.results = results

    def __iter__(self):
        return map(table_row, filter(None, self.results))


def print_results(results, count, saved):
    """Print a block of text for each Prediction; a table, where there are more than MOST_BLOCKS of `count` results.

    A table of more than MOST_ROWS is printed only where results are not `saved` in a file.
    """
    predictions = filter(None, results)
    if count <= MOST_BLOCKS:
        blocks = list(map(describe_prediction, predictions))
        print("\n\n".join(blocks), end="\n" * bool(blocks))
        return
    first = next(predictions, None)
    if first and (count <= MOST_ROWS or not saved):
        header = "file", "verdict", "most probable", "p", "agree", "length", "segments", *first.taxonomy
        print_table(header, TableRows(results))
        print()


class Summary:
    """Counts of all `results`, made in one pass over them."""

    def __init__(self, results):
        self.verdicts = Counter()
        self.failed = 0
        self.below = 0  # whose score is below the threshold
        self.notes = 0  # on channels and sound tracks
        self.errors = []  # the first messages on files that could not be used
        self.warnings = []  # the first notes
        for result in results:
            self._count(result)

    def _count(self, result):
        if not result:
            self.failed += 1
            self.errors += [result.error] if len(self.errors) < MOST_WARNINGS else []
            return
        self.verdicts[result.verdict] += 1
        self.below += result.score < result.threshold
        for note in filter(None, (result.channel_note, result.file_note)):
            self.notes += 1
            line = f"{printable(result.file)}: {note}"
            self.warnings += [line] if len(self.warnings) < MOST_WARNINGS else []

    @property
    def traced(self):
        """How many files have a verdict."""
        return self.verdicts.total()

    def print_counts(self, seconds, new):
        """Print how often each verdict was given, and how fast, where there are more than MOST_BLOCKS files.

        `seconds` is the time in which the `new` ones of the files were traced.
        """
        count = self.traced + self.failed
        if count <= MOST_BLOCKS:
            return
        rows = [*self.verdicts.most_common(), *([("cannot be used", self.failed)] if self.failed else [])]
        print_table(("verdict", "files", "%"), [(name, f"{n:,}", f"{100 * n / count:.1f}") for name, n in rows])
        print(f"{new:,} files in {clock(seconds)}, {new / seconds:.1f} a second")

    def print_warnings(self, tpr):
        """Print warnings on a shift of the data, and the notes on files; these only for a table."""
        if self.traced >= 20 and self.below > 3 * (1 - tpr) * self.traced:
            print(
                f"warning: {self.below} of {self.traced} files fit the known sources worse than the threshold. For"
                f" known sources about {1 - tpr:.0%} are expected. The codecs are unknown, or the recordings differ"
                " from the training data"
            )
        if self.traced > MOST_BLOCKS:  # the text of a few files has it
            for line in self.warnings:
                print(f"warning: {line}")
            print_more(self.notes, "notes on channels and sound tracks: see the reasons of the verdicts", sys.stdout)

    def print_errors(self):
        """Print the messages on files that could not be used."""
        for message in self.errors:
            print_error(message)
        print_more(self.failed, "files that cannot be used: see their errors in the output file", sys.stderr)


def print_more(count, what, stream):
    """Print how many of `count` lines were left out, where some were."""
    if count > MOST_WARNINGS:
        print(f"... and {count - MOST_WARNINGS:,} more {what}", file=stream)
