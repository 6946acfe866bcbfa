"""Feature files: what a model gave for a set of clips, written by tracing and read by OOD detection.

A torch file of {"feas" [n, d] float32, "logits" [n, classes] float32, "labels" [n] int64} as in the released code, here
also "names" (n file names) and, in traindict.pt, the model's last layer "head_weight" [classes, d] and "head_bias"
[classes]. Files without the last three can be read as well.
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
    """The Outputs in the feature file `path`, on the CPU; `script` is what writes it.

    Raises MissingInput when there is no such file, InputError when it is broken, holds NaN or infinity, or is of
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
    except Exception as error:  # of a torn or foreign file, torch lets many kinds through
        raise InputError(f"{path} is not a feature file, a torch file of tensors alone: {again}") from error
    try:
        outputs = _outputs(saved)
        check_outputs(outputs)
    except InputError as error:
        raise InputError(f"{path}: {error}; {again}") from None
    if like is not None:
        for part, what in (("features", "features"), ("logits", "classes")):
            found, expected = getattr(outputs, part).shape[1], getattr(like, part).shape[1]
            if found != expected:
                raise InputError(
                    f"{path} has {found} {what}, the training set {expected}: trace both with the same model"
                )
        if like.head is not None and not _made_by(like.head, outputs):
            raise InputError(
                f"{path} holds logits that the last layer saved with the training set does not make of its features:"
                " trace both with the same model"
            )
    return outputs


def _made_by(head, outputs):
    """Whether the last layer `head` makes the logits of the features, up to the rounding of half precision."""
    weight, bias = head
    error = outputs.features @ weight.T + bias - outputs.logits
    return bool(error.norm() <= 0.1 * outputs.logits.norm())


def _outputs(saved):
    """`saved` as Outputs. Raises InputError for a lacking key, a wrong type or a wrong shape."""
    keys = ("feas", "logits", "labels")
    lacking = [key for key in keys if not isinstance(saved, dict) or not torch.is_tensor(saved.get(key))]
    if lacking:
        raise InputError(f"it has no tensor {' or '.join(lacking)}, expected feas, logits and labels")
    features, logits, labels = (saved[key] for key in keys)
    if any(part.numel() * part.element_size() > part.untyped_storage().nbytes() for part in (features, logits, labels)):
        raise InputError("it holds a tensor that is larger than its data")
    n, names = len(logits) if logits.ndim else 0, saved.get("names")
    if labels.shape != (n,) or labels.is_floating_point():
        raise InputError(f"labels are {labels.dtype} of shape {list(labels.shape)}, expected {n} integers")
    if names is not None and len(names) != n:
        raise InputError(f"it has {len(names)} names of {n} clips")
    head = None
    if "head_weight" in saved:
        head = saved["head_weight"], saved.get("head_bias")
        expected = (logits.shape[1:] + features.shape[1:], logits.shape[1:])
        if tuple(getattr(part, "shape", None) for part in head) != expected:
            raise InputError(f"head_weight and head_bias do not have the shapes {[list(shape) for shape in expected]}")
        head = tuple(part.float() for part in head)
    return Outputs(features.float(), logits.float(), labels.long(), head, names)
