"""Sources that were enrolled from a few clips: where they lie in the model's embedding space, and the file of them.

Embeddings are scaled to unit length and whitened by the covariance within the classes of the training set, pooled over
the classes and shrunk (Ledoit and Wolf, 2004). A source is the mean of its clips. The margin of a clip x is

    r(x) = |x - m|^2 - min_c |x - m_c|^2

with the source's mean m and the means m_c of the training classes. It is negative where the source is nearer than every
class. A clip is recognised when r <= limit; enrolment.py sets the limit.
"""

import json
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, MinLen
from torch.nn.functional import normalize
from typing_extensions import TypedDict

from models.weights import checkpoint_in, read_safetensors
from utils.digests import sha256
from utils.errors import InputError, MissingInput
from utils.files import save_safetensors
from utils.reading import Name, Share, all_different, parse_json, strict
from utils.tensors import check_tensors

REGISTRY_FORMAT = 1
MOST_TAKEN = 0.1  # share of the clips of a known class that a source may take; today's take less, see enrolment.py


@strict
class Clip(TypedDict):
    file: str
    sha256: str


@strict
class Source(TypedDict):
    """An EnrolledSource in the file; its clips are a tensor."""

    name: Name
    limit: float
    recognised: Share
    clips: list[Clip]


@strict
class RegistryFile(TypedDict):
    """The metadata of the file."""

    format: Literal[REGISTRY_FORMAT]
    version: Annotated[int, Ge(1)]
    checkpoint_sha256: str
    sources: Annotated[list[Source], MinLen(1)]


class EmbeddingSpace:
    """Where clips are compared: `whiten` [d, d] and the whitened `centres` [classes, d] of the training classes."""

    def __init__(self, whiten, centres):
        self.whiten = whiten
        self.centres = centres

    @classmethod
    def fit(cls, train):
        """The space of the training set `train`, an Outputs. Raises InputError when its features do not vary."""
        from sklearn.covariance import LedoitWolf  # slow to import

        x = normalize(train.features.double()).numpy()
        _, members = np.unique(train.labels.numpy(), return_inverse=True)
        centres = class_centres(x, members)
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
        """r [n, sources] of embeddings x [n, d] and prototypes [sources, d]; the formula is at the top of this file."""
        to_nearest_class = squared_distances(x, self.centres).min(axis=1, keepdims=True)
        return squared_distances(x, prototypes) - to_nearest_class


def class_centres(x, labels):
    """The mean [classes, d] of embeddings x [n, d] in each class that `labels` [n] has, in ascending order."""
    return np.stack([x[labels == label].mean(axis=0) for label in np.unique(labels)])


def squared_distances(x, y):
    """|x_i - y_j|^2 [n, m] of x [n, d] and y [m, d]."""
    return np.stack([np.square(x - row).sum(axis=1) for row in y], axis=1)


class EnrolledSource(NamedTuple):
    """A source that was enrolled."""

    name: str
    clips: np.ndarray  # whitened embeddings [clips, d]
    limit: float  # largest margin of a clip that is recognised
    recognised: float  # share of its clips that are recognised, each left out in turn
    files: list  # [{"file", "sha256"}] of its clips

    @property
    def prototype(self):
        return self.clips.mean(axis=0)


def nearest_within(margins, limits):
    """The column [n] of the smallest of `margins` [n, sources] that are within their `limits` [sources], else -1."""
    margins = np.where(margins <= np.asarray(limits), margins, np.inf)
    return np.where(np.isinf(margins).all(axis=1), -1, margins.argmin(axis=1))


class Registry:
    """The enrolled sources of one model. `version` counts the changes; `checkpoint` is the SHA-256 of the model."""

    def __init__(self, space, checkpoint, version=0, sources=()):
        self.space = space
        self.checkpoint = checkpoint
        self.version = version
        self.sources = tuple(sources)

    def margins(self, features):
        """The margins [n, sources] of features [n, d]."""
        return self.space.margins(self.space.embed(features), np.stack([s.prototype for s in self.sources]))

    def recognise(self, margins, names):
        """`names` [n], replaced by that of an enrolled source where `margins` [n, sources] recognise one."""
        nearest = nearest_within(margins, [source.limit for source in self.sources])
        enrolled = [source.name for source in self.sources]
        return np.array([name if row < 0 else enrolled[row] for row, name in zip(nearest, names, strict=True)], object)

    def write(self, path):
        """Write the registry to `path`, a safetensors file; its metadata holds the sources and the hashes of clips."""
        rows = [{"name": s.name, "limit": s.limit, "recognised": s.recognised, "clips": s.files} for s in self.sources]
        described = {"format": REGISTRY_FORMAT, "version": self.version}
        described |= {"checkpoint_sha256": self.checkpoint, "sources": rows}
        tensors = {"whiten": self.space.whiten, "centres": self.space.centres}
        tensors |= {f"clips.{number}": source.clips for number, source in enumerate(self.sources)}
        tensors = {name: torch.from_numpy(array) for name, array in tensors.items()}
        save_safetensors(path, tensors, {"registry": json.dumps(described)})


def read_registry(path, model_folder, train=None):
    """The Registry in the file `path`; `train` are the Outputs of the model's training set, if they are known.

    Raises MissingInput when there is no file, InputError when it is damaged or belongs to another model than that in
    `model_folder`.
    """
    if not path.is_file():
        raise MissingInput(f"{path} does not exist: write a registry with enroll.py first")
    again = "copy it again, or enrol again"
    tensors, metadata = read_safetensors(path, f": {again}")
    described = parse_json(metadata.get("registry", "null"), RegistryFile, path, again)
    rows = described["sources"]
    expected = {"whiten": ("real", "d", "d"), "centres": ("real", "classes", "d")}
    expected |= {f"clips.{number}": ("real", len(row["clips"]) or f"n{number}", "d") for number, row in enumerate(rows)}
    try:
        sizes = {"d": train.features.shape[1]} if train else {}
        check_tensors(tensors, expected, **sizes)
    except InputError as error:
        raise InputError(f"{path}: {error}: {again}") from None
    if not all_different([row["name"] for row in rows]):
        raise InputError(f"{path} has two sources of the same name: {again}")
    checkpoint = checkpoint_in(model_folder)
    if described["checkpoint_sha256"] != sha256(checkpoint):
        raise InputError(f"{path} belongs to another model than {checkpoint}: enrol again")
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    sources = [
        EnrolledSource(row["name"], arrays[f"clips.{number}"], row["limit"], row["recognised"], row["clips"])
        for number, row in enumerate(rows)
    ]
    space = EmbeddingSpace(arrays["whiten"], arrays["centres"])
    if train:
        check_sources(space, sources, train, f"{path} {{}}: {again}")
    return Registry(space, described["checkpoint_sha256"], described["version"], sources)


def check_sources(space, sources, train, message):
    """Raise InputError, `message` with the reason in it, unless space and limits are of the training set `train`."""
    x = space.embed(train.features)
    labels = train.labels.numpy()
    centres = class_centres(x, labels)
    if centres.shape != space.centres.shape or not np.allclose(centres, space.centres, rtol=1e-3, atol=1e-3):
        raise InputError(message.format("does not fit the training set of the model"))
    for source in sources:
        margins = space.margins(x, source.prototype[None])[:, 0]
        for label in np.unique(labels):
            of_class = margins[labels == label]
            if (of_class < source.limit).sum() > max(1, MOST_TAKEN * len(of_class)):  # one of a few may lie below
                raise InputError(message.format(f"gives {source.name} a limit that takes clips of a known class"))
