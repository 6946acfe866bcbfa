"""SASTNet: made from its pretrained parts, or restored from trained weights."""

import re

import torch

from data.taxonomy import TAXONOMY_CLASSES
from models.fairseq_checkpoint import stand_in
from models.front_ends import build_front_end, front_end_from_state
from models.sastnet import SAST_SAMPLES, SAST_TASKS, SIZES, SastLoss, SastNet
from models.taxonomy_building import read_named
from models.weights import load_file, load_weights, part_of
from models.whisper import WhisperFeatures, random_encoder, read_encoder
from models.xlsr import FULL, TINY
from utils.errors import InputError, MissingInput

RANDOM_FRONT_ENDS = {"full": FULL, "small": TINY}  # --size -> the front end of --no_pretrained
# AudioMAE's decoder has 16 layers of another kind; SASTNet starts from what fits of the first 8. Its patch embedding is
# left out as in the released code, which thus trains it from scratch.
MAE_ENCODER = re.compile(r"cls_token$|(blocks\.\d+|norm)\.")
MAE_DECODER = re.compile(r"mask_token$|(decoder_blocks\.[0-7](?!\.attn\.(tau|meta_mlp))|decoder_norm|decoder_pred)\.")


class SastNetBuilder:
    """The builder of SASTNet, see models.TaxonomyModel. Its kind is the number of classes."""

    samples = SAST_SAMPLES

    @staticmethod
    def build(config):
        if config.size != "full" and not config.no_pretrained:
            raise InputError(f"--size {config.size} has no pretrained weights: pass --no_pretrained with it")
        check_pretrained_files(config)
        size = SIZES[config.size]
        if config.no_pretrained:
            source = RANDOM_FRONT_ENDS[config.size]
            encoder = random_encoder(size.whisper)
        else:
            source = config.SSL_path
            encoder = read_encoder(config.Whisper_path)
        front_end = build_front_end(source, layer=None, norm="none", frozen=False)
        model = SastNet(front_end, WhisperFeatures(encoder), config.task, size.mae, config.mask_ratio)
        if not config.no_pretrained:
            start_autoencoder(model.MAE, config.MAE_path)
        if config.tuned_weight:
            start_front_end(front_end, config.tuned_weight)
        return model

    @staticmethod
    def loss(config):
        return SastLoss(config.task)

    @staticmethod
    def classes(run):
        task = SAST_TASKS[run["task"]].task
        return {task: TAXONOMY_CLASSES[task]}

    @staticmethod
    def recognise(state):
        head = state.get("multiclass_branch.out_layer.weight")
        has_autoencoder = any(name.startswith("MAE.") for name in state)
        return len(head) if has_autoencoder and head is not None else None

    @staticmethod
    def restore(state, classes, config, path):
        task = task_of(classes, config.task, path)
        width = state["MAE.encoder.cls_token"].shape[-1]
        size = next((size for size in SIZES.values() if size.mae.dim == width), SIZES["full"])
        holds_whisper = any(name.startswith("whisper.") for name in state)
        is_random = holds_whisper or config.no_pretrained  # the weights in `state` take their place, or none exist
        encoder = random_encoder(size.whisper) if is_random else read_encoder(config.Whisper_path)
        tensors = part_of(state, "SSL_model.model.")
        front_end = front_end_from_state(tensors, path, layer=None, norm="none", frozen=False)
        shuffled = config.mae_order == "random"
        return SastNet(front_end, WhisperFeatures(encoder), task, size.mae, shuffled=shuffled), task


def task_of(classes, asked, path):
    """The name in SAST_TASKS of a model of so many classes: the one `asked` for, or the one that the file name says.

    Raises InputError when neither says it: two tasks have four classes.
    """
    fitting = [name for name, row in SAST_TASKS.items() if len(TAXONOMY_CLASSES[row.task]) == classes]
    # The weights do not show the task, so the published files have it in their names: SAST_Net_VQ.pth, SAST_Net_AUX.pth
    named = [name for name in fitting if name in re.split(r"[_.]", path.name)]
    task = asked or (fitting + named)[-1]
    if task not in fitting or not (asked or len(fitting) == 1 or named):
        raise InputError(f"{path} knows {classes} classes: pass --task {' or '.join(fitting)}")
    return task


# ---- pretrained parts ------------------------------------------------------------------------------------------------


def check_pretrained_files(config):
    """Raise MissingInput, which says what it is, when a pretrained file of SASTNet is absent."""
    files = {"tuned_weight": "a trained W2V2AASIST", "MAE_path": "AudioMAE pretrained on AudioSet"}
    for flag, what in files.items():
        path = getattr(config, flag)
        if not path or path.is_file() or (flag == "MAE_path" and config.no_pretrained):
            continue
        raise MissingInput(
            f"{path} does not exist: it holds the weights of {what}, see docs/taxonomy.md;"
            f" set --{flag}, or pass --no_pretrained for a dry run"
        )


def start_autoencoder(mae, path):
    """Put AudioMAE's weights from `path`, as far as they fit, into `mae`. Raises InputError when they do not."""
    content = load_file(path, stand_in)
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path} is not AudioMAE's checkpoint: it holds no dict called model")
    parts = [(mae.encoder, MAE_ENCODER), *((decoder, MAE_DECODER) for decoder in mae.all_decoders)]
    for part, wanted in parts:
        own = part.state_dict()
        for name in filter(wanted.match, own):
            value = state.get(name)
            if not torch.is_tensor(value) or value.shape != own[name].shape:
                what = f"is {list(value.shape)}" if torch.is_tensor(value) else "is missing"
                raise InputError(f"{path}: {name} {what}, expected {list(own[name].shape)} of AudioMAE base")
        part.load_state_dict({name: state[name] for name in filter(wanted.match, own)}, strict=False)


def start_front_end(front_end, path):
    """Put the XLS-R of a trained W2V2AASIST into `front_end`. Raises InputError when it is absent or does not fit."""
    state = part_of(read_named(path), "ssl_model.")
    if not state:
        raise InputError(f"{path} holds no XLS-R (ssl_model.*), so it is no trained W2V2AASIST")
    load_weights(front_end, state, path)
