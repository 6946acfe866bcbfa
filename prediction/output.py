"""Predictions as text, as a table, as CSV and as plots: what predict.py prints and writes."""

from utils.console import print_table
from utils.errors import printable
from utils.files import csv_line

MOST_BLOCKS = 4  # files that are described one by one; more files make a table
MOST_CLASSES = 8  # classes that a line of text lists
MOST_PEAKS_LISTED = 8
SMALLEST_SHARE = 0.005  # probabilities below this are not listed
CSV_FIELDS = (
    *("file", "verdict", "reason", "seconds", "sample_rate", "windows", "agreement"),
    *("detector", "score", "threshold", "percentile", "p_value"),
)


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
    shown = [f"{name} {share:.1%}" for name, share in rows[:MOST_CLASSES]]
    left = rows[MOST_CLASSES:]
    if left:
        shown.append(f"{len(left)} others {sum(share for _, share in left):.1%}")
    return ", ".join(shown)


def most_probable(probabilities):
    """The most probable class of {class: probability} and its probability, as text."""
    name, share = max(probabilities.items(), key=lambda row: row[1])
    return f"{name} {share:.1%}"


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


def print_predictions(predictions):
    """Print a block of text for each Prediction, or a table when there are more than MOST_BLOCKS."""
    if len(predictions) <= MOST_BLOCKS:
        print("\n\n".join(map(describe_prediction, predictions)), end="\n" * bool(predictions))
        return
    header = "file", "verdict", "most probable", "p", "agree", "length", "segments", *predictions[0].taxonomy
    print_table(header, [table_row(p) for p in predictions])


def warn_of_shift(predictions, tpr):
    """Print a warning when many more files are below the threshold than known sources would be."""
    below = sum(p.score < p.threshold for p in predictions)
    if len(predictions) >= 20 and below > 3 * (1 - tpr) * len(predictions):
        print(
            f"warning: {below} of {len(predictions)} files fit the known sources worse than the threshold. For known"
            f" sources about {1 - tpr:.0%} are expected. The codecs are unknown, or the recordings differ from the"
            " training data"
        )


def warn_of_channels(predictions):
    """Print a warning for each file of a table whose channels do not mix well; the text of a few files has it."""
    if len(predictions) > MOST_BLOCKS:
        for p in predictions:
            if p.channel_note:
                print(f"warning: {printable(p.file)}: {p.channel_note}")


def csv_text(predictions, failures):
    """A line for each Prediction with its fields in columns, and one for each of `failures`."""
    first = predictions[0] if predictions else None
    known = [f"p({name})" for name in first.probabilities] if first else []
    tasks = [f"{task}({name})" for task, classes in first.taxonomy.items() for name in classes] if first else []
    rows = [[*CSV_FIELDS, *known, *tasks, "codec", "error"]]
    for p in predictions:
        taxonomy = [share for classes in p.taxonomy.values() for share in classes.values()]
        codec = codec_text(p.codec) if p.codec else ""
        rows.append([*(getattr(p, name) for name in CSV_FIELDS), *p.probabilities.values(), *taxonomy, codec, ""])
    for failure in failures:
        rows.append([failure.file, *[""] * (len(rows[0]) - 2), failure.error])
    return "".join(map(csv_line, rows))


def write_plots(folder, predictions):
    """Write FILE.png of each Prediction into `folder`; a repeated name is numbered."""
    taken = set()
    for prediction in predictions:
        stem = prediction.recording.stem
        names = (f"{stem}.png", *(f"{stem}-{n}.png" for n in range(2, len(predictions) + 1)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        prediction.plot(folder / name)
    print(f"wrote {len(taken)} plot{'s' * (len(taken) != 1)} into {folder}")
