"""The operating point of a trained model, found on development data: probabilities, thresholds and p-values.

calibrate.py puts two files beside the checkpoint. calibration.json holds the temperature, the thresholds of every
detector, metrics of the development set, and the versions and data that they were made with. calibration.safetensors
holds the bank (features, logits and labels of the training set, and the last layer) that detectors are fitted on again,
and each detector's scores of the development set. With the checkpoint and args.json they are all that scoring a new
clip needs.

A threshold says how often known sources are rejected, on speech like the development set. On other speech, of another
corpus or channel, known sources are rejected far more often. The development set also chose the epoch of the
checkpoint, so the promised rate is slightly too good.
"""

import math
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Interval, MinLen
from tqdm import tqdm
from typing_extensions import NotRequired, TypedDict

from engine.feature_files import fits_layer
from evaluation.metrics import accuracy, calibration_error
from models.fingerprint import BINS
from models.weights import check_trained, checkpoint_in, read_checkpoint, read_run, read_safetensors
from ood_detectors import DETECTORS, Outputs
from utils.digests import sha256
from utils.errors import InputError, MissingInput
from utils.files import save_safetensors, write_json
from utils.model_files import CALIBRATION_JSON, CALIBRATION_TENSORS
from utils.reading import Name, Names, Share, check_content, read_json, strict
from utils.tensors import check_tensors

# The detector of a verdict where none is named. It compares cosines: it needs no covariance, which the features of
# mel-LCNN make singular, and no level of the logits. With few classes it leads OpenOOD's benchmark (CIFAR-10). On the
# demo corpus with mel-LCNN, its worst condition (AUC 64 %) was better than the worst condition of any other detector.
DEFAULT_DETECTOR = "knn"
CALIBRATION_FORMAT = 1
TEMPERATURES = 0.05, 20  # the limits of the search


@strict
class BeforeAfter(TypedDict):
    """A metric before and after calibration."""

    before: Annotated[float, Ge(0)]
    after: Annotated[float, Ge(0)]


@strict
class DevMetrics(TypedDict):
    clips: Annotated[int, Ge(1)]
    accuracy: Share
    log_loss: BeforeAfter
    ece: BeforeAfter


@strict
class Thresholds(TypedDict):
    """Those of a detector: for all clips, and for each predicted class."""

    threshold: float
    class_thresholds: list[float]


@partial(strict, closed=True)
class VerdictLimits(TypedDict):
    """See prediction.verdict.Limits."""

    codec: Share
    real: Share
    not_real: NotRequired[Share]
    level_range: NotRequired[Annotated[float, Ge(0)]]


@strict
class CalibrationFile(TypedDict):
    """calibration.json."""

    format: Literal[CALIBRATION_FORMAT]
    checkpoint_sha256: str
    tensors_sha256: str
    class_names: Names
    temperature: Annotated[float, Interval(ge=TEMPERATURES[0] / 2, le=2 * TEMPERATURES[1])]
    tpr: Annotated[float, Interval(gt=0, lt=1)]
    dev: DevMetrics
    detectors: Annotated[dict[Name, Thresholds], MinLen(1)]
    limits: NotRequired[VerdictLimits]
    versions: NotRequired[dict[str, str]]
    data: NotRequired[dict[str, str]]


def log_loss(logits, labels, temperature=1.0):
    """Mean negative log-likelihood of classes [n] under the softmax of logits [n, classes] / temperature."""
    return torch.nn.functional.cross_entropy(logits.double() / temperature, labels).item()


