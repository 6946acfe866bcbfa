"""Tracing any number of recordings into a Journal, which all processes of torchrun do together."""

import hashlib
from itertools import islice

import torch
from accelerate.utils import broadcast_object_list, gather_object

from models.weights import state_digest
from prediction.journal import entry_of
from prediction.windows import file_blocks, progress_bar
from utils.digests import file_digest, sha256
from utils.errors import NOT_UTF8, InputError
from utils.model_files import CALIBRATION_JSON
from utils.targets import check_target

FLAGS_OF_RESULTS = ("batch_size", "channel", "mixed_precision", "ood_detector_name", "plot")


def blocks_of(recordings, config):
    """The file_blocks() of `recordings` that a run goes through."""
    return file_blocks(len(recordings), config.batch_size)


def run_description(tracer, recordings):
    """All that the results depend on, except the content of the files: a dict for JSON.

    A stopped run goes on only where it is the same. The journal has the digest of each file.
    """
    config = tracer.config
    names = hashlib.sha256()
    for recording in recordings:
        names.update(recording.name.encode(errors=NOT_UTF8) + b"\0")
    return {
        "recordings": len(recordings),
        "names_sha256": names.hexdigest(),
        "settings": tracer.settings_used(),
        "flags": {name: str(getattr(config, name)) for name in FLAGS_OF_RESULTS},
        "weights": [state_digest(model.state_dict()) for model in (tracer.model, *tracer.taxonomy_models)],
        "calibration_sha256": file_digest(config.model_folder / CALIBRATION_JSON),
        "registry_sha256": sha256(config.registry) if config.registry else None,
        "torch": torch.__version__,
    }


def trace_into(journal, tracer, recordings, plots=None):
    """Trace the `recordings` that `journal` lacks, in turns of one block for each process; gives messages of plots.

    Only the first process has a journal, the others have None. `plots` are the paths of the pictures to draw. Answers
    are in the order of the recordings, and the same to the last bit for any number of processes and loader workers.
    """
    accelerator = tracer.accelerator
    blocks = blocks_of(recordings, tracer.config)
    [done] = broadcast_object_list([journal.done if journal else 0])
    left = blocks[done:]
    results = tracer.trace_each(recordings, left[accelerator.process_index :: accelerator.num_processes])
    messages = []
    first = left[0].start if left else len(recordings)
    with progress_bar(len(recordings), first, hidden=not accelerator.is_main_process) as bar:
        for start in range(0, len(left), accelerator.num_processes):
            turn = left[start : start + accelerator.num_processes]
            mine = turn[accelerator.process_index] if accelerator.process_index < len(turn) else ()
            mine = zip(mine, islice(results, len(mine)), strict=True)
            rows = [(entry_of(recordings[file], result), draw(result, plots and plots[file])) for file, result in mine]
            rows = gather_object(rows)
            messages += [message for _, message in rows if message]
            if journal:
                journal.add([entry for entry, _ in rows], blocks=len(turn))
            bar.update(len(rows))
    return messages


def draw(result, path):
    """Draw the picture of a result to `path`, where there is one. A message says why that failed, or is ""."""
    if result and path:
        try:
            result.plot(path)
        except InputError as error:
            return str(error)
    return ""


def plot_paths(folder, recordings):
    """The path of the picture of each recording in `folder`: FILE.png; a repeated name is numbered.

    Raises InputError where a file of another kind has this name.
    """
    taken = set()
    paths = []
    for recording in recordings:
        stem = recording.stem
        names = (f"{stem}.png", *(f"{stem}-{n}.png" for n in range(2, len(recordings) + 1)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        check_target(folder / name, "png")
        paths.append(folder / name)
    return paths
