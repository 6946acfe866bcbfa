"""The contract of every detector: what it is fitted on, what it scores, and the checks before."""

from collections import namedtuple

import torch

from utils.errors import InputError

# What a model gave for a set of clips: float32 features [n, d] and logits [n, classes], int64 labels [n]. Two parts may
# be absent (None): its last layer, head = (weight [classes, d], bias [classes]), and the n file names.
Outputs = namedtuple("Outputs", "features logits labels head names", defaults=(None, None))


def check_outputs(outputs):
    """Raise InputError unless features and logits are finite matrices with one row for each clip."""
    for part in ("features", "logits"):
        matrix = getattr(outputs, part)
        if matrix.ndim != 2 or not matrix.numel() or len(matrix) != len(outputs.logits):
            raise InputError(
                f"features have shape {list(outputs.features.shape)} and logits {list(outputs.logits.shape)}:"
                " expected [n, d] and [n, classes] of the same n > 0 clips"
            )
        finite = matrix.isfinite().all(dim=1)
        if not finite.all():
            row = int(finite.int().argmin())
            raise InputError(
                f"row {row} of the {part}{f' ({outputs.names[row]})' if outputs.names else ''} is not finite,"
                f" like {int((~finite).sum())} of {len(matrix)}: check those clips and trace again"
            )


class Detector:
    """A score of how well a clip fits the known classes: `DETECTORS[name]().fit(train).score(test)`.

    A detector states its formula in `score_rows`, and in `fit_rows` where it learns anything. Both get float64 and do
    not change their input. In the formulas z is a feature vector, u = z / |z|, f the logits, p their softmax,
    E = log sum_c exp f_c, y the predicted class; i runs over the n training clips.
    """

    rows = 8192  # scored at once: bounds the memory

    def fit(self, train):
        """This detector, fitted to the Outputs `train`. Raises InputError for non-finite or unusable ones."""
        check_outputs(train)
        self.shape = train.features.shape[1], train.logits.shape[1]
        self.fit_rows(in_float64(train))
        return self

    def score(self, test):
        """Scores [n] of the Outputs `test`, float64, higher = in-distribution. Raises InputError as `fit` does."""
        check_outputs(test)
        shape = test.features.shape[1], test.logits.shape[1]
        if shape != self.shape:
            raise InputError(
                f"the test set has {shape[0]} features and {shape[1]} classes, the training set {self.shape[0]} and"
                f" {self.shape[1]}: trace both with the same model"
            )
        starts = range(0, len(test.logits), self.rows)
        parts = [Outputs(test.features[s : s + self.rows], test.logits[s : s + self.rows], None) for s in starts]
        return torch.cat([self.score_rows(in_float64(part)) for part in parts])

    def fit_rows(self, train):
        """Nothing to learn."""


def in_float64(outputs):
    """The Outputs with features and logits in float64."""
    return outputs._replace(features=outputs.features.double(), logits=outputs.logits.double())


def energy(logits):
    """E [n], the negative free energy of logits [n, classes] at temperature 1."""
    return logits.logsumexp(dim=1)
