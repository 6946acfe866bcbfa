"""The test conditions of ST-Codecfake (arXiv 2501.06514), one row each: all that a script needs to know of them."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple

from data.classes import (
    ENCODEC,
    FUNCODEC,
    MIMI,
    REAL,
    SNAC,
    SPEECHTOKENIZER,
    WAVTOKENIZER,
    is_st_codecfake,
    known_class_names,
    read_sidecar,
)
from data.clip_lists import list_of, names_in_lists, unseen_labels, uses_lists
from data.own_conditions import KINDS as OWN_KINDS
from data.own_conditions import class_of, clips_of, read_own_conditions
from data.protocols import asvspoof, audio_folder, both, clip_list, in_the_wild, label_file, unseen_clips
from utils.errors import InputError, MissingInput

LA19 = ("id_unseenreal_19_wav", "id_unseenreal_19_label")
ITW = ("id_unseenreal_itw_wav", "id_unseenreal_itw_label")


class Condition(NamedTuple):
    """A set of clips that a trained model is run on."""

    name: str  # for --condition
    suite: str  # which scripts run it
    label: int | None  # the class of every clip; None: the corpus gives each clip's own
    reader: Callable  # from data.protocols: (config, label, problems) -> clips
    result: tuple = ()  # score file under --result, then other names under which it was published
    features: str | None = None  # embeddings file under --save_feats
    # Published F1 in % by model, which may lack some: macro for `id`, else of the one true class. Tables 3, 4 and 6; the
    # last by the published score files, because its columns are permuted in print. W2VAASIST: from its score files.
    paper: Mapping = MappingProxyType({})

    def clips(self, config, problems=None):
        """The clips of this condition, in a fixed order.

        Raises InputError for a broken corpus; a list `problems` takes the broken lines instead.
        """
        return self.reader(config, self.label, problems)


SHIFTED = ("source", "config", "unseen_real", "alm")  # suites of known classes outside the training corpus
PAPER_MODELS = {"mellcnn": "Mel-LCNN", "Rawaasist": "AASIST", "W2VAASIST": "W2V2-AASIST"}  # names in the paper
PAPER_CLASS_F1 = {  # Table 3, F1 in % of classes 0 to 6; W2VAASIST from its published score file
    "mellcnn": (90.33, 99.86, 98.84, 99.34, 97.50, 98.32, 91.29),
    "Rawaasist": (99.98, 99.99, 100.0, 100.0, 100.0, 100.0, 99.98),
    "W2VAASIST": (99.99, 100.0, 100.0, 100.0, 100.0, 99.99, 99.98),
}

# Files of the corpora as published. Closed set and folders: lines of the score files that the paper's authors published
# (the README of ST-Codecfake promises 10,000 of each configuration and of VALL-E). 19LA: Wang et al., 2020, Table 2;
# ITW: Mueller et al., 2022; both are the sum for `voc`.
PUBLISHED_FILES = {
    **{"id": 92_596, "mimi": 10_000, "snac": 10_000, "19LA": 7355, "ITW": 19_963, "NCSSD": 10_000},
    **dict.fromkeys(("C3-1", "C3-2", "C3-3", "C3-4", "C4-1", "C4-2", "C4-3"), 13_228),
    **{"voc": 63_882 + 11_816, "moshi": 10_000, "mini-omni": 10_000, "speechgpt-gen": 18, "valle": 4436},
}


def paper_f1(lcnn, aasist, w2v2_aasist):
    """The published F1 in % of the paper's three models."""
    return {"mellcnn": lcnn, "Rawaasist": aasist, "W2VAASIST": w2v2_aasist}


def folder_condition(name, suite, label, folder, subfolder, result, paper):
    return Condition(name, suite, label, audio_folder(folder, subfolder), result, None, paper)


