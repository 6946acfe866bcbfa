"""Augmentations of training waveforms: one row each. A row that is added from outside is at once a value of --augment.

AUGMENTATIONS["quieter"] = lambda wave, rng: 0.5 * wave
"""

from functools import partial

import numpy as np
import torch

from data.audio import fit_length, load_wave
from data.dataset import Clips
from data.rawboost import ALGORITHMS, rawboost
from utils.errors import InputError

# Name -> function (wave [n] at 16 kHz, rng: a numpy Generator) -> wave [n], float32 or float64
AUGMENTATIONS = {f"rawboost{number}": partial(rawboost, number) for number in range(len(ALGORITHMS))}


class AugmentedClips(Clips):
    """(position, waveform float32 [samples], label) of each clip: the whole file, augmented, then cut or repeated.

    What is drawn at random depends only on (seed, epoch, position). Raises InputError for an unknown augmentation.
    """

    def __init__(self, clips, samples, augmentation, seed):
        super().__init__(clips, samples)
        if augmentation not in AUGMENTATIONS:
            names = ", ".join(["rawboost", *AUGMENTATIONS])
            raise InputError(f"--augment {augmentation}: expected one of {names}")
        self.augment = AUGMENTATIONS[augmentation]
        self.seed = seed

    def __getitem__(self, position):
        clip = self.clips[position]
        rng = np.random.default_rng((self.seed, self.epoch, position))
        wave = self.augment(load_wave(clip.path), rng).astype(np.float32)
        return position, torch.from_numpy(fit_length(wave, self.samples)), clip.label
