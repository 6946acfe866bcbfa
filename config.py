"""Every path and value of the first system (ST-Codecfake). Edit a default here, or pass the flag of the same name.

`python config.py` prints the values in force. A path in Under(...) lies inside --data_root.
"""

from dataclasses import dataclass
from pathlib import Path

from data.corpus_formats import CORPUS_FORMATS
from models import HEADS, MODELS
from models.fine_tuning_choice import FORM, finetune_choice
from models.layer_choice import LayerAction
from utils.errors import run
from utils.flags import Flags, Under, batch, number, opt, parse_flags, print_flags, random_seed, share
from utils.settings import CONTINUE_TRAINING, SEEDS, SSL_PATH, Channels, Compute, Intervals, Outliers, Results


@dataclass(frozen=True)
class Corpus(Flags):
    """Training corpus and closed-set test."""

    data_root: Path = opt(Path("st-codecfake"), "folder that holds train/, dev/, eval_id/, label/ and the rest")
    train_wav: Path = opt(Under("train"), "training audio")
    train_label: Path = opt(Under("label/train.txt"), "training labels, lines of FILE real|fake CLASS")
    dev_wav: Path = opt(Under("dev"), "development audio")
    dev_label: Path = opt(Under("label/dev.txt"), "development labels")
    eval_wav: Path = opt(Under("eval_id"), "closed-set test audio")
    eval_label: Path = opt(Under("label/eval_id.txt"), "closed-set test labels")


@dataclass(frozen=True)
class Lists(Flags):
    """Corpus of your own, in place of --data_root (docs/data.md)."""

    train_list: Path = opt(
        None, "training clips: a CSV, TSV or JSONL file with file and label, or a folder with a subfolder per class"
    )
    dev_list: Path = opt(None, "development clips; left out: those of --train_list, by its column split or --dev_rows")
    eval_list: Path = opt(None, "test clips; left out: those of --train_list, by its column split or --eval_rows")
    dev_rows: str = opt("", "the lines that are development clips, and not training clips, such as page=page09,page14")
    eval_rows: str = opt("", "the lines that are test clips, and not training clips, such as page=page09,page14")
    label_column: str = opt("label", "the column of a list that names the class of a clip")
    list_audio: tuple[Path, ...] = opt(
        (), "folders of the audio that lists name; left out: the folder of the list", nargs="+", type=Path
    )
    list_format: str = opt(
        None, "the published protocol that the lists are of; left out: recognised", choices=CORPUS_FORMATS
    )


@dataclass(frozen=True)
class Names(Flags):
    """Names and test conditions of your own."""

    own_conditions: Path = opt(None, "TOML file of further test conditions (docs/evaluation.md)")

    class_names: tuple[str, ...] = opt(
        (),
        "names of the known classes, in order; left out: those of the trained model or the corpus",
        nargs="+",
        type=str,
    )


@dataclass(frozen=True)
class OtherCorpora(Flags):
    """Open-set and shifted test corpora."""

    eval_ood: Path = opt(Under("eval_ood"), "audio of the codecs unseen in training")
    eval_ood7_label: Path = opt(Under("label/eval_ood7.txt"), "labels of the single unseen codec, class 7")
    eval_ood8_label: Path = opt(Under("label/eval_ood8-11.txt"), "labels of the other unseen codecs, classes 8-11")
    ood_diff_config: Path = opt(Under("OOD_diff_config/wavtokenizer_small40"), "class 7 under another configuration")
    ood_diff_source: Path = opt(Under("OOD_diff_source/NCSSD_wavtokenizer"), "class 7 on another source of speech")
    id_diff_config: Path = opt(Under("ID_diff_config"), "folder of C3-1 ... C3-4 and C4-1 ... C4-3")
    id_diff_source: Path = opt(Under("ID_diff_source"), "folder of NCSSD-mimi and NCSSD-snac")
    id_unseenreal_19_wav: Path = opt(
        Under("ID_unseen_real/19LA/ASVspoof2019_LA_eval/flac"), "ASVspoof2019 LA evaluation audio"
    )
    id_unseenreal_19_label: Path = opt(
        Under("ID_unseen_real/19LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt"),
        "ASVspoof2019 LA evaluation protocol",
    )
    id_unseenreal_itw_wav: Path = opt(Under("ID_unseen_real/ITW"), "In-the-Wild audio")
    id_unseenreal_itw_label: Path = opt(Under("ID_unseen_real/ITW/meta.csv"), "In-the-Wild meta.csv")
    id_unseenreal_ncssd: Path = opt(Under("ID_unseen_real/NCSSD"), "NCSSD real speech")
    ALM_moshi: Path = opt(Under("ALM/moshi"), "speech of Moshi (class 1)")
    ALM_mini_omni: Path = opt(Under("ALM/mini-omni"), "speech of Mini-Omni (class 6)")
    ALM_speechgpt: Path = opt(Under("ALM/speechgpt-gen"), "speech of SpeechGPT-Gen (class 2)")
    ALM_valle: Path = opt(Under("ALM/valle"), "speech of VALL-E (class 4)")


@dataclass(frozen=True)
class Conditions(Flags):
    """Test conditions."""

    condition: tuple[str, ...] = opt(("all",), "use only these test conditions", nargs="+", metavar="NAME")
    skip_missing: bool = opt(False, "skip the conditions whose corpus is absent and print their names")


@dataclass(frozen=True)
class Folders(Flags):
    """Folders that the scripts write and read."""

    out_fold: Path = opt(Path("models/try"), "folder that training writes", "-o")
    model_folder: Path = opt(Path("models/try"), "trained model: its folder, or its name in the hub", hub=True)
    save_feats: Path = opt(Path("save_feats"), "folder of embeddings and logits")


