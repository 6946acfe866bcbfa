"""Feature files: embeddings and logits of a set of clips, written by tracing and read by OOD detection.

A torch file of {"feas" [n, d] float32, "logits" [n, classes] float32, "labels" [n] int64} as in the released code, here
also "names" (n file names), "condition" (its name) and, in traindict.pt, the model's last layer "head_weight"
[classes, d] and "head_bias" [classes]. Files without these four can be read as well.
"""

from data.protocols import LAST_CLASS
from models.weights import load_file
from ood_detectors import Outputs
from ood_detectors.base import check_outputs
from utils.errors import InputError, MissingInput
from utils.files import save_tensors
from utils.reading import all_different, shown
from utils.tensors import check_tensors


def write_features(path, features, logits, labels, names=None, head=None, condition=None):
    """Write a feature file; `head` is the last layer's (weight, bias), `condition` the name of the condition.

    The same input gives the same bytes.
    """
    saved = {"feas": features, "logits": logits, "labels": labels}
    if head is not None:
        saved |= dict(zip(("head_weight", "head_bias"), head, strict=True))
    saved = {key: value.detach().cpu().contiguous() for key, value in saved.items()}
    if names is not None:
        saved["names"] = list(names)
    if condition is not None:
        saved["condition"] = condition
    save_tensors(path, saved)


def read_features(path, like=None, script="source_tracing_ood.py", condition=None):
    """The Outputs in the feature file `path`, on the CPU, float32; `script` is the script that writes it.

    Raises MissingInput when there is no such file, InputError when it is broken, holds NaN or infinity, comes from
    another model than `like`, the Outputs of the training set, or is not of the Condition `condition`.
    """
    if not path.is_file():
        raise MissingInput(f"{path} is missing: run {script} first")
    again = f"run {script} again"
    saved = load_file(path, kind="a feature file", remedy=f": {again}")
    try:
        outputs = as_outputs(saved, condition)
        check_outputs(outputs)
    except InputError as error:
        raise InputError(f"{path}: {error}; {again}") from None
    check_same_layer(outputs, outputs if like is None else like, path)
    return outputs


def check_same_layer(outputs, like, path):
    """Raise InputError when `outputs`, from the file `path`, come from another model than those of the training set."""
    sizes = {"features": outputs.features.shape[1], "classes": outputs.logits.shape[1]}
    expected = {"features": like.features.shape[1], "classes": like.logits.shape[1]}
    for what, size in sizes.items():
        if size != expected[what]:
            raise InputError(
                f"{path} has {size} {what}, the training set {expected[what]}: trace both with the same model"
            )
    if not fits_layer(outputs._replace(head=like.head)):
        raise InputError(
            f"{path}: the last layer that is saved with the training set does not turn these features into these"
            " logits: trace all sets with the same model"
        )


def fits_layer(outputs):
    """Whether the last layer of `outputs`, if any, turns its features into its logits, up to half precision."""
    if outputs.head is None:
        return True
    weight, bias = outputs.head
    logits = outputs.logits.double()  # float32 overflows in the norm
    error = outputs.features.double() @ weight.double().T + bias.double() - logits
    return bool(error.norm() <= 0.1 * logits.norm())


def as_outputs(saved, condition=None):
    """The content `saved` of a feature file as Outputs.

    Raises InputError for a missing key, a wrong type or shape, and for the content of another condition than
    `condition`. The labels of the conditions of training are among the known classes.
    """
    saved = saved if isinstance(saved, dict) else {}
    sizes = check_tensors(saved, {"feas": ("real", "n", "d"), "logits": ("real", "n", "classes")}, finite=False)
    known = condition is not None and condition.suite in ("train", "dev", "id")
    classes = sizes["classes"] if known else LAST_CLASS + 1
    check_tensors(saved, {"labels": ("class", "n")}, n=sizes["n"], classes=classes)
    names = saved.get("names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"its names are {shown(names)}, expected a list of file names")
    if names is not None and (len(names) != sizes["n"] or not all_different(names)):
        raise InputError(f"it has {len(set(names))} different names for {sizes['n']} clips")
    head = None
    if saved.keys() & {"head_weight", "head_bias"}:
        check_tensors(saved, {"head_weight": ("real", "classes", "d"), "head_bias": ("real", "classes")}, **sizes)
        head = tuple(saved[f"head_{part}"].detach().float() for part in ("weight", "bias"))
    if condition is not None:
        # Older files do not name their condition, but only that of the training set has the last layer.
        held = saved.get("condition", "train" if head and condition.suite != "train" else condition.name)
        if held != condition.name:
            raise InputError(f"it holds the clips of the condition {shown(held)}, expected those of {condition.name}")
    features, logits = (saved[part].detach().float() for part in ("feas", "logits"))
    return Outputs(features, logits, saved["labels"].long(), head, names)
