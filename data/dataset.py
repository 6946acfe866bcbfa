"""The one Dataset that feeds every model."""

import hashlib

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from data.audio import SAMPLES, fit_length, load_wave
from utils.digests import file_digest
from utils.errors import NOT_UTF8, InputError
from utils.hardware import is_first_process


def check_name(name):
    """Raise InputError for a file name that a line of a score file cannot hold."""
    broken = "\n" in name or "\r" in name
    if broken or any("\ud800" <= letter <= "\udfff" for letter in name):  # how Python reads what is not UTF-8
        what = "holds a line break" if broken else "is not UTF-8"
        raise InputError(f"{name!r}: this file name {what}, so no score file can name it: rename the file")


class Clips(Dataset):
    """(position, waveform [samples], class) of each clip.

    The position, not the name, travels through the network: it gathers across processes as a tensor.
    """

    def __init__(self, clips, samples=SAMPLES):
        self.clips = clips
        self.samples = samples
        self.epoch = 0  # training sets it; random draws for a clip depend on it

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, position):
        clip = self.clips[position]
        check_name(clip.name)
        wave = fit_length(load_wave(clip.path, self.samples), self.samples)
        return position, torch.from_numpy(wave), clip.label


class SkippingClips(Dataset):
    """The clips of `dataset` that can be used, and why the others cannot.

    A batch is (positions, waveforms) of the clips that can be used, and {position: reason} of the others.
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, position):
        try:
            return position, self.dataset[position][1], ""
        except InputError as error:
            return position, torch.zeros(0), str(error)

    @staticmethod
    def collate(items):
        good = [(position, wave) for position, wave, reason in items if not reason]
        positions, waves = zip(*good, strict=True) if good else ((), (torch.zeros(0),))
        reasons = {position: reason for position, _, reason in items if reason}
        return torch.tensor(positions, dtype=torch.int64), torch.stack(waves), reasons


def files_digest(clips):
    """SHA-256, in hex, of the names of `clips` and of the content of their files, in their order."""
    digest = hashlib.sha256()
    for clip in tqdm(clips, desc="digests", unit="file", delay=5, leave=False, disable=not is_first_process()):
        digest.update(f"{clip.name}\0{file_digest(clip.path)}\n".encode(errors=NOT_UTF8))
    return digest.hexdigest()
