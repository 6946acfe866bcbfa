"""Augmentations of training waveforms: one row each. A row that is added from outside is at once a value of --augment.

AUGMENTATIONS["quieter"] = lambda wave, rng: 0.5 * wave
"""

import re
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from data.audio import SAMPLES, fit_length, load_wave
from data.channels import RandomChannel, audio_files, check_files, read_room
from data.dataset import Clips
from data.rawboost import ALGORITHMS, rawboost
from utils.errors import InputError
from utils.flags import is_default

NONE = "none"
CHANNEL = "channel"
# Name -> function (wave [n] at 16 kHz, rng: a numpy Generator) -> wave [n], float32 or float64
AUGMENTATIONS = {
    CHANNEL: RandomChannel(),
    **{f"rawboost:{number}": partial(rawboost, number) for number in range(len(ALGORITHMS))},
}


class Augmentation(NamedTuple):
    """Several augmentations, one after the other, each with the same probability: (wave [n], rng) -> wave."""

    steps: tuple
    probability: float = 1.0

    def __call__(self, wave, rng):
        for step in self.steps:
            if self.probability >= 1 or rng.random() < self.probability:
                wave = step(wave, rng)
        return wave


RECORDINGS = ("noise_folder", "room_folder")  # flags of the recordings that an augmentation may use


def recordings(config):
    """The folders of recordings that the augmentation of `config` uses, [Path]."""
    return [folder for folder in (getattr(config, flag) for flag in RECORDINGS) if folder]


def find_augmentation(config, names):
    """The Augmentation of `names`, values of --augment, or None without any; `config` has the other flags of it.

    Raises InputError for an unknown name, for a folder without audio or with a file that cannot be used, and for a flag
    that no augmentation uses.
    """
    rows = dict(AUGMENTATIONS)
    for flag in RECORDINGS:
        folder = getattr(config, flag)
        if folder and CHANNEL not in names:
            raise InputError(f"--{flag} {folder} is only for --augment {CHANNEL}: give that too, or leave it out")
    if CHANNEL in names:
        noises, rooms = audio_files(config.noise_folder), audio_files(config.room_folder)
        check_files(noises, "--noise_folder")
        check_files(rooms, "--room_folder", read_room)  # all of each: they are short, and silence is not in a header
        rows[CHANNEL] = RandomChannel(noises, rooms)
    names = [re.sub(r"^rawboost(\d)$", r"rawboost:\1", name) for name in names if name != NONE]  # the former form
    if not names and not is_default(config, "augment_probability"):
        raise InputError("--augment_probability is only for --augment: give that too, or leave it out")
    for name in names:
        if name not in rows:
            raise InputError(f"--augment {name}: expected one of {', '.join([NONE, *rows])}")
    return Augmentation(tuple(rows[name] for name in names), config.augment_probability) if names else None


class AugmentedClips(Clips):
    """(position, waveform float32 [samples], label) of each clip: the whole file, augmented, then cut or repeated.

    `augmentation` is a function (wave [n], rng) -> wave. What is drawn at random depends only on (seed, epoch,
    position). With None in its place, the files are read as Clips does.
    """

    def __init__(self, clips, augmentation, seed, samples=SAMPLES):
        super().__init__(clips, samples)
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, position):
        if self.augmentation is None:
            return super().__getitem__(position)
        clip = self.clips[position]
        rng = np.random.default_rng((self.seed, self.epoch, position))
        wave = np.ascontiguousarray(self.augmentation(load_wave(clip.path), rng), np.float32)
        return position, torch.from_numpy(fit_length(wave, self.samples)), clip.label
