"""Fingerprints of clips and of treated copies of them: made once, and kept on the disk where a folder is given.

And the training of a reader on them, which then takes seconds.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from data.audio import load_wave
from data.channels import through_random_channel
from data.classes import CLASSES, REAL
from data.clip_lists import ordered_names
from data.laundering import LONGEST_INPUT, unchanged
from data.measures import high_level_range
from engine.kernel_fitting import balance_real, fit_kernel
from models.building import build_network
from models.fingerprint import VIEWS, Fingerprint, fingerprint_views
from models.weights import head_weights
from ood_detectors import Outputs
from utils.digests import file_digest
from utils.files import save_safetensors

BATCH = 64
SMOOTHING = 0.05  # of the labels
CLEAN = 0.5  # share of the training draws that are no copy


class Fingerprints(NamedTuple):
    """What is read of n clips."""

    views: Tensor  # [n, views, bins], float16
    level_ranges: Tensor  # [n], dB, see high_level_range()


def read_fingerprints(clips, name="none", treatment=unchanged, seed=0, folder=None):
    """The Fingerprints of TableClips after `treatment` (see data/laundering.py).

    With `folder`, they are kept there under `name`, and read again as long as clips, seed and views are the same.
    Raises InputError for a file that cannot be read.
    """
    path = folder and folder / f"{name.replace(' ', '-')}.safetensors"
    files = [(str(clip.path), file_digest(clip.path)) for clip in clips]
    made_of = hashlib.sha256(repr((VIEWS, seed, files)).encode()).hexdigest()
    kept = path and read_kept(path, made_of)
    if kept is not None:
        return kept
    views = []
    level_ranges = []
    for number, clip in enumerate(tqdm(clips, desc=f"fingerprints, {name}", unit="file")):
        wave = treatment(load_wave(clip.path, LONGEST_INPUT), np.random.default_rng((seed, number)))
        views.append(fingerprint_views(torch.from_numpy(wave)[None])[0].half())
        level_ranges.append(high_level_range(wave))
    made = Fingerprints(torch.stack(views), torch.tensor(level_ranges))
    if path:
        save_safetensors(path, made._asdict(), {"made_of": made_of})
    return made


def read_kept(path, made_of):
    """The fingerprints that read_fingerprints() has kept in `path`; None where there are none of this input."""
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("made_of") != made_of:
                return None
            return Fingerprints(*map(file.get_tensor, Fingerprints._fields))
    except (OSError, SafetensorError):
        return None


def add_copies(views, clips, copies, seed, folder=None):
    """Fingerprints [1 + copies, n, views, bins]: `views` of TableClips, and of copies, each through a random channel.

    For `folder` see read_fingerprints().
    """
    parts = [views]
    for copy in range(1, copies + 1):
        parts.append(read_fingerprints(clips, f"copy {copy}", through_random_channel, seed + copy, folder).views)
    return torch.stack(parts)


# ---- the reader ------------------------------------------------------------------------------------------------------


def sampling_weights(labels, groups):
    """How often training draws each clip [n]: all labels equally; within a label, a group by the root of its size."""
    cells = list(zip(labels, groups, strict=True))
    size = {cell: cells.count(cell) for cell in set(cells)}
    weights = np.array([size[cell] ** -0.5 for cell in cells])
    for label in set(labels):
        members = np.array([other == label for other in labels])
        weights[members] /= weights[members].sum()
    return torch.from_numpy(weights)


def train_reader(copies, targets, weights, names, config):
    """A --model trained on fingerprints [copies, n, views, bins] of classes `targets` [n]: AdamW on one cycle.

    `weights` [n] say how often each clip is drawn. The first copy is the clip itself. `names` are the classes.
    """
    torch.manual_seed(config.seed)
    reader = build_network(config.model, len(names)).train()
    if hasattr(reader, "kernel"):
        real = torch.tensor([name == CLASSES[REAL] for name in names])[targets]
        fit_kernel(reader.kernel, copies, targets, balance_real(weights, real))
    batches = max(1, len(targets) // BATCH)
    optimizer = torch.optim.AdamW(reader.parameters(), config.lr, weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.num_epochs * batches)
    for _ in range(config.num_epochs):
        for rows in torch.multinomial(weights, batches * BATCH, replacement=True).view(batches, BATCH):
            _, logits = Fingerprint.read(reader, copies[draw_copies(len(copies)), rows].float())
            loss = cross_entropy(logits, targets[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
    return reader.eval()


def draw_copies(copies):
    """[BATCH]: which copy is taken of each clip. A share of CLEAN of them takes copy 0, the rest another one."""
    if copies == 1:
        return 0
    return torch.randint(1, copies, (BATCH,)) * (torch.rand(BATCH) >= CLEAN)


def fit_reader(copies, labels, groups, config):
    """(a trained model, its Outputs of its own training clips) of clips with these labels [n] and groups [n].

    For `copies` see train_reader(). The weights are rounded to float16, as they are written.
    """
    names = ordered_names(map(str, labels))
    targets = torch.tensor([names.index(label) for label in labels])
    weights = sampling_weights(labels.tolist(), groups.tolist())
    reader = train_reader(copies, targets, weights, names, config).half().float()
    with torch.inference_mode():
        features, logits = reader.read(copies[0].float())
    return reader, Outputs(features, logits, targets, head_weights(reader))
