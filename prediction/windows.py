"""A model over every window of any number of audio files: batched across files, streamed within a file.

Most models judge a file by the mean over its windows. A model that reads a fingerprint has `views` and `read` (see
models/fingerprint.py); it reads the mean fingerprint of the file.
"""

from collections import defaultdict
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from data.audio import SAMPLE_RATE, SAMPLES, windows
from data.measures import high_level_range
from engine.outputs import finite_rows, map_tensors, to_cpu
from models.fingerprint import mean_fingerprint
from prediction.recordings import About, as_recordings
from utils.errors import InputError

SILENCE_LEVEL = 1e-4  # largest sample of a silent frame: -80 dB of full scale
SILENCE_FRAME = SAMPLE_RATE // 10  # samples
WINDOW_FIELDS = ("file", "start", "stop", "audible", "level_range")
FEWEST_BLOCKS = 64  # that many files are cut into
POOLED_BY_MEDIAN = ("scores",)  # all other arrays of a file are pooled by their mean


def is_audible(wave):
    """Whether at least half of the frames of `wave` [n], a tenth of a second each, are not silent."""
    loud = np.maximum.reduceat(np.abs(wave), np.arange(0, len(wave), SILENCE_FRAME)) > SILENCE_LEVEL
    return bool(loud.mean() >= 0.5)


class Batch(NamedTuple):
    """Windows of the files of one block."""

    table: dict  # {name: array [windows]}: file, its number; start, stop, audible, level_range: see infer_files()
    wave: torch.Tensor  # float32 [windows, samples]
    ended: dict  # {file: its About, or the reason why it cannot be used} of the files that have no further window


class WindowBatches(IterableDataset):
    """The windows of recordings in Batches of up to `size`. Workers take turns at the `blocks`, lists of file numbers.

    No batch has files of two blocks. So the outputs of a file do not depend, to the last bit, on how many workers and
    processes there are, and where a stopped run goes on.
    """

    def __init__(self, recordings, blocks, hop, samples, size):
        self.recordings = recordings
        self.blocks = blocks
        self.hop = hop
        self.samples = samples
        self.size = size

    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for block in self.blocks[first::step]:
            yield from self._batches(block)

    def _batches(self, block):
        rows = []
        ended = {}
        for file in block:
            recording = self.recordings[file]
            told = []
            try:
                for start, stop, window in windows(recording.stream(told.append), self.hop, self.samples):
                    if len(rows) == self.size:
                        yield make_batch(rows, ended, self.samples)
                        rows = []
                        ended = {}
                    # A copy, because a window is a view of its block.
                    rows.append((file, start, stop, is_audible(window), high_level_range(window), window.copy()))
                ended[file] = told[0]
            except InputError as error:
                ended[file] = recording.rename_in(error)
        yield make_batch(rows, ended, self.samples)


def make_batch(rows, ended, samples):
    """The Batch of `rows`: the values of WINDOW_FIELDS and the wave [samples] of each window."""
    *columns, waves = zip(*rows, strict=True) if rows else [[]] * 6
    table = {name: np.array(column) for name, column in zip(WINDOW_FIELDS, columns, strict=True)}
    return Batch(table, torch.from_numpy(np.array(waves, np.float32).reshape(-1, samples)), ended)


def as_it_is(batch):
    """A Batch needs no collating."""
    return batch


