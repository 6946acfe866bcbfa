"""A model over clips: on this machine's device, on every process, in parts that outlast a stopped run."""

import os
import shutil

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from data.dataset import Skipping, fingerprint
from engine.batches import fixed_batches, keep_freed_memory, run_batches
from engine.outputs import finite_rows, map_tensors
from engine.shards import Shards
from models.weights import frozen_digest, state_digest
from utils.errors import InputError


def make_accelerator(config):
    """accelerate's device and processes; without a GPU, torchrun's processes must be told to work together.

    Raises InputError when --gpu names one that is not there.
    """
    wanted = [name for name in config.gpu.split(",") if name.strip() not in ("", "-1")]
    if torch.cuda.device_count() < len(wanted):
        raise InputError(
            f"--gpu {config.gpu}: {torch.cuda.device_count()} of these GPUs can be used: name others, or -1 for none"
        )
    keep_freed_memory()
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=config.mixed_precision)


def compile_model(model, config):
    """`model`, which with --compile torch.compile builds at its first batch; its weights keep their names.

    Random numbers stay those of the plain model. Raises InputError where there is no C++ compiler.
    """
    if config.compile:
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise InputError(f"--compile needs a C++ compiler, but {compiler} is not there: install it, or go without")
        model.compile(options={"fallback_random": True})
    return model


def infer(model, dataset, config, accelerator, title):
    """What `model` gives for every item of `dataset`, in its order, float32 on the CPU, the same on every process."""
    share = fixed_batches(dataset, config.batch_size)[accelerator.process_index :: accelerator.num_processes]
    found = run_batches(model, dataset, share, config, accelerator, title)
    rows = gather_object([(position, outputs) for position, outputs, _ in found])
    order = torch.cat([position for position, _ in rows]).argsort()
    return map_tensors(lambda *parts: torch.cat(parts)[order], *(outputs for _, outputs in rows))


def describe_outputs(model, dataset, config):
    """All that the outputs of `model` for `dataset` depend on."""
    names = ("batch_size", "mixed_precision", "compile", "ssl_norm", "mae_order", "seed")
    return {
        "clips": fingerprint(dataset.clips),
        "samples": dataset.samples,
        "data": type(dataset).__name__,
        "weights": state_digest(model.state_dict()),
        "frozen": frozen_digest(model),
        "torch": torch.__version__,
    } | {name: getattr(config, name, None) for name in names}


def infer_in_shards(model, dataset, config, accelerator, title, folder):
    """infer() of Clips for scripts that write its result: (Shards, positions [n], outputs, {position: reason}).

    The shards lie in `folder` until they are removed: a run that was stopped continues from them. Only the first
    process gets more than the Shards. With --on_bad_audio skip, clips that cannot be used, or give no number, have a
    reason and no output; otherwise InputError tells of the first one.
    """
    shards = Shards(folder, describe_outputs(model, dataset, config), accelerator)
    batches = fixed_batches(dataset, config.batch_size)
    left = [number for number in range(len(batches)) if number not in shards.done]
    if shards.done:
        accelerator.print(f"{title}: goes on after {len(shards.done)} of {len(batches)} batches, kept in {folder}")
    share = left[accelerator.process_index :: accelerator.num_processes]
    skip = config.on_bad_audio == "skip"
    data = Skipping(dataset) if skip else dataset
    found = run_batches(model, data, [batches[number] for number in share], config, accelerator, title)
    try:
        for number, (position, outputs, rest) in zip(share, found, strict=True):
            shards.add(number, position, outputs, rest if skip else {})
    finally:
        found.close()  # and its bar's line, on which an error would stand
        shards.flush()
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return shards, None, None, None
    positions, outputs, reasons = shards.merge(len(dataset))
    if not len(positions):
        first = next(iter(reasons.values()))
        raise InputError(f"{title}: none of the {len(dataset)} clips can be used; the first: {first}")
    if reasons and not skip:  # left by a run that skipped
        raise InputError(next(iter(reasons.values())))
    finite = finite_rows(outputs)
    if not finite.all():
        silent = [(position, dataset.clips[position].path) for position in positions[~finite].tolist()]
        if not skip:
            raise InputError(
                f"what the model makes of clip {silent[0][0]} ({silent[0][1]}) is not finite, like {len(silent)} of"
                f" {len(dataset)}: check those clips and trace again"
            )
        reasons |= {position: f"{path}: what the model makes of it is not finite" for position, path in silent}
        positions, outputs = positions[finite], map_tensors(lambda part: part[finite], outputs)
    return shards, positions, outputs, reasons
