"""Every path and hyper-parameter of the first system, declared once.

Edit a default here or pass the flag of the same name; `python config.py` prints what is in force.
"""

import argparse
import json
import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath

from utils.errors import run
from utils.files import check_writable


class Under(PurePosixPath):
    """A default that lies inside --data_root; a path given by the user is taken as it is."""


def opt(default, help, *short, positional=False, **argparse_options):
    """A field of a configuration: its default, its help line, and what argparse needs beyond its type.

    A `positional` one is given on the command line without a flag.
    """
    options = dict(argparse_options, help=help)
    return field(default=default, metadata={"short": short, "positional": positional, "argparse": options})


def number(kind, least, below=math.inf):
    """An argparse type: a `kind` in [least, below)."""

    def parse(text):
        value = kind(text)
        if not least <= value < below:
            raise argparse.ArgumentTypeError(f"{text} is out of range: expected {least} <= value < {below}")
        return value

    parse.__name__ = kind.__name__
    return parse


@dataclass(frozen=True)
class Machine:
    """What a script that runs a model needs to know of the machine."""

    gpu: str = opt("", "CUDA_VISIBLE_DEVICES for this run; empty: all that are visible; -1: none")
    num_workers: int = opt(min(8, (os.cpu_count() or 1) - 1), "loader processes", type=number(int, 0))
    mixed_precision: str = opt("no", "arithmetic of the network on a GPU", choices=("no", "bf16", "fp16"))


@dataclass(frozen=True)
class Run(Machine):
    """What both systems' scripts have in common, whatever the model."""

    result: Path = opt(Path("result"), "folder of score files")
    json: Path = opt(None, "also write an evaluation's figures to this file")
    resamples: int = opt(1000, "bootstrap resamples behind each 95 % interval; 0: no intervals", type=number(int, 0))
    cluster: str = opt(
        "speaker",
        "what is resampled as a whole, read from file names where they tell it (see intervals.py)",
        choices=("speaker", "utterance", "none"),
    )
    on_bad_audio: str = opt(
        "stop",
        "what tracing does with a file that cannot be used: stop, or skip it and list it in bad_audio.csv of --result",
        choices=("stop", "skip"),
    )
    continue_training: bool = opt(False, "resume from the last whole epoch in --out_fold")
    compile: bool = opt(False, "let torch.compile build the model's code: minutes at the start, faster batches after")

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Under):
                object.__setattr__(self, f.name, Path(self.data_root, value))

    def json_text(self):
        """This configuration as JSON, paths as text."""
        return json.dumps(asdict(self), default=str, indent=2) + "\n"


