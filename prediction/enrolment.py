"""Enrolment: a new source from a few of its clips, without training.

The limit of a source (see registry.py) lies where its own clips end: at the mean margin of its clips plus
SPREAD standard deviations, each clip measured against the mean of the others. It is lower where it would otherwise
take more than TAKEN of the clips of a training class, or of a source enrolled before. So no known source loses more
than that, on speech like that of training. Then the source's own clips are tested, each against the mean of the
others: at least RECOGNISED of them must be recognised.
"""

import os
from pathlib import Path

import numpy as np

from prediction.registry import EmbeddingSpace, EnrolledSource, Registry, read_registry, squared_distances
from prediction.tracer import load_calibrated_model
from prediction.verdict import NO_SOURCE
from prediction.windows import embed_files
from utils.digests import sha256
from utils.errors import InputError
from utils.reading import Name, check_content

FEWEST_CLIPS = 5  # of a source
SPREAD = 3
TAKEN = 0.02  # share of a known source's clips that an enrolled one may take
RECOGNISED = 0.6  # share of its own clips, each left out in turn, that a source must recognise
ONE_SOURCE = 2 / 3  # when one known source is the nearest of this share of the clips, it is the reason of a refusal


def groups_of(space, train, names, sources=()):
    """{name: embeddings [n, d]} of the sources that exist already: training classes and enrolled `sources`.

    `train` is the Outputs of the training set, `names` are its classes in order.
    """
    x = space.embed(train.features)
    labels = train.labels.numpy()
    known = {name: x[labels == label] for label, name in enumerate(names) if (labels == label).any()}
    return known | {source.name: source.clips for source in sources}


def leave_one_out(space, clips):
    """For each of `clips` [n, d]: the mean [n, d] of all others, and its margin [n] to that mean."""
    means = (clips.sum(axis=0) - clips) / (len(clips) - 1)
    margins = [space.margins(clip[None], mean[None])[0, 0] for clip, mean in zip(clips, means, strict=True)]
    return means, np.array(margins)


def limit_of(space, prototype, groups, own=None):
    """The limit of a source with the mean `prototype` [d], beside the sources `groups` (see groups_of).

    `own` [n] are the margins of its clips, each left out in turn. Without them, as for a single clip, only `groups`
    decide.
    """
    limits = [np.quantile(space.margins(x, prototype[None])[:, 0], TAKEN) for x in groups.values()]
    if own is not None:
        limits.append(own.mean() + SPREAD * own.std(ddof=1))
    return min(limits)


def describe_clips(name, paths):
    """[{"file", "sha256"}] of the clips of the source `name`.

    Raises InputError when there are too few clips, when one is missing, or when two are the same recording.
    """
    rows = []
    seen = {}
    for path in map(Path, paths):
        if not os.path.isfile(path):
            reason = "cannot be read" if os.path.isdir(path) else "does not exist"
            raise InputError(f"{path} {reason}")
        digest = sha256(path)
        if digest in seen:
            raise InputError(f"{path} and {seen[digest]} are the same recording: give it only once")
        seen[digest] = path
        rows.append({"file": path.name, "sha256": digest})
    if len(rows) < FEWEST_CLIPS:
        raise InputError(
            f"{name} has {len(rows)} clip{'s' * (len(rows) > 1)}: give at least {FEWEST_CLIPS}, 20 are better"
        )
    return rows


def enrol_source(space, groups, name, clips, files):
    """The EnrolledSource `name` of embeddings `clips` [n, d] beside `groups` (see groups_of).

    `files` describes the clips. Raises InputError, with the reason, when the clips are too mixed, or too near one of
    the groups.
    """
    means, margins = leave_one_out(space, clips)
    limits = np.array([limit_of(space, mean, groups, margins) for mean in means])
    recognised = float((margins <= limits).mean())
    if recognised < RECOGNISED:
        missed = [row["file"] for row, margin, limit in zip(files, margins, limits, strict=True) if margin > limit]
        reason = describe_refusal(groups, clips, missed)
        raise InputError(f"{name}: only {recognised:.0%} of its clips would be recognised. {reason}")
    limit = float(limit_of(space, clips.mean(axis=0), groups, margins))
    return EnrolledSource(name, clips, limit, recognised, files)


def describe_refusal(groups, clips, missed):
    """Why `clips` [n, d] do not make a source beside `groups`, in words; `missed` names clips that it misses."""
    names = list(groups)
    centres = np.stack([x.mean(axis=0) for x in groups.values()])
    counts = np.bincount(squared_distances(clips, centres).argmin(axis=1), minlength=len(names))
    share = counts.max() / len(clips)
    if share >= ONE_SOURCE:
        return (
            f"The clips are too near {names[counts.argmax()]}, the nearest source of {share:.0%} of them."
            " Give more clips; if that does not help, the model cannot separate the two sources"
        )
    return (
        f"The clips are too mixed, nearest to {(counts > 0).sum()} different sources. Give clips of only one source, or"
        f" more clips. Not recognised: {', '.join(missed[:3])}{', ...' * (len(missed) > 3)}"
    )


def add_to_registry(config, files):
    """Enrol the clips `files` as --name in --registry and write that; returns the EnrolledSource and the Registry.

    Raises InputError when the name is taken or is no Name, the clips cannot be used, or they do not make a source.
    """
    check_content(config.name, Name, "the name of the new source", "choose another name")  # or nobody could read it
    rows = describe_clips(config.name, files)
    calibration, model, accelerator = load_calibrated_model(config)
    if config.registry.exists():
        registry = read_registry(config.registry, config.model_folder, calibration.train)
    else:
        registry = Registry(EmbeddingSpace.fit(calibration.train), calibration.description["checkpoint_sha256"])
    others = [source for source in registry.sources if source.name != config.name]
    if config.name in (*calibration.class_names, *NO_SOURCE):
        raise InputError(f"{config.name} is already the name of a verdict: choose another name")
    if len(others) < len(registry.sources) and not config.replace:
        raise InputError(f"{config.registry} already contains {config.name}: choose another name, or pass --replace")
    space = registry.space
    groups = groups_of(space, calibration.train, calibration.class_names, others)
    clips = embed_files(model, files, config, accelerator, space.embed)
    source = enrol_source(space, groups, config.name, clips, rows)
    updated = Registry(space, registry.checkpoint, registry.version + 1, [*others, source])
    updated.write(config.registry)
    return source, updated
