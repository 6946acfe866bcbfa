"""A model over every window of any number of audio files: batched across files, streamed within a file.

Most models judge a file by the mean over its windows. A model that reads a fingerprint has `views` and `read` (see
models/fingerprint.py); it reads the mean fingerprint of the file.
"""

from collections import defaultdict

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from data.audio import SAMPLE_RATE, SAMPLES, windows
from data.measures import high_level_range
from engine.outputs import finite_rows, map_tensors, to_cpu
from models.fingerprint import mean_fingerprint
from prediction.recordings import as_recordings
from utils.errors import InputError

SILENCE_LEVEL = 1e-4  # largest sample of a silent frame: -80 dB of full scale
SILENCE_FRAME = SAMPLE_RATE // 10  # samples
POOLED_BY_MEDIAN = ("scores",)  # all other arrays of a file are pooled by their mean


def is_audible(wave):
    """Whether at least half of the frames of `wave` [n], a tenth of a second each, are not silent."""
    loud = np.maximum.reduceat(np.abs(wave), np.arange(0, len(wave), SILENCE_FRAME)) > SILENCE_LEVEL
    return bool(loud.mean() >= 0.5)


class FileWindows(IterableDataset):
    """(file number, start, stop, audible, level range, wave [samples], message) of every window of `paths`.

    A file that cannot be read ends with one row whose message is the reason. Loader workers share the files.
    """

    def __init__(self, recordings, hop, samples):
        self.recordings = recordings
        self.hop = hop
        self.samples = samples

    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in range(first, len(self.recordings), step):
            recording = self.recordings[number]
            try:
                for start, stop, wave in windows(recording.stream(), self.hop, self.samples):
                    measured = is_audible(wave), high_level_range(wave)
                    yield number, start, stop, *measured, torch.from_numpy(wave), ""
            except InputError as error:
                yield number, 0, 0, False, 0.0, torch.zeros(self.samples), recording.rename_in(error)


def hop_samples(hop, samples, reads_views=False):
    """Samples from one window of `samples` to the next, for `hop` in seconds.

    None means half a window; three quarters where the model `reads_views`, which take most of the time. Raises
    InputError when windows would leave gaps.
    """
    if hop is None:
        return 3 * samples // 4 if reads_views else samples // 2
    if hop * SAMPLE_RATE > samples:
        raise InputError(f"--hop {hop:g} leaves gaps: a window has {samples / SAMPLE_RATE:.2f} s, give at most that")
    return round(hop * SAMPLE_RATE)


@torch.inference_mode()
def infer_files(model, samples, recordings, config, accelerator, measure):
    """[(windows, whole, message)] of `recordings` or paths; where there is a message, the first two are None.

    `windows` is a table {name: array [windows, ...]}, `whole` is the table of one row for the whole file. The
    arrays are start and stop (in samples at 16 kHz), audible (bool), level_range (dB, see high_level_range()),
    those that `measure(features, logits)` makes of a batch, and "views", the fingerprints, of a model that reads
    them. `model` takes waves of `samples`. Only these arrays are kept: a window takes some hundred bytes, with its
    fingerprint 12 kB.
    """
    recordings = as_recordings(recordings)
    dataset = FileWindows(recordings, hop_samples(config.hop, samples, hasattr(model, "views")), samples)
    loader = DataLoader(dataset, config.batch_size, num_workers=min(config.num_workers, len(recordings) - 1))
    parts = defaultdict(list)  # {file number: tables}
    messages = {}
    with tqdm(total=len(recordings), desc="files", unit="file", disable=len(recordings) < 2) as bar:
        for number, start, stop, audible, level_range, wave, texts in loader:
            outputs, views = infer_batch(model, wave, accelerator)
            table = {"start": start.numpy(), "stop": stop.numpy(), "audible": audible.numpy()}
            table |= {"level_range": level_range.numpy(), **views}
            table |= measure_finite(measure, outputs)
            for file, text, finite in zip(number.tolist(), texts, finite_rows(outputs).tolist(), strict=True):
                if text or not finite:
                    messages.setdefault(file, text or not_finite_message(recordings[file].name))
            for file in number.unique().tolist():
                mine = (number == file).numpy()
                parts[file].append({name: array[mine] for name, array in table.items()})
            bar.update(len(parts) - bar.n)
    files = []
    for file in range(len(recordings)):
        table = None if file in messages else join_tables(parts.pop(file))
        files.append((table, table and pool_windows(table, model, accelerator, measure), messages.get(file, "")))
    return files


def embed_files(model, files, config, accelerator, embed):
    """embed(features [n, d]) of `files`, each as a whole: array [files, d'].

    Raises InputError for a file that cannot be used, or that is silent. See infer_files().
    """
    recordings = as_recordings(files)
    rows = infer_files(model, SAMPLES, recordings, config, accelerator, lambda x, _: {"embeddings": embed(x)})
    for recording, (table, _, message) in zip(recordings, rows, strict=True):
        if message:
            raise InputError(message)
        if not table["audible"].any():
            raise InputError(f"{recording.name} is silent: leave it out")
    return np.concatenate([whole["embeddings"] for _, whole, _ in rows])


def infer_batch(model, wave, accelerator):
    """(outputs of `model`, {"views": fingerprints}) of `wave` [batch, samples], on the CPU; {} where it reads none."""
    wave = wave.to(accelerator.device)
    with accelerator.autocast():
        if not hasattr(model, "views"):
            return to_cpu(model(wave)), {}
        views = model.views(wave)
        return to_cpu(model(views)), {"views": views.cpu().numpy()}


def measure_finite(measure, outputs):
    """measure(*outputs), with 0 for values that are not finite: such a file gets a message in place of a result."""
    return measure(*map_tensors(lambda tensor: tensor.nan_to_num(0, 0, 0), outputs))


def not_finite_message(name):
    """What the user reads about a file whose output is not finite."""
    return f"{name}: the output of the model is not a finite number. Check the level of this recording"


def join_tables(tables):
    """One table of `tables`, dicts of arrays [windows, ...] with the same names."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def pool_windows(table, model, accelerator, measure):
    """The table of one row for a whole file: means over its audible windows, and the median of the scores.

    A file without an audible window is pooled over all windows. A model that reads fingerprints reads their mean. See
    infer_files() for `measure`.
    """
    used = table["audible"] if table["audible"].any() else ~table["audible"]
    whole = {
        name: (np.median if name in POOLED_BY_MEDIAN else np.mean)(array[used], axis=0, keepdims=True)
        for name, array in table.items()
    }
    if "views" in table:
        views = mean_fingerprint(torch.from_numpy(table["views"][used]))
        with accelerator.autocast():
            outputs = to_cpu(model(views.to(accelerator.device)))
        whole |= measure_finite(measure, outputs) | {"views": views.numpy()}
    return whole