@dataclass(frozen=True)
class Config(Run):
    # Training and closed-set corpus: the tree of the README. Moving all of it means changing data_root alone.
    data_root: Path = opt(Path("st-codecfake"), "folder that holds train/, dev/, eval_id/, label/ and the rest")
    train_wav: Path = opt(Under("train"), "training audio")
    train_label: Path = opt(Under("label/train.txt"), "training labels, lines of FILE real|fake CLASS")
    dev_wav: Path = opt(Under("dev"), "development audio")
    dev_label: Path = opt(Under("label/dev.txt"), "development labels")
    eval_wav: Path = opt(Under("eval_id"), "closed-set test audio")
    eval_label: Path = opt(Under("label/eval_id.txt"), "closed-set test labels")
    # Open-set and shifted corpora
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
    condition: tuple[str, ...] = opt(("all",), "run these test conditions alone", nargs="+", metavar="NAME")
    skip_missing: bool = opt(False, "name and skip the conditions whose corpus is absent, instead of stopping")
    # Outputs
    out_fold: Path = opt(Path("models/try"), "folder that training writes", "-o")
    model_folder: Path = opt(Path("models/try"), "folder of the trained model that tracing reads")
    save_feats: Path = opt(Path("save_feats"), "folder of embeddings and logits")
    # Model
    model: str = opt("W2VAASIST", "architecture", "-m", choices=("Rawaasist", "W2VAASIST", "mellcnn"))
    num_classes: int = opt(7, "known classes: real and the codecs of the training set", type=number(int, 2))
    SSL_path: str = opt(
        "facebook/wav2vec2-xls-r-300m",
        "XLS-R: a Hugging Face folder or hub name, a fairseq .pt file, or tiny-random for a dry run",
    )
    ssl_layer: int = opt(5, "transformer layer whose output the back end sees", type=number(int, 0))
    ssl_norm: str = opt(
        "utterance",
        "waveform normalisation; batch restores the released code, whose scores depend on a file's neighbours",
        choices=("utterance", "batch"),
    )
    cache_features: Path = opt(
        None, "folder that keeps the output of W2VAASIST's frozen front end, 0.4 MB a clip; a second epoch reads it"
    )
    # Training (paper, section IV)
    seed: int = opt(688, "random seed", type=number(int, 0, 2**32))
    seeds: tuple[int, ...] = opt(
        (),
        "train a model from each of these seeds, in --out_fold/seed-N",
        nargs="+",
        type=number(int, 0, 2**32),
        metavar="N",
    )
    num_epochs: int = opt(50, "passes over the training set", type=number(int, 1))
    batch_size: int = opt(24, "clips a step, over all processes", type=number(int, 1))
    lr: float = opt(5e-4, "Adam step size", type=number(float, 0))
    lr_decay: float = opt(0.5, "factor on lr every --interval epochs", type=number(float, 0))
    interval: int = opt(10, "epochs between two decays of lr", type=number(int, 1))
    beta_1: float = opt(0.9, "Adam beta 1", type=number(float, 0, 1))
    beta_2: float = opt(0.999, "Adam beta 2", type=number(float, 0, 1))
    eps: float = opt(1e-8, "Adam epsilon", type=number(float, 0))
    weight_decay: float = opt(5e-4, "Adam L2 penalty", type=number(float, 0))
    base_loss: str = opt(
        "ce", "cross entropy, or binary cross entropy of each class against the rest", choices=("ce", "bce")
    )
    # Out-of-distribution detection
    ood_detector_name: str = opt("all", "detector, or all; `python ood_detector_e2e.py --help` lists them")
    tpr: float = opt(0.95, "share of known development clips that a threshold keeps", type=number(float, 0.5, 1))


def parse_config(description, argv=None, configuration=Config):
    """The configuration that command-line flags `argv` make; exits with status 2 on a bad flag.

    Raises InputError when --json could not be written.
    """
    parser = argparse.ArgumentParser(
        usage=" ".join(("%(prog)s [options]", *positional_names(configuration))),  # not sixty flags before the rest
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for f in fields(configuration):
        # The dataclass owns the defaults: argparse would run `type` over them.
        options = dict(f.metadata["argparse"], default=argparse.SUPPRESS)
        if not f.metadata["positional"]:
            options["help"] = f"{options['help']} (default: {f.default})".replace("%", "%%")
        if f.type is bool:
            options["action"] = "store_true"
        elif "nargs" not in options:
            options.setdefault("type", f.type)
        names = (f.name,) if f.metadata["positional"] else (*f.metadata["short"], f"--{f.name}")
        parser.add_argument(*names, **options)
    config = configuration(**vars(parser.parse_args(argv)))
    if getattr(config, "gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = config.gpu
    if getattr(config, "json", None):
        check_writable(config.json.parent, config.json)
    return config


def positional_names(configuration):
    """What the usage line calls the arguments without a flag, with ... after those that repeat."""
    given = ((f.name, f.metadata["argparse"]) for f in fields(configuration) if f.metadata["positional"])
    return [options.get("metavar", name) + (" ..." if "nargs" in options else "") for name, options in given]


def main(argv=None):
    for name, value in asdict(parse_config(__doc__, argv)).items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    run(main)
