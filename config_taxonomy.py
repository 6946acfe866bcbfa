"""Every path and value of the second system (taxonomy, CodecFake+). Edit a default here, or pass the flag of that name.

`python config_taxonomy.py` prints the values in force. A path in Under(...) lies inside --data_root.
"""

from dataclasses import dataclass
from pathlib import Path

from models import TAXONOMY_MODELS
from utils.errors import run
from utils.flags import Flags, Under, batch, number, opt, parse_flags, print_flags, random_seed, share
from utils.settings import CONTINUE_TRAINING, SEEDS, SSL_PATH, Channels, Compute, Intervals, Outliers, Results

# The published recipe of each model, for the flags that the user leaves out
RECIPE_VALUES = {
    "W2V2AASIST": {"batch_size": 8, "num_epochs": 20, "lr": 1e-6},
    "SASTNet": {"batch_size": 12, "num_epochs": 40, "lr": 1e-5},
}
# Audio folder and list of each test corpus, under --data_root
CORPORA = {
    "CoRS": {"base_dir": Under("all_data_16k"), "eval_list": Under("metadata/evaluation/CoRS_ALL.txt")},
    "CoSG": {"base_dir": Under("SLMdemos_16k"), "eval_list": Under("metadata/evaluation/CoSG_ALL.txt")},
}
STRATEGIES = ("VQ", "AUX", "DEC")


@dataclass(frozen=True)
class TaxonomyCorpus(Flags):
    """Corpus."""

    data_root: Path = opt(Path("codecfake_plus"), "folder that holds all_data_16k/, SLMdemos_16k/ and metadata/")
    dataset_type: str = opt("CoRS", "corpus: coded speech, or speech of generators", choices=tuple(CORPORA))
    base_dir: Path = opt(None, "audio folder; left out: all_data_16k or SLMdemos_16k under --data_root, by corpus")
    eval_list: Path = opt(None, "list to trace; left out: CoRS_ALL.txt or CoSG_ALL.txt under metadata/evaluation")
    codec_table: Path = opt(None, "text file of further codecs, lines of NAME AUX DEC VQ")


@dataclass(frozen=True)
class Lists(Flags):
    """Training and development lists."""

    list_dir: Path = opt(Under("metadata/training"), "folder of the training and development lists")
    sampling_strategy: str = opt("AUX", "task over whose classes the training lists are balanced", choices=STRATEGIES)
    dev_speakers: tuple[str, ...] = opt(("p226", "p229"), "speakers of the development list", nargs="+", metavar="NAME")
    test_speakers: tuple[str, ...] = opt(("p227", "p228"), "speakers of the test list", nargs="+", metavar="NAME")
    spoofs: int = opt(1, "coded versions drawn for each bona fide utterance of a list", type=number(int, 1))


@dataclass(frozen=True)
class TaxonomyFolders(Flags):
    """Folders that the scripts write and read."""

    out_fold: Path = opt(Path("models/taxonomy"), "folder that training writes", "-o")
    model_folder: Path = opt(
        Path("models/taxonomy"),
        "trained model: its folder, its name in the hub, or a published .pth file",
        "--model_path",
        hub=True,
    )


@dataclass(frozen=True)
class TaxonomyNetwork(Flags):
    """Model."""

    model: str = opt("W2V2AASIST", "architecture", "-m", choices=TAXONOMY_MODELS)
    model_type: str = opt(
        None,
        "tasks of W2V2AASIST: a single one (S), one with spoof detection (D), all four (M1), the three of tracing (M2);"
        " left out: only the task of --sampling_strategy",
        choices=("S_BIN", "S_VQ", "S_AUX", "S_DEC", "D_VQ", "D_AUX", "D_DEC", "M1", "M2"),
    )
    task: str = opt(None, "task of SASTNet; left out: that of --sampling_strategy", choices=("Bin", "VQ", "AUX", "DEC"))
    size: str = opt("full", "of SASTNet: as published, or small for dry runs and demos", choices=("full", "small"))
    SSL_path: str = SSL_PATH()
    MAE_path: Path = opt(Under("pretrained/mae_pretrained_base.pth"), "AudioMAE weights that SASTNet starts from")
    Whisper_path: str = opt("openai/whisper-small", "Whisper of SASTNet: a Hugging Face folder or hub name")
    tuned_weight: Path = opt(None, "trained W2V2AASIST .pth whose XLS-R SASTNet starts from")
    no_pretrained: bool = opt(False, "start SASTNet from random weights, without any file of pretrained weights")
    mae_order: str = opt(
        "natural",
        "order of patches in SASTNet's prediction; random restores the released code, whose scores depend on --seed",
        choices=("natural", "random"),
    )


@dataclass(frozen=True)
class TaxonomyTraining(Flags):
    """Training (papers, section 4)."""

    seed: int = opt(1234, "random seed", type=random_seed)
    seeds: tuple[int, ...] = SEEDS()
    batch_size: int = opt(None, "clips a step; left out: 8 for W2V2AASIST, 12 for SASTNet", type=batch)
    num_epochs: int = opt(None, "passes; left out: 20 for W2V2AASIST, 40 for SASTNet", type=number(int, 1))
    lr: float = opt(None, "step size; left out: 1e-6 for W2V2AASIST, 1e-5 for SASTNet", type=number(float, 0))
    lr_decay: float = opt(1.0, "factor on the step size of W2V2AASIST after every epoch", type=number(float, 0))
    weight_decay: float = opt(1e-4, "penalty of Adam (W2V2AASIST) or AdamW (SASTNet)", type=number(float, 0))
    learnable_weights: bool = opt(False, "learn how W2V2AASIST's tasks share the loss; otherwise equally")
    mask_ratio: float = opt(0.4, "share of the patches that SASTNet's training hides", type=number(float, 0.01, 1))
    algo: int = opt(5, "RawBoost algorithm of the training data, 0 for none", type=number(int, 0, 9))
    augment: str = opt(
        "rawboost", "augmentation of the training data: rawboost with --algo, none, channel, or rawboost:N"
    )
    augment_dev: bool = opt(False, "augment the development data too, as in the released code")
    continue_training: bool = CONTINUE_TRAINING()


@dataclass(frozen=True)
class TaxonomyAugmentation(Flags):
    """Augmentation."""

    augment_probability: float = opt(1.0, "share of the clips that --augment changes", type=share)


@dataclass(frozen=True)
class TaxonomyEvaluation(Flags):
    """Evaluation."""

    score_file: Path = opt(None, "evaluate only this file, of --task, instead of the score files under --result")
    partial: bool = opt(False, "evaluate the clips that have a score, and print how many have none")
    bin_score: str = opt(
        "probability",
        "what the EER of SASTNet's Bin is taken of; logit restores the released code",
        choices=("probability", "logit"),
    )


@dataclass(frozen=True)
class TaxonomyConfig(
    TaxonomyEvaluation,
    Intervals,
    Compute,
    Channels,
    Outliers,
    TaxonomyAugmentation,
    TaxonomyTraining,
    TaxonomyNetwork,
    Results,
    TaxonomyFolders,
    Lists,
    TaxonomyCorpus,
):
    """All of them, in one object."""

    def __post_init__(self):
        recipe = RECIPE_VALUES.get(self.model, RECIPE_VALUES["W2V2AASIST"])
        for name, value in {**CORPORA[self.dataset_type], **recipe}.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()


# What --help of a kind of script shows
CORPUS = ("data_root", "dataset_type", "base_dir", "codec_table")


def main(argv=None):
    print_flags(parse_flags(__doc__, argv, TaxonomyConfig))


if __name__ == "__main__":
    run(main)