def file_blocks(count, size):
    """The numbers of `count` files in blocks of up to `size`; fewer where there are few, so that workers can share."""
    step = max(1, min(size, count // FEWEST_BLOCKS))
    return [range(start, min(start + step, count)) for start in range(0, count, step)]


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


class Measured(NamedTuple):
    """What a model gives for a file: see infer_files()."""

    windows: dict | None  # {name: array [windows, ...]}
    whole: dict | None  # {name: array [1, ...]}
    about: About | None
    message: str = ""  # why the file cannot be used; the other fields are then None


@torch.inference_mode()
def infer_files(model, samples, recordings, config, accelerator, measure, blocks=None):
    """Generate the Measured of each of `recordings`, in their order, each as soon as it is known.

    `windows` is a table {name: array [windows, ...]}, `whole` is the table of one row for the whole file. The
    arrays are start and stop (in samples at 16 kHz), audible (bool), level_range (dB, see high_level_range()),
    those that `measure(features, logits)` makes of a batch, and "views", the fingerprints, of a model that reads
    them. `model` takes waves of `samples`. Only these arrays are held: a window takes some hundred bytes, with its
    fingerprint 12 kB, until its file is at an end. `blocks` are some of file_blocks(), where not all files are wanted.
    """
    if blocks is None:
        blocks = file_blocks(len(recordings), config.batch_size)
    hop = hop_samples(config.hop, samples, hasattr(model, "views"))
    dataset = WindowBatches(recordings, blocks, hop, samples, config.batch_size)
    workers = max(0, min(config.num_workers, len(blocks) - 1))
    batches = iter(DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=as_it_is))
    parts = defaultdict(list)  # {file: tables}, of files that are not at an end
    ended = {}  # {file: Measured} that wait for a file before them
    for file in chain.from_iterable(blocks):
        while file not in ended:
            batch = next(batches)
            if len(batch.wave):
                outputs, views = infer_batch(model, batch.wave, accelerator)
                table = (
                    batch.table | views | measure_finite(measure, outputs) | {"finite": finite_rows(outputs).numpy()}
                )
                for number in np.unique(table["file"]).tolist():
                    mine = table["file"] == number
                    parts[number].append({name: array[mine] for name, array in table.items()})
            done = {number: (parts.pop(number, []), about) for number, about in batch.ended.items()}
            ended |= measure_wholes(model, done, recordings, accelerator, measure)
        yield ended.pop(file)


def measure_wholes(model, done, recordings, accelerator, measure):
    """{file: Measured} of `done`, {file: (tables of its windows, About or the reason why it cannot be used)}."""
    found = {}
    tables = {}
    for file, (parts, about) in done.items():
        if isinstance(about, str):
            found[file] = Measured(None, None, None, about)
        elif not all(part["finite"].all() for part in parts):
            found[file] = Measured(None, None, None, not_finite_message(recordings[file].name))
        else:
            tables[file] = join_tables(parts)
    wholes = pool_files(list(tables.values()), model, accelerator, measure)
    for (file, table), whole in zip(tables.items(), wholes, strict=True):
        found[file] = Measured(table, whole, done[file][1])
    return found


def progress_bar(count, done=0, hidden=False):
    """A progress bar of `count` files of which `done` are done: rate and time left. One file needs none."""
    return tqdm(desc="files", unit="file", total=count, initial=done, disable=hidden or count < 2)


def with_progress(results, count):
    """Generate `results`, those of `count` files, under a progress_bar()."""
    with progress_bar(count) as bar:
        for result in results:
            yield result
            bar.update()


def embed_files(model, files, config, accelerator, embed):
    """embed(features [n, d]) of `files`, each as a whole: array [files, d'].

    Raises InputError for a file that cannot be used, or that is silent. See infer_files().
    """
    recordings = as_recordings(files)
    results = infer_files(model, SAMPLES, recordings, config, accelerator, lambda x, _: {"embeddings": embed(x)})
    rows = list(with_progress(results, len(recordings)))
    for recording, row in zip(recordings, rows, strict=True):
        if row.message:
            raise InputError(row.message)
        if not row.windows["audible"].any():
            raise InputError(f"{recording.name} is silent: leave it out")
    return np.concatenate([row.whole["embeddings"] for row in rows])


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


def pool_files(tables, model, accelerator, measure):
    """The table of one row for each whole file: means over its audible windows, and the median of the scores.

    A file without an audible window is pooled over all windows. A model that reads fingerprints reads their means. See
    infer_files() for `measure`.
    """
    used = [table["audible"] if table["audible"].any() else ~table["audible"] for table in tables]
    wholes = [
        {
            name: (np.median if name in POOLED_BY_MEDIAN else np.mean)(array[rows], axis=0, keepdims=True)
            for name, array in table.items()
        }
        for table, rows in zip(tables, used, strict=True)
    ]
    if tables and "views" in tables[0]:
        means = [mean_fingerprint(torch.from_numpy(t["views"][rows])) for t, rows in zip(tables, used, strict=True)]
        views = torch.cat(means)
        with accelerator.autocast():
            outputs = to_cpu(model(views.to(accelerator.device)))
        read = measure_finite(measure, outputs) | {"views": views.numpy()}
        for file, whole in enumerate(wholes):
            whole |= {name: array[file : file + 1] for name, array in read.items()}
    return wholes