@dataclass(frozen=True)
class Network(Flags):
    """Model."""

    model: str = opt("W2VAASIST", "architecture", "-m", choices=MODELS)
    num_classes: int = opt(
        None, "known classes; left out: as many as the trained model or the corpus has", type=number(int, 2)
    )
    head: str = opt("aasist", "network of W2VAASIST on the hidden states of the front end", choices=HEADS)
    SSL_path: str = SSL_PATH()
    ssl_layer: int = opt(
        5,
        "transformer layer whose output the back end sees, several layers, or weighted for all: their weights are"
        " learned",
        action=LayerAction,
        nargs="+",
        metavar="N",
    )
    ssl_norm: str = opt(
        "checkpoint",
        "waveform normalisation: as the front end was trained, of each utterance, none; batch restores the released"
        " code, whose scores depend on a file's neighbours",
        choices=("checkpoint", "utterance", "batch", "none"),
    )
    mel: str = opt("power", "mel spectrogram of mellcnn: linear power, or log", choices=("power", "log"))
    level: str = opt("none", "level of a clip that mellcnn and Rawaasist see", choices=("none", "normalise"))
    spec_augment: bool = opt(False, "hide bands and frames from mellcnn at random, in training (SpecAugment)")
    cache_features: Path = opt(None, "folder that keeps the output of the frozen front end, 0.4 MB a clip and layer")


@dataclass(frozen=True)
class FineTuning(Flags):
    """Fine-tuning of the SSL front end."""

    finetune: str = opt(
        "none",
        f"what of the front end is trained: {FORM}",
        type=finetune_choice,
        metavar="PART",
    )
    front_end_lr: float = opt(None, "its step size; left out: 1e-5, for lora 1e-4", type=number(float, 0))
    lora_rank: int = opt(8, "rank of the matrices of lora", type=number(int, 1))
    gradient_checkpointing: bool = opt(False, "compute its layers twice instead of keeping all in memory")


@dataclass(frozen=True)
class Optimizer(Flags):
    """Optimizer (paper, section IV)."""

    lr_decay: float = opt(0.5, "factor on lr every --interval epochs", type=number(float, 0))
    interval: int = opt(10, "epochs between two decays of lr", type=number(int, 1))
    beta_1: float = opt(0.9, "Adam beta 1", type=number(float, 0, 1))
    beta_2: float = opt(0.999, "Adam beta 2", type=number(float, 0, 1))
    eps: float = opt(1e-8, "Adam epsilon", type=number(float, 0))
    weight_decay: float = opt(5e-4, "Adam L2 penalty", type=number(float, 0))


@dataclass(frozen=True)
class Training(Flags):
    """Training (paper, section IV)."""

    seed: int = opt(688, "random seed", type=random_seed)
    seeds: tuple[int, ...] = SEEDS()
    num_epochs: int = opt(50, "passes over the training set", type=number(int, 1))
    batch_size: int = opt(24, "clips a step, over all processes", type=batch)
    lr: float = opt(5e-4, "Adam step size", type=number(float, 0))
    best_by: str = opt(
        "loss", "figure of the development data that decides the best epoch", choices=("loss", "macro_f1")
    )
    init_from: Path = opt(
        None,
        "trained model from whose weights training starts, with any classes: its folder, or its name in the hub",
        hub=True,
    )
    continue_training: bool = CONTINUE_TRAINING()


@dataclass(frozen=True)
class Loss(Flags):
    """Loss."""

    base_loss: str = opt(
        "ce",
        "cross entropy; binary, each class against the rest; with an angular margin; or plus a contrastive loss",
        choices=("ce", "bce", "aam", "supcon+ce"),
    )
    label_smoothing: float = opt(0.0, "share of the target that goes to all classes equally", type=number(float, 0, 1))
    aam_margin: float = opt(0.2, "margin of aam, radians", type=number(float, 0, 3.14))
    aam_scale: float = opt(30.0, "scale of aam: a logit is the scale times a cosine", type=number(float, 1e-3))
    supcon_temperature: float = opt(0.1, "temperature of supcon", type=number(float, 1e-3))
    supcon_weight: float = opt(1.0, "weight of supcon beside the cross entropy", type=number(float, 0))


@dataclass(frozen=True)
class Augmenting(Flags):
    """Augmentation of the training clips."""

    augment: tuple[str, ...] = opt(
        ("none",),
        "one after the other: none, channel (coding, noise, rooms), rawboost:N with N from 1 to 8",
        nargs="+",
        metavar="NAME",
    )
    augment_probability: float = opt(0.5, "share of the clips that each changes", type=share)


@dataclass(frozen=True)
class Detection(Flags):
    """Detection of unseen codecs."""

    ood_detector_name: str = opt("all", "detector, or all (docs/detectors.md lists them)")
    tpr: float = opt(0.95, "share of known development clips that a threshold keeps", type=number(float, 0.5, 1))


@dataclass(frozen=True)
class Config(
    Detection,
    Intervals,
    Compute,
    Channels,
    Augmenting,
    Outliers,
    Loss,
    FineTuning,
    Optimizer,
    Training,
    Network,
    Results,
    Folders,
    Conditions,
    OtherCorpora,
    Names,
    Lists,
    Corpus,
):
    """All of them, in one object."""


# What --help of a kind of script shows
NETWORK = ("model", "SSL_path", "ssl_layer", "ssl_norm", "cache_features")  # the trained run has more
TRACING = ("data_root", Lists, "model_folder", "result", "save_feats", "batch_size", Conditions, *NETWORK, Compute)
EVALUATION = ("data_root", "num_classes", "seed", Conditions, Results, Intervals)


def main(argv=None):
    print_flags(parse_flags(__doc__, argv, Config))


if __name__ == "__main__":
    run(main)