def fit_temperature(logits, labels):
    """The temperature that minimises the log loss of logits [n, classes] for labels [n] (Guo et al., 2017, sec. 4.2).

    Where every clip is right, the loss has no minimum: it falls with the temperature. Then the temperature is 1,
    because nothing shows by how much the probabilities may be sharpened.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    if (logits.argmax(dim=1) == labels).all():
        return 1.0
    minimum = minimize_scalar(
        lambda log: log_loss(logits, labels, math.exp(log)),
        bounds=[math.log(end) for end in TEMPERATURES],
        method="bounded",
    )
    return math.exp(minimum.x)


def threshold_that_keeps(scores, tpr):
    """The threshold t such that a new clip like those of scores [n] has s < t with a probability of at most 1 - tpr.

    The k-th smallest score, k = floor((1 - tpr)(n + 1)): split conformal prediction. None when there are too few
    scores for k = 1.
    """
    k = min(int(round((1 - tpr) * (len(scores) + 1), 9)), len(scores))  # the latter for a tpr of almost 0
    return float(np.partition(scores, k - 1)[k - 1]) if k else None


def p_values(scores, reference):
    """Conformal p-values [n] of scores [n]: (1 + number of reference scores <= s) / (1 + size of the reference)."""
    below = np.searchsorted(np.sort(reference), scores, side="right")
    return (1 + below) / (1 + len(reference))


def class_thresholds(scores, predicted, classes, tpr, fallback):
    """A threshold for each predicted class; `fallback` for a class of too few clips."""
    thresholds = [threshold_that_keeps(scores[predicted == label], tpr) for label in range(classes)]
    return [fallback if threshold is None else threshold for threshold in thresholds]


def thresholds_that_keep(scores, predicted, classes, tpr):
    """The Thresholds of the development scores [n], a tensor, of clips of `predicted` classes [n]."""
    scores = scores.double().numpy()
    threshold = threshold_that_keeps(scores, tpr)
    per_class = class_thresholds(scores, predicted.long().numpy(), classes, tpr, threshold)
    return {"threshold": threshold, "class_thresholds": per_class}


def probabilities_at(temperature, logits):
    """Class probabilities, a float64 tensor [n, classes], of logits [n, classes] / temperature."""
    return (torch.as_tensor(logits).double() / temperature).softmax(dim=-1)


def softmax_error(logits, labels, temperature):
    """Expected calibration error of the largest probability of logits [n, classes] / temperature."""
    confidence, predicted = probabilities_at(temperature, logits).max(dim=1)
    return calibration_error(confidence.numpy(), (predicted == labels).numpy())


def check_same_model(train, checkpoint, path):
    """Raise InputError when the last layer saved with the training set, if any, is not one of the checkpoint.

    `train` are the Outputs of the training set, which were read from `path`.
    """
    weights = read_checkpoint(checkpoint).values()
    if train.head and not any(torch.equal(weight.float(), train.head[0]) for weight in weights):
        raise InputError(f"{path} is not of the model {checkpoint}: run source_tracing_ood.py again")


def score_clips(train, test, names):
    """{detector: scores [n] of the Outputs `test`} of detectors fitted on the Outputs `train`.

    Raises InputError for a detector that cannot be fitted.
    """
    scores = {}
    for name in tqdm(names, desc="detectors", unit="detector", disable=len(names) < 2):
        try:
            scores[name] = DETECTORS[name]().fit(train).score(test)
        except InputError as error:
            raise InputError(f"detector {name}: {error}") from None
    return scores


def check_enough_clips(clips, tpr):
    """Raise InputError when a threshold that keeps `tpr` of so many development clips cannot be found."""
    least = math.ceil(round(1 / (1 - tpr), 9)) - 1
    if clips < least:
        raise InputError(
            f"{clips} development clips are too few to find the threshold that keeps {tpr:g} of them: expected at least"
            f" {least} clips, or a smaller --tpr"
        )


def fit_calibration(train, dev, tpr, names=DETECTORS):
    """(what goes into calibration.json, the tensors of calibration.safetensors) of the Outputs `train` and `dev`.

    The logits give the number of classes. Raises InputError when `dev` has too few clips for `tpr`, and for a detector
    that cannot be fitted.
    """
    check_enough_clips(len(dev.logits), tpr)
    return describe_calibration(train, dev, score_clips(train, dev, names), tpr)


def describe_calibration(train, dev, dev_scores, tpr):
    """What fit_calibration() gives, of the scores {detector: [n]} of the development clips `dev`."""
    n, classes = dev.logits.shape
    predicted = dev.logits.argmax(dim=1)
    tensors = {f"train.{part}": getattr(train, part) for part in ("features", "logits", "labels")}
    if train.head:
        tensors |= {"head.weight": train.head[0], "head.bias": train.head[1]}
    tensors |= {"dev.predicted": predicted, "dev.labels": dev.labels}
    detectors = {}
    for name, scores in dev_scores.items():
        tensors[f"dev.scores.{name}"] = scores
        detectors[name] = thresholds_that_keep(scores, predicted, classes, tpr)
    temperature = fit_temperature(dev.logits, dev.labels)
    before_after = {"before": 1.0, "after": temperature}
    dev_metrics = {
        "clips": n,
        "accuracy": accuracy(dev.labels.numpy(), predicted.numpy()),
        "log_loss": {when: log_loss(dev.logits, dev.labels, t) for when, t in before_after.items()},
        "ece": {when: softmax_error(dev.logits, dev.labels, t) for when, t in before_after.items()},
    }
    return {"temperature": temperature, "tpr": tpr, "dev": dev_metrics, "detectors": detectors}, tensors


def write_calibration(folder, description, tensors, class_names, origin):
    """Write both files into the model's `folder`; `origin` is added to the JSON: versions and hashes of the data.

    Raises InputError, and leaves the JSON as it was, for numbers that are not finite.
    """
    save_safetensors(folder / CALIBRATION_TENSORS, tensors)
    head = {"format": CALIBRATION_FORMAT, "checkpoint_sha256": sha256(checkpoint_in(folder))}
    head |= {"tensors_sha256": sha256(folder / CALIBRATION_TENSORS), "class_names": class_names}
    path = folder / CALIBRATION_JSON
    content = check_content({**head, **description, **origin}, CalibrationFile, path, "check the development set")
    write_json(path, content)


def read_calibration(folder):
    """The Calibration in a model's folder.

    Raises MissingInput when there is none, or no model, InputError when it is damaged or not of the checkpoint there.
    """
    again = "copy it again, or run calibrate.py again"
    checkpoint = checkpoint_in(folder)
    check_trained(checkpoint)
    json_file = folder / CALIBRATION_JSON
    tensors_file = folder / CALIBRATION_TENSORS
    for path in (json_file, tensors_file):
        if not path.is_file():
            raise MissingInput(f"{path} is missing: run calibrate.py on this model first")
    description = read_json(json_file, CalibrationFile, again)
    if description["checkpoint_sha256"] != sha256(checkpoint):
        raise InputError(f"{json_file} was made for another {checkpoint.name} than the one beside it: {again}")
    if description["tensors_sha256"] != sha256(tensors_file):
        raise InputError(f"{tensors_file} is not the file that {CALIBRATION_JSON} was written with: {again}")
    names = read_run(folder).get("classes", description["class_names"])
    if names != description["class_names"]:
        found = ", ".join(description["class_names"])
        raise InputError(f"{json_file} names the classes {found}, but the model has {', '.join(names)}: {again}")
    tensors, _ = read_safetensors(tensors_file, f": {again}")
    try:
        check_calibration(description, tensors)
    except InputError as error:
        raise InputError(f"{tensors_file}, or {CALIBRATION_JSON} beside it: {error}: {again}") from None
    return Calibration(description, tensors)


def check_calibration(description, tensors):
    """Raise InputError when the parts of a calibration do not fit each other; `description` fits CalibrationFile."""
    classes = len(description["class_names"])
    expected = {
        "train.features": ("real", "n", "d"),
        "train.logits": ("real", "n", "classes"),
        "train.labels": ("class", "n"),
        "dev.predicted": ("class", "clips"),
        "dev.labels": ("class", "clips"),
        **{f"dev.scores.{name}": ("real", "clips") for name in description["detectors"]},
    }
    if tensors.keys() & {"head.weight", "head.bias"}:
        expected |= {"head.weight": ("real", "classes", "d"), "head.bias": ("real", "classes")}
    if tensors.keys() & {"fingerprint.mean", "fingerprint.spread"}:
        expected |= {f"fingerprint.{part}": ("real", "classes", BINS) for part in ("mean", "spread")}
    check_tensors(tensors, expected, classes=classes, clips=description["dev"]["clips"])
    if not fits_layer(training_outputs(tensors)):
        raise InputError("head.weight and head.bias do not turn train.features into train.logits")
    for name, row in description["detectors"].items():
        if name not in DETECTORS:
            raise InputError(f"there is no detector {name}, expected some of {', '.join(DETECTORS)}")
        if len(row["class_thresholds"]) != classes:
            raise InputError(f"{name} has {len(row['class_thresholds'])} class_thresholds, expected {classes}")
        scores = tensors[f"dev.scores.{name}"]
        if row != thresholds_that_keep(scores, tensors["dev.predicted"], classes, description["tpr"]):
            raise InputError(f"{name} has other thresholds than those that keep {description['tpr']:g} of its scores")


def training_outputs(tensors):
    """The Outputs of the training set among the tensors of a calibration."""
    head = tuple(tensors[f"head.{part}"].float() for part in ("weight", "bias")) if "head.weight" in tensors else None
    features, logits = (tensors[f"train.{part}"].float() for part in ("features", "logits"))
    return Outputs(features, logits, tensors["train.labels"].long(), head)


class Calibration:
    """Scores, thresholds and p-values of each detector in `detectors`, and calibrated probabilities.

    Scores are higher for known sources. Every method gives float64 arrays. With `predicted` [n], thresholds and
    p-values are those among the development clips of the same predicted class.
    """

    def __init__(self, description, tensors):
        self.description = description
        self.temperature = description["temperature"]
        self.tpr = description["tpr"]
        self.class_names = description["class_names"]
        self.limits = description.get("limits", {})  # of verdicts, see Limits in prediction/verdict.py
        self.detectors = list(description["detectors"])
        self.train = training_outputs(tensors)
        self.predicted = tensors["dev.predicted"].long().numpy()
        self.scores = {name: tensors[f"dev.scores.{name}"].double().numpy() for name in self.detectors}
        # Mean and spread [classes, bins] of the fingerprints of each class; None where the file has none.
        self.fingerprints = None
        if "fingerprint.mean" in tensors:
            self.fingerprints = tuple(tensors[f"fingerprint.{name}"].float().numpy() for name in ("mean", "spread"))
        self._fitted = {}

    def _check(self, detector):
        if detector not in self.scores:
            raise InputError(f"detector {detector} was not calibrated: expected one of {', '.join(self.detectors)}")

    def score(self, detector, outputs):
        """Scores [n] of the Outputs of new clips. Raises InputError for those of another model."""
        self._check(detector)
        if detector not in self._fitted:
            self._fitted[detector] = DETECTORS[detector]().fit(self.train)
        return self._fitted[detector].score(outputs).numpy()

    def threshold(self, detector=DEFAULT_DETECTOR, predicted=None):
        """The score below which a clip counts as unknown; with `predicted` [n], one for each clip."""
        self._check(detector)
        row = self.description["detectors"][detector]
        thresholds = np.array(row["class_thresholds"], np.float64)
        return float(row["threshold"]) if predicted is None else thresholds[np.asarray(predicted)]

    def percentile(self, detector, scores):
        """Percentage [n] of the development clips whose score is not above that of a clip."""
        self._check(detector)
        reference = np.sort(self.scores[detector])
        return 100 * np.searchsorted(reference, scores, side="right") / len(reference)

    def p_value(self, detector, scores, predicted=None):
        """Conformal p-values [n]: how probable a score as low as this is for a known clip like the development set."""
        self._check(detector)
        scores = np.asarray(scores, np.float64)
        reference = self.scores[detector]
        if predicted is None:
            return p_values(scores, reference)
        predicted = np.asarray(predicted)
        values = np.empty(len(scores))
        for label in np.unique(predicted):
            of_class = predicted == label
            values[of_class] = p_values(scores[of_class], reference[self.predicted == label])
        return values

    def probabilities(self, logits):
        """Class probabilities [n, classes] of logits [n, classes], at the fitted temperature."""
        return probabilities_at(self.temperature, logits).numpy()
