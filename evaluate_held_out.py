"""Name the sources of your own clips by the spectral fingerprint, with whole groups held out of training.

    python evaluate_held_out.py clips.csv --group page --json result/held_out.json

clips.csv has a header and a line for each clip: the columns file (a path relative to the table), label (real, or the
name of a codec) and the one that --group names. Each group is held out in turn: no clip of it is in the training data
of the reader that judges it. The printed F1 says what to expect of recordings by other hands.

    python evaluate_held_out.py clips.csv --group page --copies 6 --cache save_feats/fingerprints --save models/mine
    python predict.py clip.wav --model_folder models/mine

With --save, a reader is also trained on all clips and written, ready for predict.py. Its probabilities and its limits
are calibrated on the held-out clips; the printed verdicts are those that predict.py would give of them. With --copies,
training also draws copies of each clip that went through random channels: MP3, Opus, noise, a room and others. --cache
keeps all fingerprints, which take most of the time.
"""

from dataclasses import dataclass
from pathlib import Path

from utils.errors import run
from utils.flags import Flags, number, opt, parse_flags, random_seed
from utils.settings import METRICS_JSON


@dataclass(frozen=True)
class HeldOut(Flags):
    """Held-out groups."""

    table: Path = opt(None, "CSV file with the columns file, label and that of --group", positional=True)
    group: str = opt("page", "column that names what is held out as a whole, such as a page, a speaker or a device")
    merge: tuple[str, ...] = opt(
        (), "labels that cannot be told apart, as a/b: they become one label of this name", nargs="+", type=str
    )
    model: str = opt(
        "fingerprint-kernel", "which reader of the fingerprint", choices=("fingerprint", "fingerprint-kernel")
    )
    copies: int = opt(0, "copies of each training clip through random channels", type=number(int, 0))
    cache: Path = opt(None, "folder that keeps the fingerprints for the next run")
    num_epochs: int = opt(25, "passes over the training clips of each reader", type=number(int, 1))
    lr: float = opt(3e-3, "largest step size of AdamW", type=number(float, 0))
    seed: int = opt(688, "random seed", type=random_seed)
    treatments: tuple[str, ...] = opt(
        (), "also judge the clips after these treatments; --treatments all takes every one", nargs="+", type=str
    )
    enrol: tuple[int, ...] = opt(
        (), "also enrol codecs that a reader has not learned, from so many clips", nargs="+", type=number(int, 1)
    )
    save: Path = opt(None, "also train on all clips, and write the model into this folder")
    tpr: float = opt(0.95, "share of known clips that the threshold of --save keeps", type=number(float, 0.5, 1))
    plot: Path = opt(None, "also draw the risk-coverage curve of --save to this .png file", writes="png")
    json: Path = METRICS_JSON()


def main(argv=None):
    config = parse_flags(__doc__, argv, HeldOut)
    from evaluation import held_out
    from reporting.held_out_section import check_curve_file
    from utils.files import check_writable
    from utils.locks import lock_folders

    config = held_out.check_treatments(config)
    check_curve_file(config)
    clips = held_out.read_held_out_clips(config)
    if config.cache:
        check_writable(config.cache)
    with lock_folders(*([config.save] if config.save else [])):
        evaluate(config, clips)


def evaluate(config, clips):
    """Judge `clips`, each by a reader that has not heard its group; write all that the flags ask for."""
    from data.laundering import UNTREATED
    from engine.fingerprints import add_copies
    from evaluation import held_out
    from evaluation.freshness import MEASURED_OF, of_files
    from evaluation.tables import write_metrics
    from prediction import held_out_model
    from prediction.held_out_enrolment import evaluate_held_out_enrolment
    from reporting.held_out_section import write_risk_coverage

    measured_of = of_files(config, [config.table])
    tests = held_out.read_treated(clips, config)
    copies = add_copies(tests[UNTREATED].views, clips, config.copies, config.seed, config.cache)
    judged, folds = held_out.judge_held_out(copies, tests, clips, config)

    metrics = held_out.measure_held_out(judged[UNTREATED])
    held_out.print_held_out(metrics)
    if config.save:
        metrics |= save_calibrated(config, clips, copies, judged)
    elif config.treatments:
        metrics["treatments"] = held_out_model.measure_treatments(judged)
        held_out_model.print_treatments(metrics["treatments"])
    if config.enrol:
        metrics["enrolment"] = evaluate_held_out_enrolment(clips, folds, config)
    write_metrics(config, metrics | {MEASURED_OF: measured_of})
    if config.plot:
        write_risk_coverage(config.plot, metrics)


def save_calibrated(config, clips, copies, judged):
    """Train on all clips, write the model into --save; print and give the verdicts on the held-out clips."""
    from data.laundering import UNTREATED
    from engine.fingerprints import fit_reader
    from evaluation import held_out
    from prediction import held_out_model

    reader, train = fit_reader(copies, held_out.class_labels(clips), held_out.clip_groups(clips), config)
    clean = judged[UNTREATED]
    description, tensors = held_out.calibrate_held_out(clean, train, config.tpr)
    tensors |= held_out.class_fingerprints(copies[0].float(), train.labels)
    metrics = {
        "verdicts": held_out_model.verdict_rates(clean, description),
        "risk_coverage": held_out_model.risk_coverage(clean, description),
    }
    held_out_model.print_verdict_rates(metrics["verdicts"])
    if config.treatments:
        metrics["treatments"] = held_out_model.measure_treatments(judged, description)
        held_out_model.print_treatments(metrics["treatments"])
    held_out_model.save_model(config, clean.names, reader, description, tensors)
    return metrics


if __name__ == "__main__":
    run(main)
