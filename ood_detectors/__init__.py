"""Out-of-distribution detectors: DETECTORS[name]().fit(train).score(test), higher = in-distribution (known).

`train` and `test` are Outputs: features, logits and labels as `features.read_features` gives them. Written from the
papers. Those that the released ST-Codecfake code has give its figures under its names; PUBLISHED holds Table 5.
"""

from ood_detectors.base import Outputs
from ood_detectors.distances import Knn, Mahalanobis, MahalanobisPlus, Rmds, Ssd
from ood_detectors.hybrids import Fdbd, Neco, NnGuide, Nsd, Relation, She, Vim
from ood_detectors.logits import Energy, Gen, KlMatching, KlUniform, MaxLogit, Msp, MspLog

__all__ = ["DETECTORS", "PUBLISHED", "Outputs"]

DETECTORS = {
    # Table 5 of the paper
    "msp": Msp,
    "energy": Energy,
    "knn": Knn,
    "mahalanobis": Mahalanobis,
    "NSD": Nsd,
    # also in the released code
    "maxlogit": MaxLogit,
    "kl": KlUniform,
    "ssd": Ssd,
    "nnguide": NnGuide,
    "relation": Relation,
    "vim": Vim,
    # beyond it
    "msp_log": MspLog,
    "gen": Gen,
    "klm": KlMatching,
    "mahalanobis++": MahalanobisPlus,
    "rmds": Rmds,
    "fdbd": Fdbd,
    "neco": Neco,
    "she": She,
}

# ST-Codecfake, Table 5: AUC, FPR95 and EER in % of W2V2-AASIST, by detector and condition.
# fmt: off
PUBLISHED = {
    "msp":         {"single7": (99.93,  0.17,  0.90), "multi8": (93.34, 22.40, 14.64), "voc": (98.48,  6.72,  6.13),
                    "diff_config": (96.23, 18.01, 10.65), "diff_source": (99.71,  1.31,  2.40)},
    "energy":      {"single7": (99.93,  0.17,  0.97), "multi8": (92.83, 23.29, 15.29), "voc": (98.33,  7.14,  6.42),
                    "diff_config": (96.46, 17.06, 10.24), "diff_source": (99.74,  1.15,  2.33)},
    "knn":         {"single7": (98.80,  5.89,  5.46), "multi8": (92.61, 25.38, 15.93), "voc": (92.64, 17.21, 13.41),
                    "diff_config": (91.92, 35.15, 17.55), "diff_source": (98.94,  5.10,  5.08)},
    "mahalanobis": {"single7": (94.34, 16.81, 11.62), "multi8": (90.69, 28.21, 17.83), "voc": (93.57, 20.08, 14.29),
                    "diff_config": (76.00, 48.49, 30.74), "diff_source": (94.83, 16.09, 11.47)},
    "NSD":         {"single7": (99.09,  3.55,  3.95), "multi8": (85.47, 26.85, 22.95), "voc": (94.06, 17.98, 12.89),
                    "diff_config": (98.55,  7.79,  6.26), "diff_source": (99.77,  0.65,  2.07)},
}
# fmt: on
