"""Kinds of files of tensors whose structure a test changes: how they are written, read and checked."""

import functools
import json
import math
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from engine.feature_files import read_features
from engine.run_state import read_state
from evaluation.calibration import fit_calibration, read_calibration, write_calibration
from helpers.fuzzed_text import Kind
from helpers.mutations import mutated_bytes, mutated_tensors, mutated_tree, safetensors_bytes, tensor_bytes, tree_text
from models.weights import load_weights, read_checkpoint
from ood_detectors import Outputs
from prediction.registry import EmbeddingSpace, EnrolledSource, Registry, read_registry
from utils.digests import sha256
from utils.errors import InputError
from utils.files import save_tensors
from utils.model_files import CALIBRATION_JSON, CALIBRATION_TENSORS, CHECKPOINT
from utils.tensors import content_digest

CLASSES = 3


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 5)
        self.norm = torch.nn.BatchNorm1d(5)
        self.head = torch.nn.Linear(5, CLASSES)


def random_outputs(n, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 5, generator=generator)
    weight, bias = torch.randn(CLASSES, 5, generator=generator), torch.zeros(CLASSES)
    labels = torch.arange(n) % CLASSES
    return Outputs(features, features @ weight.T + bias, labels, (weight, bias))


def same(held, written):
    """Whether the tensor `held` has the numbers of `written`, which may be of another real or integer type."""
    return torch.equal(held, written.detach().to(held.dtype).reshape(held.shape))


STATE = {
    name: torch.rand_like(value) if value.is_floating_point() else value for name, value in Tiny().state_dict().items()
}


def check_weights(model, written):
    written = {name.removeprefix("module."): value for name, value in written.items()}
    for name, value in model.state_dict().items():
        assert value.dtype == STATE[name].dtype and value.isfinite().all() and same(value, written[name]), name
        assert written[name].shape == value.shape


def load(path):
    model = Tiny()
    load_weights(model, read_checkpoint(path), path)
    return model


def torch_checkpoint(rng, folder):
    tensors = mutated_tensors(rng, STATE)
    (folder / "model.pt").write_bytes(tensor_bytes(rng, tensors, folder / "canary"))
    return tensors


def safetensors_checkpoint(rng, folder):
    plain, content = safetensors_bytes(rng, mutated_tensors(rng, STATE))
    (folder / "model.safetensors").write_bytes(content)
    return plain


TRAIN = random_outputs(12, 0)
FEATURES = {
    **{"feas": TRAIN.features, "logits": TRAIN.logits, "labels": TRAIN.labels},
    **{"head_weight": TRAIN.head[0], "head_bias": TRAIN.head[1]},
}


def features_file(rng, folder):
    content = mutated_tensors(rng, FEATURES)
    names = [f"{number}.wav" for number in range(12)]
    more = {"names": names, "condition": "train"}
    if rng.random() < 0.3:
        more = mutated_tree(rng, more)
    content |= more if isinstance(more, dict) else {"names": more}
    (folder / "features.pt").write_bytes(tensor_bytes(rng, content, folder / "canary"))
    return content


def check_features(outputs, written):
    pairs = zip(("feas", "logits", "labels"), outputs[:3], strict=True)
    for name, value in pairs:
        assert value.dtype == FEATURES[name].dtype and value.isfinite().all() and same(value, written[name])
        assert len(value) == len(outputs.features) > 0
    assert outputs.features.ndim == outputs.logits.ndim == 2 and outputs.labels.ndim == 1
    assert 0 <= outputs.labels.min() <= outputs.labels.max() < 1000
    if outputs.head:
        weight, bias = outputs.head
        assert weight.isfinite().all() and bias.isfinite().all()
        assert weight.shape == (outputs.logits.shape[1], outputs.features.shape[1]) and len(bias) == len(weight)
    if outputs.names is not None:
        assert len(set(outputs.names)) == len(outputs.features)


def training():
    """A model, its optimizer after a step, and its loss."""
    model = Tiny()
    model.load_state_dict(STATE)
    optimizer = torch.optim.AdamW(model.parameters())
    model.head(model.norm(model.layer(torch.ones(3, 4)))).sum().backward()
    optimizer.step()
    return model, optimizer, torch.nn.CrossEntropyLoss()


