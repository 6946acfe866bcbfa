"""A model over every window of any number of audio files, batched across files and streamed within them."""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from data.audio import SAMPLE_RATE, stream_wave, windows
from data.decoders import audio_suffixes
from engine.outputs import finite_rows, map_tensors, to_cpu
from utils.errors import InputError

QUIET, FRAME = 1e-4, SAMPLE_RATE // 10  # a tenth of a second with no sample above -80 dB of full scale is silent


def is_audible(wave):
    """Whether half of the tenths of a second of `wave` [n] or more are not silent."""
    loud = np.maximum.reduceat(np.abs(wave), np.arange(0, len(wave), FRAME)) > QUIET
    return bool(loud.mean() >= 0.5)


def audio_files(names):
    """The files that `names` stand for, each once: files, audio files in folders, and - for names on standard input.

    Raises InputError when there is none.
    """
    files = []
    for name in names:
        if name == "-":
            files += [line.rstrip("\n") for line in sys.stdin if line.strip()]
        elif Path(name).is_dir():
            named = (path for path in Path(name).rglob("*") if path.name.lower().endswith(audio_suffixes()))
            files += sorted(str(path) for path in named if path.is_file() or path.is_symlink())  # broken ones are told
        else:
            files.append(name)
    if not files:
        raise InputError(f"{' '.join(names)}: no audio file there ({', '.join(audio_suffixes())})")
    return list(dict.fromkeys(files))


class FileWindows(IterableDataset):
    """(file number, start, stop, audible, wave [samples], message) of every window of `paths`.

    A file that cannot be read ends with one row whose message says why. Workers take turns at the files.
    """

    def __init__(self, paths, hop, samples):
        self.paths, self.hop, self.samples = paths, hop, samples

    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(first, len(self.paths), step):
            try:
                for start, stop, wave in windows(stream_wave(self.paths[number]), self.hop, self.samples):
                    yield number, start, stop, is_audible(wave), torch.from_numpy(wave), ""
            except InputError as error:
                yield number, 0, 0, False, torch.zeros(self.samples), str(error)


def hop_samples(hop, samples):
    """Samples between two windows of `samples`, for --hop seconds, which may be None. Raises InputError for a gap."""
    if hop is None:
        return samples // 2
    if hop * SAMPLE_RATE > samples:
        raise InputError(
            f"--hop {hop:g} leaves gaps between windows of {samples / SAMPLE_RATE:.2f} s: give at most that"
        )
    return round(hop * SAMPLE_RATE)


@torch.inference_mode()
def infer_windows(model, samples, paths, config, accelerator, measure):
    """For each of `paths` ({name: array [windows, ...]}, "") or, when it cannot be used, (None, what is wrong).

    The arrays are start, stop (in samples at 16 kHz), audible, and those that `measure(features, logits)` makes of a
    batch [batch, ...]; only they are kept, so memory grows by some hundred bytes a window.
    """
    dataset = FileWindows(paths, hop_samples(config.hop, samples), samples)
    loader = DataLoader(dataset, config.batch_size, num_workers=min(config.num_workers, len(paths) - 1))
    rows, messages = defaultdict(list), {}
    with tqdm(total=len(paths), desc="files", unit="file", disable=len(paths) < 2) as bar:
        for number, start, stop, audible, wave, message in loader:
            with accelerator.autocast():
                outputs = to_cpu(model(wave.to(accelerator.device)))
            finite = finite_rows(outputs)
            table = {"start": start.numpy(), "stop": stop.numpy(), "audible": audible.numpy()}
            table |= measure(*map_tensors(lambda tensor: tensor.nan_to_num(0, 0, 0), outputs))
            for row, (file, text) in enumerate(zip(number.tolist(), message, strict=True)):
                if text or not finite[row]:
                    text = text or f"{paths[file]} makes no number in the model: is its level extreme?"
                    messages.setdefault(file, text)
            for file in number.unique().tolist():
                mine = (number == file).numpy()
                rows[file].append({name: array[mine] for name, array in table.items()})
            bar.update(len(rows) - bar.n)
    return [
        (None, messages[file])
        if file in messages
        else ({name: np.concatenate([part[name] for part in rows[file]]) for name in rows[file][0]}, "")
        for file in range(len(paths))
    ]
