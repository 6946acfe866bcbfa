"""The one Dataset that feeds every model."""

import torch
from torch.utils.data import Dataset

from data.audio import SAMPLES, fit_length, load


class Clips(Dataset):
    """(position, waveform [samples], class) of each clip.

    The position, not the name, travels through the network: it gathers across processes as a tensor.
    """

    def __init__(self, clips, samples=SAMPLES):
        self.clips, self.samples = clips, samples
        self.epoch = 0  # training sets it; what is drawn at random for a clip depends on it

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, position):
        clip = self.clips[position]
        wave = fit_length(load(clip.path, self.samples), self.samples)
        return position, torch.from_numpy(wave), clip.label
