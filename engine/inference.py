"""A model over clips: on this machine's device, shared by all processes, in parts that outlast a stopped run."""

import os
import shutil

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from data.dataset import SkippingClips, files_digest
from engine.batches import fixed_batches, keep_freed_memory, run_batches
from engine.outputs import finite_rows, map_tensors
from engine.shards import Shards
from models.weights import frozen_digest, state_digest
from utils.errors import InputError
from utils.hardware import MPS

# Flags on which outputs depend, beside the model and the clips; a system may lack some of them.
FLAGS_OF_OUTPUTS = ("batch_size", "mixed_precision", "compile", "ssl_norm", "ssl_layer", "mae_order", "seed")


def make_accelerator(config):
    """accelerate's device and processes; without a GPU, the processes of torchrun work together on the CPU.

    Raises InputError when --gpu names a GPU that is not there, or when it cannot do what other flags ask for.
    """
    keep_freed_memory()
    if config.gpu == MPS:
        check_mps(config)
        return Accelerator()
    wanted = [name for name in config.gpu.split(",") if name.strip() not in ("", "-1")]
    usable = torch.cuda.device_count()
    if usable < len(wanted):
        raise InputError(f"--gpu {config.gpu}: {usable} of these GPUs can be used: name others, or -1 for none")
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=config.mixed_precision)


def check_mps(config):
    """Raise InputError where the GPU of a Mac is not there, or cannot do what other flags ask for."""
    if not torch.backends.mps.is_available():
        raise InputError("--gpu mps: this is no Mac with a GPU that torch can use: leave --gpu out")
    for flag, plain in (("mixed_precision", "no"), ("compile", False)):
        if getattr(config, flag, plain) != plain:
            raise InputError(f"--gpu mps computes in float32 and without torch.compile: leave --{flag} out")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("--gpu mps is one GPU for one process: start the script without torchrun")


def compile_model(model, config):
    """`model`; with --compile, torch.compile builds its code at the first batch. The weights keep their names.

    Random numbers stay those of the plain model. Raises InputError where there is no C++ compiler.
    """
    if config.compile:
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise InputError(
                f"--compile needs a C++ compiler, but {compiler} is not installed: install it, or leave --compile out"
            )
        model.compile(options={"fallback_random": True})
    return model


def infer(model, dataset, config, accelerator, title):
    """What `model` gives for every item of `dataset`, in its order: float32 on the CPU, the same on every process."""
    share = fixed_batches(dataset, config.batch_size)[accelerator.process_index :: accelerator.num_processes]
    batches = run_batches(model, dataset, share, config, accelerator, title)
    rows = gather_object([(positions, outputs) for positions, outputs, _ in batches])
    order = torch.cat([positions for positions, _ in rows]).argsort()
    return map_tensors(lambda *parts: torch.cat(parts)[order], *(outputs for _, outputs in rows))


def describe_outputs(model, dataset, config):
    """All that the outputs of `model` for `dataset` depend on."""
    return {
        "clips": files_digest(dataset.clips),
        "samples": dataset.samples,
        "data": type(dataset).__name__,
        "weights": state_digest(model.state_dict()),
        "frozen": frozen_digest(model),
        "torch": torch.__version__,
    } | {name: getattr(config, name, None) for name in FLAGS_OF_OUTPUTS}


def fill_shards(model, dataset, config, accelerator, title, folder):
    """Run `model` over `dataset`, each process its share of the batches; gives the Shards that hold all outputs.

    They lie in `folder` until they are removed, and a run that was stopped continues from them. With --on_bad_audio
    skip they hold the reason why a clip cannot be used; otherwise the first such clip raises InputError.
    """
    shards = Shards(folder, describe_outputs(model, dataset, config), len(dataset), accelerator)
    batches = fixed_batches(dataset, config.batch_size)
    left = [number for number in range(len(batches)) if number not in shards.done]
    if shards.done:
        accelerator.print(f"{title}: continues after {len(shards.done)} of {len(batches)} batches, kept in {folder}")
    share = left[accelerator.process_index :: accelerator.num_processes]
    skip = config.on_bad_audio == "skip"
    data = SkippingClips(dataset) if skip else dataset
    rows = run_batches(model, data, [batches[number] for number in share], config, accelerator, title)
    try:
        for number, (positions, outputs, rest) in zip(share, rows, strict=True):
            shards.add(number, positions, outputs, rest if skip else {})
    finally:
        rows.close()  # ends the line of the progress bar, so that an error stands on a line of its own
        shards.flush()
    accelerator.wait_for_everyone()
    return shards


def usable_outputs(shards, dataset, title, skip):
    """(positions [n] in order, outputs [n, ...], {position: reason}) of the clips in full `shards` of `dataset`.

    With `skip`, clips that cannot be used, or whose outputs are not finite, have a reason instead of outputs. Without
    it they raise InputError; so does a set in which no clip can be used.
    """
    positions, outputs, reasons = shards.merge()
    if not len(positions):
        first = next(iter(reasons.values()))
        raise InputError(f"{title}: none of the {len(dataset)} clips can be used; the first: {first}")
    if reasons and not skip:  # left by a run that skipped them
        raise InputError(next(iter(reasons.values())))
    finite = finite_rows(outputs)
    if not finite.all():
        bad = [(position, dataset.clips[position].path) for position in positions[~finite].tolist()]
        if not skip:
            position, path = bad[0]
            raise InputError(
                f"the output of the model for clip {position} ({path}) is not finite; {len(bad)} of {len(dataset)}"
                " clips have this problem: check their audio and trace again"
            )
        reasons |= {position: f"{path}: the output of the model is not finite" for position, path in bad}
        positions = positions[finite]
        outputs = map_tensors(lambda part: part[finite], outputs)
    return positions, outputs, reasons
