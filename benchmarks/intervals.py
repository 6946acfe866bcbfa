"""Time of 1,000 bootstrap resamples of F1, AUC, FPR95 and EER of 150,000 files, against a plain loop over resamples.

    python benchmarks/intervals.py --threads 2

The names are those of ST-Codecfake: speakers and utterances of VCTK and AISHELL-3 in seven versions. The loop picks the
files of a resample and calls metrics.py; it does a few resamples, of which the time for all of them follows. Those few
must agree first.
"""

import statistics
import sys

from common import arguments, report, timed

KNOWN, UNSEEN, CLASSES = 92_596, 57_404, 7
TOLERANCE = {"auc": 1e-4, "fpr95": 2e-3, "eer": 5e-4, "macro_f1": 1e-6}  # far below the spread of the resamples


def make_input():
    """File names and scores of both sides, true and predicted classes of the known one."""
    import numpy as np

    rng = np.random.default_rng(0)

    def names(n, versions):
        utterances = [f"SSB{row // 40:04d}{row % 40:04d}.wav" for row in range(-(-n // versions))]
        return [f"codec{version}_{name}" for version in range(versions) for name in utterances][:n]

    files = {"known": names(KNOWN, 7), "unseen": names(UNSEEN, 5)}
    scores = {"known": rng.normal(2, 1, KNOWN), "unseen": rng.normal(0, 1, UNSEEN)}
    truth = rng.integers(0, CLASSES, KNOWN)
    return files, scores, truth, np.where(rng.random(KNOWN) < 0.9, truth, rng.integers(0, CLASSES, KNOWN))


def ours(files, scores, truth, predicted, resamples, kind):
    """The Resampling, and {figure: replicates [resamples]}."""
    from evaluation.intervals import Resampling, bootstrap_classification, bootstrap_detection

    resampling = Resampling(files, resamples, kind)
    found = {name: values for name, (_, values) in bootstrap_detection(resampling, scores, "known")["unseen"].items()}
    found["macro_f1"] = bootstrap_classification(resampling, {"known": (truth, predicted)}, CLASSES)["macro_f1"][1]
    return resampling, found


def reference(resampling, scores, truth, predicted, resamples):
    """{figure: the first few replicates}, each from the files of its resample."""
    import numpy as np

    from evaluation.metrics import auc, equal_error_rate, fpr95, macro_f1

    found = {name: [] for name in TOLERANCE}
    for weights in resampling.weights[:resamples]:
        drawn = {which: np.repeat(np.arange(len(ids)), weights[ids]) for which, ids in resampling.ids.items()}
        sides = [scores[which][rows] for which, rows in drawn.items()]
        found["auc"].append(auc(*sides))
        found["fpr95"].append(fpr95(*sides))
        found["eer"].append(equal_error_rate(*sides)[0])
        found["macro_f1"].append(macro_f1(truth[drawn["known"]], predicted[drawn["known"]]))
    return found


def main(argv=None):
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--resamples", type=int, default=1000, help="resamples (default: 1000)")
    parser.add_argument("--few", type=int, default=10, help="resamples of the loop (default: 10)")
    options = parser.parse_args(argv)
    import numpy as np
    import torch

    torch.set_num_threads(options.threads)
    files, scores, truth, predicted = make_input()
    rows, figures = [], {}
    for kind in ("none", "utterance", "speaker"):
        turns, ratios = [], []
        for _ in range(options.runs):
            (resampling, found), seconds, peak = timed(
                lambda kind=kind: ours(files, scores, truth, predicted, options.resamples, kind)
            )
            plain, few, _ = timed(
                lambda resampling=resampling: reference(resampling, scores, truth, predicted, options.few)
            )
            for name, values in plain.items():
                worst = np.abs(found[name][: options.few] - values).max()
                if worst > TOLERANCE[name]:
                    sys.exit(f"{name} of the same resample differs by {worst:.2g}, expected at most {TOLERANCE[name]}")
            turns.append((seconds, peak))
            ratios.append(few * options.resamples / options.few / seconds)
        seconds, peak = statistics.median(turn[0] for turn in turns), max(turn[1] for turn in turns)
        ratio = statistics.median(ratios)
        clusters = resampling.weights.shape[1]
        figures[kind] = {"clusters": clusters, "ours_s": seconds, "ours_peak": peak, "ratio": ratio}
        figures[kind]["ratio_range"] = [min(ratios), max(ratios)]
        times = f"{ratio * seconds:.0f}", f"{seconds:.1f}", f"{ratio:.0f} [{min(ratios):.0f}, {max(ratios):.0f}]"
        rows.append((kind, clusters, *times, f"{peak / 1e6:.0f}"))
    header = ("--cluster", "clusters", "loop (s)", "ours (s)", "ratio [range]", "ours peak (MB)")
    report("intervals", header, rows, {"files": KNOWN + UNSEEN, "resamples": options.resamples, "cluster": figures})


if __name__ == "__main__":
    main()
