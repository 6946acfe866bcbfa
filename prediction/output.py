"""Trace audio files: real speech, a known codec, an unknown codec, or no answer, with figures that say how sure.

    python predict.py clip.wav --model_folder models/w2v
    python predict.py folder/ --model_folder models/w2v --json out.json --csv out.csv --plot pictures
    find . -name '*.flac' | python predict.py - --model_folder models/w2v

Any format, sample rate and length that libsndfile reads. --model_folder needs what main_train.py and calibrate.py
wrote there; nothing else is read and nothing is fetched, but that W2VAASIST needs its XLS-R (--SSL_path). A model that
was not calibrated is refused: without development data nothing says what its scores mean. Of a folder, files with the
usual extensions are taken, those of its folders too. Flags of several values, such as --taxonomy_model, come after the
files.

"cannot tell" is an answer: no source is probable enough (--min_probability), the windows of a file disagree
(--min_agreement), or the file is silent or too short. The timeline of a longer file then says more.

Exit status: 0 when every file was traced; 1 when some could not be, which are named, and the others were; 2 when
nothing was.
"""

from pathlib import Path

from config import parse_config
from config_predict import PredictConfig
from utils.errors import print_error, printable, run

BLOCKS = 4  # files that are described one by one; more make a table


def clock(seconds):
    """`seconds` as text: 75.5 is 1:15.5."""
    tenths = round(seconds * 10)
    hours, minutes = divmod(tenths // 600, 60)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{tenths % 600 // 10:02}.{tenths % 10}"


def shares(probabilities, least=0.005):
    """Probabilities as text, the largest first, without those that round to nothing."""
    rows = sorted(probabilities.items(), key=lambda row: -row[1])
    return ", ".join(f"{name} {value:.1%}" for name, value in rows if value >= least)


def block(prediction):
    """A Prediction as lines of text."""
    p = prediction
    lines = [
        printable(p.file),
        f"  verdict        {p.verdict}: {p.reason}",
        f"  probabilities  {shares(p.probabilities)}",
        f"  fit            {p.detector} {p.score:.4g}, threshold {p.threshold:.4g};"
        f" percentile {p.percentile:.1f} and p = {p.p_value:.3g} among development files",
        f"  windows        {p.windows} over {clock(p.seconds)}, {p.agreement:.0%} agree",
    ]
    lines += [f"  {task:<14} {shares(classes)} (not calibrated)" for task, classes in p.taxonomy.items()]
    if len(p.timeline) > 1:
        rows = [f"{clock(s['start']):>10} - {clock(s['end']):<10} {s['source']}" for s in p.timeline]
        lines += ["  timeline", *(f"    {row}" for row in rows)]
    return "\n".join(lines)


def print_predictions(predictions):
    """Print blocks, or a table when they are many."""
    if len(predictions) <= BLOCKS:
        print("\n\n".join(map(block, predictions)), end="\n" * bool(predictions))
        return
    from utils.console import print_table

    def row(p):
        most = [shares(classes).partition(",")[0] for classes in (p.probabilities, *p.taxonomy.values())]
        figures = f"{p.p_value:.3f}", f"{p.agreement:.0%}", clock(p.seconds), len(p.timeline)
        return p.file, p.verdict, most[0], *figures, *most[1:]

    header = "file", "verdict", "most probable", "p", "agree", "length", "segments", *predictions[0].taxonomy
    print_table(header, [row(p) for p in predictions])


def warn_of_shift(predictions, tpr):
    """Say so when far more files fall below the threshold than known sources would."""
    below = sum(p.score < p.threshold for p in predictions)
    if len(predictions) >= 20 and below > 3 * (1 - tpr) * len(predictions):
        print(
            f"{below} of {len(predictions)} files fit the known sources worse than the threshold, where {1 - tpr:.0%}"
            " of known ones would: unknown codecs, or recordings unlike those of training"
        )


def csv_text(predictions, failures):
    """A row a file: its figures in columns, or what is wrong with it."""
    from utils.files import csv_line

    first = predictions[0] if predictions else None
    plain = ["file", "verdict", "reason", "seconds", "windows", "agreement", "detector", "score", "threshold"]
    plain += ["percentile", "p_value"]
    known = [f"p({name})" for name in first.probabilities] if first else []
    tasks = [f"{task}({name})" for task, classes in first.taxonomy.items() for name in classes] if first else []
    rows = [[*plain, *known, *tasks, "error"]]
    for p in predictions:
        shares = [*p.probabilities.values(), *(v for classes in p.taxonomy.values() for v in classes.values())]
        rows.append([*(getattr(p, name) for name in plain), *shares, ""])
    for file, message in failures:
        rows.append([file, *[""] * (len(plain) + len(known) + len(tasks) - 1), message])
    return "".join(map(csv_line, rows))


def write_plots(folder, predictions):
    """Write FILE.png of each Prediction into `folder`; a name that occurs again is numbered."""
    from prediction.plots import draw
    from utils.files import replacing

    taken = set()
    for prediction in predictions:
        stem = Path(prediction.file).stem
        names = (f"{stem}.png", *(f"{stem}-{number}.png" for number in range(2, len(predictions) + 1)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        with replacing(folder / name) as temporary:
            draw(prediction.file, prediction, temporary)
    print(f"wrote {len(taken)} picture{'s' * (len(taken) > 1)} into {folder}")


def main(argv=None):
    config = parse_config(__doc__, argv, PredictConfig)
    from evaluation.f1 import write_metrics
    from prediction.verdict import Tracer
    from prediction.windows import audio_files
    from utils.files import check_writable, write_text

    files = audio_files(config.files)
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
    write_metrics(config, {**tracer.settings(), "files": [p.as_dict() for p in predictions], "failed": failed})
    if config.plot:
        write_plots(config.plot, predictions)
    if failures:
        raise SystemExit(1 if predictions else 2)


if __name__ == "__main__":
    run(main)
