"""Out-of-distribution detectors: DETECTORS[name]().fit(train).score(test), higher = in-distribution (known).

`train` and `test` are Outputs: features, logits and labels, as engine.feature_files.read_features() gives them. A new
detector is a class in one of the files here and a row in DETECTORS. All are written from their papers. Detectors that
the released code of ST-Codecfake has too keep its names and give its metrics. PUBLISHED holds Table 5.
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


def published(auc, fpr95, eer):
    """A row of PUBLISHED, by name of the metric."""
    return {"auc": auc, "fpr95": fpr95, "eer": eer}


# ST-Codecfake, Table 5: metrics in % of W2V2-AASIST, by detector and condition. Any of them may be absent.
PUBLISHED = {
    "msp": {
        "single7": published(auc=99.93, fpr95=0.17, eer=0.9),
        "multi8": published(auc=93.34, fpr95=22.4, eer=14.64),
        "voc": published(auc=98.48, fpr95=6.72, eer=6.13),
        "diff_config": published(auc=96.23, fpr95=18.01, eer=10.65),
        "diff_source": published(auc=99.71, fpr95=1.31, eer=2.4),
    },
    "energy": {
        "single7": published(auc=99.93, fpr95=0.17, eer=0.97),
        "multi8": published(auc=92.83, fpr95=23.29, eer=15.29),
        "voc": published(auc=98.33, fpr95=7.14, eer=6.42),
        "diff_config": published(auc=96.46, fpr95=17.06, eer=10.24),
        "diff_source": published(auc=99.74, fpr95=1.15, eer=2.33),
    },
    "knn": {
        "single7": published(auc=98.8, fpr95=5.89, eer=5.46),
        "multi8": published(auc=92.61, fpr95=25.38, eer=15.93),
        "voc": published(auc=92.64, fpr95=17.21, eer=13.41),
        "diff_config": published(auc=91.92, fpr95=35.15, eer=17.55),
        "diff_source": published(auc=98.94, fpr95=5.1, eer=5.08),
    },
    "mahalanobis": {
        "single7": published(auc=94.34, fpr95=16.81, eer=11.62),
        "multi8": published(auc=90.69, fpr95=28.21, eer=17.83),
        "voc": published(auc=93.57, fpr95=20.08, eer=14.29),
        "diff_config": published(auc=76.0, fpr95=48.49, eer=30.74),
        "diff_source": published(auc=94.83, fpr95=16.09, eer=11.47),
    },
    "NSD": {
        "single7": published(auc=99.09, fpr95=3.55, eer=3.95),
        "multi8": published(auc=85.47, fpr95=26.85, eer=22.95),
        "voc": published(auc=94.06, fpr95=17.98, eer=12.89),
        "diff_config": published(auc=98.55, fpr95=7.79, eer=6.26),
        "diff_source": published(auc=99.77, fpr95=0.65, eer=2.07),
    },
}