# fmt: off
CONDITIONS = [
    Condition("train", "train", None, clip_list("train", label_file("train_wav", "train_label")), features="traindict.pt"),
    Condition("dev", "dev", None, clip_list("dev", label_file("dev_wav", "dev_label")), features="devdict.pt"),
    Condition("id", "id", None, clip_list("eval", label_file("eval_wav", "eval_label")), ("result_id.txt",), "evaldict_id.pt", paper_f1(96.50, 99.99, 99.99)),
    #           name       suite          class     corpus                               score file                     paper
    folder_condition("mimi", "source", MIMI,     "id_diff_source", "NCSSD-mimi", ("result_ncssd_mimi.txt",), paper_f1(93.33, 96.64, 84.08)),
    folder_condition("snac", "source", SNAC,     "id_diff_source", "NCSSD-snac", ("result_ncssd_snac.txt",), paper_f1(51.12, 98.93, 83.65)),
    folder_condition("C3-1", "config", FUNCODEC, "id_diff_config", "C3-1", ("result_C3-1.txt",), paper_f1(98.65, 99.99, 98.99)),
    folder_condition("C3-2", "config", FUNCODEC, "id_diff_config", "C3-2", ("result_C3-2.txt",), paper_f1(99.03, 100.0, 99.70)),
    folder_condition("C3-3", "config", FUNCODEC, "id_diff_config", "C3-3", ("result_C3-3.txt",), paper_f1(98.98, 100.0, 99.80)),
    folder_condition("C3-4", "config", FUNCODEC, "id_diff_config", "C3-4", ("result_C3-4.txt",), paper_f1(98.98, 100.0, 99.80)),
    folder_condition("C4-1", "config", ENCODEC,  "id_diff_config", "C4-1", ("result_C4-1.txt",), paper_f1(96.05, 99.98, 99.96)),
    folder_condition("C4-2", "config", ENCODEC,  "id_diff_config", "C4-2", ("result_C4-2.txt",), paper_f1(66.25, 99.95, 99.71)),
    folder_condition("C4-3", "config", ENCODEC,  "id_diff_config", "C4-3", ("result_C4-3.txt",), paper_f1(8.07, 99.87, 98.19)),

    Condition("19LA", "unseen_real", REAL, asvspoof(*LA19, "bonafide"), ("result_unseenreal_19.txt",), None, paper_f1(1.96, 0.73, 16.94)),
    Condition("ITW", "unseen_real", REAL, in_the_wild(*ITW, "bona-fide"), ("result_unseenreal_itw.txt",), None, paper_f1(26.80, 24.83, 77.01)),
    Condition("NCSSD", "unseen_real", REAL, audio_folder("id_unseenreal_ncssd"), ("result_unseenreal_ncssd.txt",), None, paper_f1(21.67, 8.00, 4.77)),

    Condition("single7", "ood", None, label_file("eval_ood", "eval_ood7_label", known=False), ("result_ood7.txt",), "evaldict_ood7.pt"),
    Condition("multi8", "ood", None, label_file("eval_ood", "eval_ood8_label", known=False), ("result_ood8.txt",), "evaldict_ood8.pt"),
    Condition("voc", "ood", WAVTOKENIZER, both(in_the_wild(*ITW, "spoof"), asvspoof(*LA19, "spoof")), ("result_oodvoc.txt",), "evaldict_oodvoc.pt"),
    Condition("diff_config", "ood", WAVTOKENIZER, audio_folder("ood_diff_config"), (), "evaldict_ood_config.pt"),
    Condition("diff_source", "ood", WAVTOKENIZER, audio_folder("ood_diff_source"), (), "evaldict_ood_source.pt"),

    Condition("moshi", "alm", MIMI, audio_folder("ALM_moshi"), ("alm/moshi.txt",), None, paper_f1(97.70, 10.98, 70.74)),
    Condition("mini-omni", "alm", SNAC, audio_folder("ALM_mini_omni"), ("alm/miniomni.txt",), None, paper_f1(99.88, 100.0, 99.99)),
    Condition("speechgpt-gen", "alm", SPEECHTOKENIZER, audio_folder("ALM_speechgpt"), ("alm/speechgpt.txt", "alm/speechgpt-gen.txt"), None, paper_f1(100.0, 100.0, 100.00)),
    Condition("valle", "alm", ENCODEC, audio_folder("ALM_valle"), ("alm/valle.txt",), None, paper_f1(68.03, 99.48, 99.35)),
]
# fmt: on
# The test clips of the user's own lists whose classes training lacks
UNSEEN = Condition("unseen", "ood", None, unseen_clips, ("result_unseen.txt",), "evaldict_unseen.pt")


def paper_columns(config):
    """{model: its name in the paper} where the corpus is ST-Codecfake; {} elsewhere, where no published value applies."""
    return PAPER_MODELS if is_st_codecfake(config) else {}


def has_clips(row, config):
    """Whether the condition `row` belongs to the corpus that `config` names.

    To the user's lists belong what they hold, and real speech of other corpora. The unseen classes of lists count where
    there are such, or where they have been traced before.
    """
    if row is not UNSEEN:
        return (
            row not in CONDITIONS or row.suite in ("train", "dev", "id") or row.label == REAL or not uses_lists(config)
        )
    names = names_in_lists(config)
    if list_of(config, "eval") and names:
        return bool(unseen_labels(config, names))
    return row.name in config.condition or (config.save_feats / row.features).is_file()


def own_conditions(config):
    """[Condition] of the file of --own_conditions, whose classes are those of the model or of the score files.

    Raises InputError for a broken file, and for the name of another condition.
    """
    path = config.own_conditions
    if not path:
        return []
    sidecar = None if config.class_names else read_sidecar(config.result)
    names = sidecar.classes if sidecar else known_class_names(config)
    rows = []
    for own in read_own_conditions(path):
        if own.name in [row.name for row in (*CONDITIONS, UNSEEN)]:
            raise InputError(f"{path}: there is a condition of the name {own.name} already: rename yours")
        features = f"evaldict_{own.name}.pt" if own.kind == "unseen" else None
        label = class_of(own, names, path)
        suite = OWN_KINDS[own.kind]
        rows.append(Condition(own.name, suite, label, clips_of(own.audio), (f"result_{own.name}.txt",), features))
    return rows


def conditions_of(config, *suites):
    """The conditions of `suites` that the corpus has, in the order of the table; those of the user's own follow."""
    rows = (*CONDITIONS, UNSEEN, *own_conditions(config))
    return [row for row in rows if row.suite in suites and has_clips(row, config)]


def select(config, *suites):
    """The conditions of `suites` that the corpus has, in the order of the table, less those that --condition leaves out.

    Raises InputError when --condition names none of them.
    """
    rows = conditions_of(config, *suites)
    wanted = set(config.condition)
    unknown = wanted - {row.name for row in rows} - {"all"}
    if unknown:
        names = ", ".join(row.name for row in rows)
        raise InputError(f"--condition {' '.join(sorted(unknown))}: expected all or some of {names}")
    return [row for row in rows if "all" in wanted or row.name in wanted]


@contextmanager
def skipping_missing(config, condition):
    """With --skip_missing, an input of `condition` that is missing ends only the block, and is printed.

    Without it, raises MissingInput that names the condition and the flag.
    """
    try:
        yield
    except MissingInput as absent:
        if not config.skip_missing:
            raise MissingInput(f"{absent} (condition {condition.name}; or pass --skip_missing)") from None
        print(f"skipped {condition.name}: {absent}")


def path_flags(*suites):
    """The flags whose paths the conditions of `suites` read, in the order of the table."""
    return tuple(dict.fromkeys(name for row in CONDITIONS if row.suite in suites for name in row.reader.flags))