def run_state():
    model, optimizer, loss = training()
    return {
        "model": {name: value.clone() for name, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "objective": loss.state_dict(),
        "scaler": None,
        "frozen": "0" * 64,
        "processes": 1,
        "history": [{"epoch": 1, "train_loss": 1.5, "dev_loss": 1.25}],
    }


def state_file(rng, folder):
    state = deepcopy(RUN_STATE)
    digest = content_digest(state)
    part = rng.choice(("model", "optimizer", "tree"))
    if part == "model":
        state["model"] = mutated_tensors(rng, state["model"])
    elif part == "optimizer":
        number = rng.choice(list(state["optimizer"]["state"]))
        state["optimizer"]["state"][number] = mutated_tensors(rng, state["optimizer"]["state"][number])
    else:
        plain = {name: value for name, value in state.items() if name not in ("model", "optimizer")}
        changed = mutated_tree(rng, plain | {"param_groups": state["optimizer"]["param_groups"]})
        if isinstance(changed, dict):
            groups = changed.pop("param_groups", [])
            state = changed | {"model": state["model"], "optimizer": state["optimizer"] | {"param_groups": groups}}
    state |= rng.choice(({"digest": digest}, {"digest": digest}, {}))
    (folder / "state.pt").write_bytes(tensor_bytes(rng, state, folder / "canary"))
    return state


def resume(folder):
    model, optimizer, loss = training()
    state = read_state(folder / "state.pt", "0" * 64, model, optimizer, loss)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    loss.load_state_dict(state["objective"])
    return state, model, optimizer


def check_state(result, written):
    state, model, optimizer = result
    check_weights(model, written["model"])
    held = optimizer.state_dict()["state"]
    assert len(held) == len(list(model.parameters()))
    for parts in held.values():
        assert {"step", "exp_avg", "exp_avg_sq"} <= parts.keys()
        assert all(value.isfinite().all() for value in parts.values())
        assert (parts["exp_avg_sq"] >= 0).all()
    assert [row["epoch"] for row in state["history"]] == list(range(1, len(state["history"]) + 1))
    assert all(math.isfinite(row["dev_loss"]) for row in state["history"])


RUN_STATE = run_state()
TENSOR_KINDS = {
    "checkpoint": Kind(torch_checkpoint, lambda folder: load(folder / "model.pt"), check_weights),
    "checkpoint: safetensors": Kind(
        safetensors_checkpoint, lambda folder: load(folder / "model.safetensors"), check_weights
    ),
    "checkpoint: state of a run": Kind(state_file, resume, check_state),
    "features": Kind(features_file, lambda folder: read_features(folder / "features.pt"), check_features),
    "features: like": Kind(features_file, lambda folder: read_features(folder / "features.pt", TRAIN), check_features),
}


# ---- calibration and registry ----------------------------------------------------------------------------------------

DEV = random_outputs(30, 1)
REGISTRY = "registry.safetensors"


def made_once(write, names):
    """A function (folder) that puts the files `names` there, which write(folder) has made the first time."""

    @functools.cache
    def contents():
        with TemporaryDirectory() as folder:
            save_tensors(Path(folder, CHECKPOINT), STATE)
            write(Path(folder))
            return {name: Path(folder, name).read_bytes() for name in (CHECKPOINT, *names)}

    def put(folder):
        for name, content in contents().items():
            (folder / name).write_bytes(content)

    return put


def write_whole_calibration(folder):
    description, tensors = fit_calibration(TRAIN, DEV, 0.9, ("msp", "knn", "mahalanobis"))
    limits = {"limits": {"codec": 0.5, "real": 0.5, "not_real": 0.5, "level_range": 20.0}}
    write_calibration(folder, description, tensors, ["real", "mimi", "snac"], limits | {"versions": {"torch": "2"}})


put_calibration = made_once(write_whole_calibration, (CALIBRATION_JSON, CALIBRATION_TENSORS))


def calibration(rng, folder):
    put_calibration(folder)
    json_file, tensors_file = folder / CALIBRATION_JSON, folder / CALIBRATION_TENSORS
    described = json.loads(json_file.read_text())
    if rng.random() < 0.5:
        json_file.write_bytes(tree_text(rng, mutated_tree(rng, described)))
        return
    _, content = safetensors_bytes(rng, mutated_tensors(rng, load_file(tensors_file)))
    tensors_file.write_bytes(mutated_bytes(rng, content) if rng.random() < 0.1 else content)
    if rng.random() < 0.9:
        json_file.write_text(json.dumps(described | {"tensors_sha256": sha256(tensors_file)}))


def use_calibration(folder):
    read = read_calibration(folder)
    scores = {}
    for name in read.detectors:
        try:
            scores[name] = read.score(name, DEV)
        except InputError:
            continue
    return read, scores


def check_calibration(result, _):
    read, scores = result
    logits = torch.tensor([[-1e4, 0.0, 1e4], [3.0, 2.0, 1.0], [1e-3, 0.0, -1e-3]]).double()
    values = read.probabilities(logits)
    assert np.isfinite(values).all() and np.allclose(values.sum(axis=1), 1) and (values >= 0).all()
    assert (np.diff(values[0]) >= 0).all() and (np.diff(values[1:]) < 0).all()
    assert len(read.class_names) == CLASSES
    for name in read.detectors:
        assert math.isfinite(read.threshold(name))
        assert np.isfinite(read.threshold(name, range(CLASSES))).all()
        shares = read.p_value(name, [-1.0, 0.0, 1e9], [0, 1, 2])
        assert ((shares > 0) & (shares <= 1)).all()
        assert np.isfinite(scores.get(name, 0)).all(), name


def write_whole_registry(folder):
    generator = np.random.default_rng(19)
    files = [{"file": f"{number}.wav", "sha256": "0" * 64} for number in range(4)]
    source = EnrolledSource("mine", 20 + generator.standard_normal((4, 5)), 0.5, 0.75, files)
    space = EmbeddingSpace.fit(TRAIN)
    Registry(space, sha256(folder / CHECKPOINT), 1, [source]).write(folder / REGISTRY)


put_registry = made_once(write_whole_registry, (REGISTRY,))


def registry(rng, folder):
    put_registry(folder)
    with safe_open(folder / REGISTRY, "pt") as file:
        described = json.loads(file.metadata()["registry"])
    tensors = load_file(folder / REGISTRY)
    metadata = {}
    if rng.random() < 0.5:
        metadata = {"registry": tree_text(rng, mutated_tree(rng, described)).decode(errors="replace")}
    else:
        tensors, metadata = mutated_tensors(rng, tensors), {"registry": json.dumps(described)}
    (folder / REGISTRY).write_bytes(safetensors_bytes(rng, tensors, metadata)[1])


def check_registry(result, _):
    names = [source.name for source in result.sources]
    margins = result.margins(TRAIN.features)
    assert margins.shape == (12, len(names)) and np.isfinite(margins).all()
    assert set(result.recognise(margins, ["other"] * 12)) <= {"other", *names}


TENSOR_KINDS |= {
    "calibration": Kind(calibration, use_calibration, check_calibration),
    "registry": Kind(registry, lambda folder: read_registry(folder / REGISTRY, folder, TRAIN), check_registry),
}
