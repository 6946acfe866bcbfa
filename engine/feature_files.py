"""Feature files: embeddings and logits of a set of clips, written by tracing and read by OOD detection.

A torch file of {"feas" [n, d] float32, "logits" [n, classes] float32, "labels" [n] int64} as in the released code, here
also "names" (n file names) and, in traindict.pt, the model's last layer "head_weight" [classes, d] and "head_bias"
[classes]. Files without these three can be read as well.
"""

import torch

from models.weights import check_zip
from ood_detectors import Outputs
from ood_detectors.base import check_outputs
from utils.errors import InputError, MissingInput
from utils.files import save_tensors


def write_features(path, features, logits, labels, names=None, head=None):
    """Write a feature file; `head` is the last layer's (weight, bias). The same input gives the same bytes."""
    saved = {"feas": features, "logits": logits, "labels": labels}
    if head is not None:
        saved |= dict(zip(("head_weight", "head_bias"), head, strict=True))
    saved = {key: value.detach().cpu().contiguous() for key, value in saved.items()}
    if names is not None:
        saved["names"] = list(names)
    save_tensors(path, saved)


def read_features(path, like=None, script="source_tracing_ood.py"):
    """The Outputs in the feature file `path`, on the CPU, float32; `script` is the script that writes it.

    Raises MissingInput when there is no such file, InputError when it is broken, holds NaN or infinity, or comes from
    another model than `like`, the Outputs of the training set.
    """
    if not path.is_file():
        raise MissingInput(f"{path} is missing: run {script} first")
    again = f"run {script} again"
    try:
        check_zip(path)
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises many kinds for a torn or foreign file
        raise InputError(f"{path} is not a feature file, a torch file that holds only tensors: {again}") from error
    try:
        outputs = as_outputs(saved)
        check_outputs(outputs)
    except InputError as error:
        raise InputError(f"{path}: {error}; {again}") from None
    if like is not None:
        check_same_layer(outputs, like, path)
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
    if like.head is not None and not fits_layer(outputs, like.head):
        raise InputError(
            f"{path}: the last layer that is saved with the training set does not turn these features into these"
            " logits: trace both with the same model"
        )


def fits_layer(outputs, head):
    """Whether the last layer `head` turns the features into the logits, up to the rounding of half precision."""
    weight, bias = head
    error = outputs.features @ weight.T + bias - outputs.logits
    return bool(error.norm() <= 0.1 * outputs.logits.norm())


def as_outputs(saved):
    """The content `saved` of a feature file as Outputs. Raises InputError for a missing key, wrong type or shape."""
    keys = ("feas", "logits", "labels")
    lacking = [key for key in keys if not isinstance(saved, dict) or not torch.is_tensor(saved.get(key))]
    if lacking:
        raise InputError(f"it has no tensor {' or '.join(lacking)}, expected feas, logits and labels")
    features, logits, labels = (saved[key] for key in keys)
    if any(part.numel() * part.element_size() > part.untyped_storage().nbytes() for part in (features, logits, labels)):
        raise InputError("it holds a tensor that is larger than its data")
    n = len(logits) if logits.ndim else 0
    names = saved.get("names")
    if labels.shape != (n,) or labels.is_floating_point():
        raise InputError(f"labels are {labels.dtype} of shape {list(labels.shape)}, expected {n} integers")
    if names is not None and len(names) != n:
        raise InputError(f"it has {len(names)} names for {n} clips")
    head = None
    if "head_weight" in saved:
        head = saved["head_weight"], saved.get("head_bias")
        expected = (logits.shape[1:] + features.shape[1:], logits.shape[1:])
        if tuple(getattr(part, "shape", None) for part in head) != expected:
            raise InputError(f"head_weight and head_bias do not have the shapes {[list(shape) for shape in expected]}")
        head = tuple(part.float() for part in head)
    return Outputs(features.float(), logits.float(), labels.long(), head, names)
