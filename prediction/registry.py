"""Sources that are enrolled from a few clips, without training: prototypes in the model's embedding space.

Embeddings are scaled to unit length and whitened by the covariance within the classes of the training set, pooled over
the classes and shrunk (Ledoit and Wolf, 2004). A source is the mean of its clips. The margin of a clip x is

    r(x) = |x - m|^2 - min_c |x - m_c|^2

of the source's mean m and the means m_c of the training classes: negative where the source is nearer than any of them.
A clip is recognised when r <= limit. The limit lies where the source's own clips end, each against the mean of the
others (their mean and SPREAD standard deviations), or lower, where it would take more than TAKEN of a training class,
or of a source enrolled before. So no known source loses more than that, on speech like that of training. Whether the
source itself is recognised is then measured on its own clips, each against the mean of the others.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.functional import normalize

from evaluation.calibration import sha256
from models import CHECKPOINT
from utils.errors import InputError, MissingInput
from utils.files import replacing

FORMAT = 1
FEWEST = 5  # clips of a source
SPREAD = 3
TAKEN = 0.1  # share of a known source's clips that an enrolled one may take
RECOGNISED = 0.6  # share of its own clips, each left out in turn, that a source must recognise
ONE_SOURCE = 2 / 3  # of the clips of a source that is not recognised: when one other is nearest to them, that is why


class Space:
    """Where clips are compared: `whiten` [d, d] and the whitened `centres` [classes, d] of the training classes."""

    def __init__(self, whiten, centres):
        self.whiten, self.centres = whiten, centres

    @classmethod
    def fit(cls, train):
        """The space of the training set `train`, an Outputs."""
        from sklearn.covariance import LedoitWolf  # slow to import

        x, labels = normalize(train.features.double()).numpy(), train.labels.numpy()
        _, members = np.unique(labels, return_inverse=True)
        centres = np.stack([x[members == label].mean(axis=0) for label in range(members.max() + 1)])
        covariance = LedoitWolf(assume_centered=True).fit(x - centres[members]).covariance_
        variances, directions = np.linalg.eigh(covariance)
        if variances[0] <= 0:
            raise InputError("the training features do not vary within their classes: trace the training set again")
        whiten = directions / np.sqrt(variances)
        return cls(whiten, centres @ whiten)

    def embed(self, features):
        """Whitened unit embeddings [n, d], float64, of features [n, d]."""
        return normalize(torch.as_tensor(features).double()).numpy() @ self.whiten

    def margins(self, x, prototypes):
        """r [n, sources] of embeddings x [n, d] and prototypes [sources, d]: see the top of this file."""
        known = squared_distances(x, self.centres).min(axis=1, keepdims=True)
        return squared_distances(x, prototypes) - known


def squared_distances(x, y):
    """|x_i - y_j|^2 [n, m] of x [n, d] and y [m, d]."""
    return np.stack([np.square(x - row).sum(axis=1) for row in y], axis=1)


class Source(NamedTuple):
    """An enrolled source."""

    name: str
    clips: np.ndarray  # whitened embeddings [clips, d]
    limit: float
    recognised: float  # share of its clips, each left out in turn
    files: list  # [{"file", "sha256"}] of its clips

    @property
    def prototype(self):
        return self.clips.mean(axis=0)


def groups_of(space, train, names, sources=()):
    """{name: embeddings [n, d]} of the sources whose clips a new one must leave alone: training classes, enrolled."""
    x, labels = space.embed(train.features), train.labels.numpy()
    known = {name: x[labels == label] for label, name in enumerate(names) if (labels == label).any()}
    return known | {source.name: source.clips for source in sources}


def left_out(space, clips):
    """Means [n, d] of all clips [n, d] but one, and the margins [n] of the one to its mean."""
    means = (clips.sum(axis=0) - clips) / (len(clips) - 1)
    margins = [space.margins(clip[None], mean[None])[0, 0] for clip, mean in zip(clips, means, strict=True)]
    return means, np.array(margins)


def limit_of(space, prototype, groups, own=None):
    """The limit of a source of mean `prototype` [d] whose clips, left out in turn, have the margins `own` [n].

    Without `own`, as of a single clip, `groups` alone decide.
    """
    taken = [np.quantile(space.margins(x, prototype[None])[:, 0], TAKEN) for x in groups.values()]
    return min(taken) if own is None else min(own.mean() + SPREAD * own.std(ddof=1), *taken)


def describe_clips(name, paths):
    """[{"file", "sha256"}] of the clips of `name`.

    Raises InputError when they are too few, one is missing, or the same recording is there twice.
    """
    if len(paths) < FEWEST:
        raise InputError(f"{name} has {len(paths)} clip{'s' * (len(paths) > 1)}: give {FEWEST} or more, better 20")
    rows, seen = [], {}
    for path in map(Path, paths):
        if not path.is_file():
            raise InputError(f"{path} does not exist")
        digest = sha256(path)
        if digest in seen:
            raise InputError(f"{path} and {seen[digest]} are the same recording: give it once")
        seen[digest] = path
        rows.append({"file": path.name, "sha256": digest})
    return rows


def enrol(space, groups, name, clips, files):
    """The Source `name` of embeddings `clips` [n, d] beside `groups`, see groups_of().

    Raises InputError, with the reason, when the clips are too mixed, or too near one of the groups.
    """
    means, margins = left_out(space, clips)
    limits = np.array([limit_of(space, mean, groups, margins) for mean in means])
    recognised = float((margins <= limits).mean())
    if recognised >= RECOGNISED:
        return Source(name, clips, float(limit_of(space, clips.mean(axis=0), groups, margins)), recognised, files)
    names = list(groups)
    nearest = squared_distances(clips, np.stack([x.mean(axis=0) for x in groups.values()])).argmin(axis=1)
    share = np.bincount(nearest).max() / len(clips)
    found = f"{name}: only {recognised:.0%} of its clips would be recognised, each by the others"
    if share >= ONE_SOURCE:
        raise InputError(
            f"{found}; it is too near {names[np.bincount(nearest).argmax()]}, the nearest source of {share:.0%}"
            " of them: the two cannot be told apart from these clips; give more of them, or none"
        )
    far = [row["file"] for row, margin, limit in zip(files, margins, limits, strict=True) if margin > limit]
    raise InputError(
        f"{found}; they are too mixed, nearest to {len(set(nearest.tolist()))} different sources"
        f" (first {', '.join(far[:3])}): give clips of one source alone, or more of them"
    )


def nearest_within(margins, limits):
    """The column [n] of the smallest of `margins` [n, sources] that are within their `limits` [sources], else -1."""
    margins = np.where(margins <= np.asarray(limits), margins, np.inf)
    return np.where(np.isinf(margins).all(axis=1), -1, margins.argmin(axis=1))


class Registry:
    """Enrolled sources of one model. `version` counts the times that it was changed."""

    def __init__(self, space, checkpoint, version=0, sources=()):
        self.space, self.checkpoint, self.version, self.sources = space, checkpoint, version, tuple(sources)

    def margins(self, features):
        """The margins [n, sources] of features [n, d]."""
        return self.space.margins(self.space.embed(features), np.stack([s.prototype for s in self.sources]))

    def recognise(self, margins, sources):
        """`sources` [n], with the name of an enrolled one instead where `margins` [n, sources] recognise it."""
        names, best = [source.name for source in self.sources], nearest_within(margins, [s.limit for s in self.sources])
        return np.array([source if row < 0 else names[row] for row, source in zip(best, sources, strict=True)], object)

    def write(self, path):
        """Write the registry to `path`, a safetensors file whose metadata names the sources and their clips."""
        rows = [{"name": s.name, "limit": s.limit, "recognised": s.recognised, "clips": s.files} for s in self.sources]
        described = {"format": FORMAT, "version": self.version, "checkpoint_sha256": self.checkpoint, "sources": rows}
        tensors = {"whiten": self.space.whiten, "centres": self.space.centres}
        tensors |= {f"clips.{number}": source.clips for number, source in enumerate(self.sources)}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"registry": json.dumps(described)})


def read(path, model_folder):
    """The Registry in the file `path`.

    Raises MissingInput when there is none, InputError when it is damaged or of another model than `model_folder`'s.
    """
    if not path.is_file():
        raise MissingInput(f"{path} does not exist: write a registry with enroll.py first")
    try:
        with safe_open(path, "numpy") as file:
            described = json.loads(file.metadata()["registry"])
            space = Space(file.get_tensor("whiten"), file.get_tensor("centres"))
            sources = [
                Source(s["name"], file.get_tensor(f"clips.{number}"), s["limit"], s["recognised"], s["clips"])
                for number, s in enumerate(described["sources"])
            ]
        if described["format"] != FORMAT:
            raise InputError(f"{path} has format {described['format']}, expected {FORMAT}: enrol again")
        registry = Registry(space, described["checkpoint_sha256"], described["version"], sources)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{path} is no registry of enroll.py, or damaged ({error!r})") from None
    if registry.checkpoint != sha256(model_folder / CHECKPOINT):
        raise InputError(f"{path} was made with another model than {model_folder / CHECKPOINT}: enrol again")
    return registry
