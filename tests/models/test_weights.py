"""Checkpoints: ours and released ones load whole, whatever their names; bad ones are refused with the reason."""

import json
import os
from dataclasses import replace

import pytest
import torch
from helpers import FIXTURES
from torch import nn

from config import Config
from data.audio import SAMPLES
from models import MODELS
from models.building import adopt_run_settings, build_model, build_network, load_model
from models.weights import (
    checkpoint_in,
    frozen_parts,
    load_weights,
    read_checkpoint,
    read_safetensors,
    trained_state,
)
from utils.errors import InputError, MissingInput
from utils.files import save_safetensors, save_tensors
from utils.model_files import CHECKPOINT

FOLDER = FIXTURES / "st_codecfake"
TINY = Config(SSL_path="tiny-random", model="W2VAASIST")
UNUSED_NORMS = [f"encoder.{block}.0.bn1" for block in range(1, 6)]


def released(name):
    return torch.load(FOLDER / f"{name}_state.pt", weights_only=True)


def some_weights(name):
    """Weights of --model `name`: released ones where there are some, else fresh ones."""
    is_released = (FOLDER / f"{name.lower()}_state.pt").is_file()
    return released(name.lower()) if is_released else build_network(name, 7).state_dict()


def write(folder, state, **run):
    """Write a run's checkpoint and, where `run` gives options, its args.json; gives the checkpoint's path."""
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / CHECKPOINT)
    if run:
        (folder / "args.json").write_text(json.dumps({"config": json.loads(replace(TINY, **run).json_text())}))
    return folder / CHECKPOINT


def refusal(folder, config):
    with pytest.raises(InputError) as caught:
        load_model(folder, config)
    return str(caught.value)


def assert_holds(model, state):
    own = model.state_dict()
    assert own.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(own[name], value), name


@pytest.mark.parametrize("name", MODELS)
def test_a_model_saved_and_loaded_gives_the_same_scores(name, tmp_path):
    torch.manual_seed(0)
    config = replace(TINY, model=name, num_classes=4)
    model = build_model(config).eval()
    write(tmp_path, trained_state(model), model=name, num_classes=4)
    loaded = load_model(tmp_path, Config())  # the run decides, not the flags
    assert not any(part.training for part in loaded.modules())
    wave = torch.randn(1, SAMPLES if name == "mellcnn" else 8000)  # only mel-LCNN has a fixed length
    with torch.inference_mode():
        for one, other in zip(model(wave), loaded(wave), strict=True):
            assert torch.equal(one, other)


def test_checkpoints_hold_what_was_trained():
    model = build_model(TINY)
    state = trained_state(model)
    assert list(frozen_parts(model)) == ["wav2vec2"]
    assert state.keys() == {f"w2vaasist.{name}" for name in model.w2vaasist.state_dict()}
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} <= state.keys()
    network = build_model(replace(TINY, model="mellcnn"))
    assert trained_state(network).keys() == network.state_dict().keys()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_weights_load_without_the_layers_that_have_no_effect(prefix, tmp_path, capsys):
    state = released("rawaasist")
    path = write(tmp_path, {prefix + name: value for name, value in state.items()})
    model = load_model(tmp_path, replace(Config(), model="Rawaasist"))
    assert_holds(model, {name: value for name, value in state.items() if ".bn1." not in name})
    assert capsys.readouterr().out == f"{path}: ignored layers without effect: {', '.join(UNUSED_NORMS)}\n"


@pytest.mark.parametrize("prefix", ["", "module.", "w2vaasist.", "module.w2vaasist."])
def test_a_bare_back_end_loads_into_the_whole_model(prefix, tmp_path, monkeypatch, capsys):
    front_end = nn.Linear(1, 1).requires_grad_(False)
    front_end.hidden_size = 1024
    monkeypatch.setattr("models.building.configured_front_end", lambda config: front_end)
    state = released("w2vaasist")
    write(tmp_path, {prefix + name: value for name, value in state.items()})
    model = load_model(tmp_path, TINY)
    assert_holds(model.w2vaasist, {name: value for name, value in state.items() if ".bn1." not in name})
    assert capsys.readouterr().out.count(".bn1") == 5


def test_a_whole_model_with_every_layer_of_its_front_end_loads(tmp_path, capsys):
    """As released: all layers of XLS-R, its last norm, its mask, and the older names of weight normalisation."""
    torch.manual_seed(0)
    whole = build_model(replace(TINY, ssl_layer=6)).state_dict()
    convolution = "wav2vec2.model.encoder.pos_conv_embed.conv."
    whole[f"{convolution}weight_g"] = 2 * whole.pop(f"{convolution}parametrizations.weight.original0")
    whole[f"{convolution}weight_v"] = whole.pop(f"{convolution}parametrizations.weight.original1")
    path = write(tmp_path, whole | {"wav2vec2.model.masked_spec_embed": torch.zeros(64)})
    model = load_model(tmp_path, TINY)
    assert len(model.wav2vec2.model.encoder.layers) == 5
    assert torch.equal(  # the front end of the file, not the one that --SSL_path names
        model.state_dict()[f"{convolution}parametrizations.weight.original0"], whole[f"{convolution}weight_g"]
    )
    ignored = ("encoder.layer_norm", "encoder.layers.5", "masked_spec_embed")
    printed = capsys.readouterr().out.removeprefix(f"{path}: ignored layers without effect: ").strip()
    assert sorted(printed.split(", ")) == [f"wav2vec2.model.{layer}" for layer in ignored]


def test_mel_buffers_may_be_missing(tmp_path):
    state = released("mellcnn")
    write(tmp_path, {name: value for name, value in state.items() if not name.startswith("mel.")})
    model = load_model(tmp_path, replace(Config(), model="mellcnn"))
    own = model.state_dict()
    assert own.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(own[name], value, atol=1e-6, rtol=0)


def test_the_front_end_is_the_runs_unless_it_has_gone(tmp_path):
    here, gone = tmp_path / "xlsr", tmp_path / "moved"
    here.mkdir()
    folder = tmp_path / "run"
    for run, flag, expected in (
        (here, "tiny-random", here),
        ("tiny-random", "facebook/wav2vec2-xls-r-300m", "tiny-random"),
        (gone, here, here),
        (gone, "facebook/wav2vec2-xls-r-300m", gone),
    ):
        write(folder, {}, SSL_path=str(run), ssl_layer=3, ssl_norm="batch", num_classes=5)
        config = adopt_run_settings(folder, replace(Config(), SSL_path=str(flag)))
        assert config.SSL_path == str(expected)
        assert (config.ssl_layer, config.ssl_norm, config.num_classes) == (3, "batch", 5)


def test_args_of_the_released_code_leave_the_choice_to_the_flags(tmp_path):
    (tmp_path / "args.json").write_text('{"model":"W2VAASIST"\n"seed":688}')  # separators=("\n", ":")
    assert adopt_run_settings(tmp_path, Config()) == Config()


def test_missing(tmp_path):
    path = tmp_path / CHECKPOINT
    with pytest.raises(MissingInput):
        load_model(tmp_path, Config())
    assert refusal(tmp_path, Config()) == f"{path} does not exist: train a model first, or set the flag of its folder"


def test_code_in_a_pickle_is_refused_and_never_run(tmp_path):
    canary = tmp_path / "canary"

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    for state in (Attack(), {"encoder.0.0.conv1.weight": Attack()}):
        for zipped in (True, False):
            path = tmp_path / CHECKPOINT
            torch.save(state, path, _use_new_zipfile_serialization=zipped)
            assert refusal(tmp_path, Config()) == (
                f"{path} is a pickle that needs the code of {os.mkdir.__module__}.mkdir to open, which is refused: have"
                " it saved again as a state dict, torch.save(model.state_dict(), FILE)"
            )
            assert not canary.exists()
    torch.load(path, weights_only=False)  # the trap works
    assert canary.exists()


def test_a_whole_module_is_refused(tmp_path):
    path = write(tmp_path, nn.Linear(2, 2))
    assert refusal(tmp_path, Config()).startswith(
        f"{path} is a pickle that needs the code of torch.nn.modules.linear.Linear to open, which is refused"
    )


def test_damaged(tmp_path):
    path = write(tmp_path, released("rawaasist"))
    whole = path.read_bytes()
    for content in (b"", b"<html>not found</html>", whole[: len(whole) // 2], bytes(range(256))):
        path.write_bytes(content)
        assert refusal(tmp_path, Config()) == f"{path} is damaged or not a checkpoint, a torch file of only tensors"


@pytest.mark.parametrize(
    "content", [[torch.zeros(1)], {}, {"state": {"a": torch.zeros(1)}}, torch.zeros(3), {1: torch.zeros(1)}]
)
def test_no_state_dict(content, tmp_path):
    path = write(tmp_path, content)
    assert refusal(tmp_path, Config()) == f"{path} is not a state dict, a torch file of {{name: tensor}}"


@pytest.mark.parametrize("held", MODELS)
@pytest.mark.parametrize("asked", MODELS)
def test_weights_of_another_model_name_the_one_that_they_fit(held, asked, tmp_path):
    path = write(tmp_path, some_weights(held))
    if held != asked:
        message = f"{path} holds the weights of --model {held}, not of {asked}: pass --model {held}"
        # A front end that does not exist: the answer comes before it is looked for.
        assert refusal(tmp_path, replace(Config(), model=asked, SSL_path="absent")) == message


def test_weights_of_no_model_of_ours(tmp_path):
    state = released("mellcnn")
    del state["conv1.0.bias"], state["fc_mu.bias"]
    path = write(tmp_path, state | {"head.weight": torch.zeros(1)})
    assert refusal(tmp_path, replace(Config(), model="mellcnn")) == (
        f"{path} holds the weights of another model: it lacks 2 tensors (first conv1.0.bias)"
        " and also holds 1 tensor (first head.weight)"
    )


def test_a_front_end_with_a_layer_missing(tmp_path):
    state = build_model(TINY).state_dict()
    layer = "wav2vec2.model.encoder.layers.2."
    names = [name for name in state if name.startswith(layer)]
    path = write(tmp_path, {name: value for name, value in state.items() if name not in names})
    assert refusal(tmp_path, TINY) == (
        f"{path} holds the weights of another model: it lacks {len(names)} tensors (first {min(names)})"
    )


def test_another_shape(tmp_path):
    path = write(tmp_path, released("rawaasist") | {"pos_S": torch.zeros(1, 42, 64)})
    assert refusal(tmp_path, replace(Config(), model="Rawaasist")) == (
        f"{path} holds the weights of another model: pos_S is [1, 42, 64], expected [1, 23, 64]"
    )


@pytest.mark.parametrize("name, head", [("Rawaasist", "out_layer"), ("mellcnn", "fc_mu")])
def test_another_number_of_classes(name, head, tmp_path):
    state = released(name.lower())
    state |= {f"{head}.weight": state[f"{head}.weight"][:2], f"{head}.bias": state[f"{head}.bias"][:2]}
    path = write(tmp_path, state)
    config = replace(Config(), model=name, num_classes=7)
    assert refusal(tmp_path, config) == f"{path} knows 2 classes, expected 7: pass --num_classes 2"
    for right in (2, None):  # None: as many as the checkpoint has
        assert load_model(tmp_path, replace(config, num_classes=right)).head.out_features == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value, tmp_path):
    state = released("mellcnn")
    state["fc_mu.weight"][3, 5] = value
    path = write(tmp_path, state)
    assert refusal(tmp_path, replace(Config(), model="mellcnn")) == (
        f"{path} holds values that are NaN or infinite, in fc_mu.weight: its training diverged"
    )


@pytest.mark.parametrize("name", ["mel.spectrogram.window", "mel.mel_scale.fb"])
def test_a_constant_that_the_model_would_not_compute(name, tmp_path):
    state = released("mellcnn")
    path = write(tmp_path, state | {name: state[name] / 2})
    assert refusal(tmp_path, replace(Config(), model="mellcnn")) == (
        f"{path} holds other values of {name} than this model computes: copy it again, or train again"
    )


def test_a_refused_checkpoint_leaves_the_model_as_it_was():
    model = build_model(replace(Config(), model="mellcnn"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = released("mellcnn")
    state["fc_mu.bias"][0] = float("nan")
    with pytest.raises(InputError):
        load_weights(model, state, "file")
    assert_holds(model, before)


def test_a_run_of_the_other_system(tmp_path):
    write(tmp_path, released("rawaasist"), model="M1")
    assert refusal(tmp_path, Config()) == (
        f"{tmp_path / 'args.json'} is of a run of --model M1, expected one of {', '.join(MODELS)}"
    )


def test_shared_weights_are_safetensors(tmp_path):
    save_safetensors(tmp_path / "model.safetensors", {"a": torch.arange(3.0)})
    assert checkpoint_in(tmp_path) == tmp_path / "model.safetensors"
    assert read_checkpoint(checkpoint_in(tmp_path))["a"].tolist() == [0, 1, 2]
    (tmp_path / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"model.safetensors is damaged or not a safetensors file"):
        read_checkpoint(checkpoint_in(tmp_path))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_one_changed_bit_of_a_weight_is_refused(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    save = save_tensors if suffix == ".pt" else save_safetensors
    save(path, {"weight": torch.full((16,), 0.25)})
    whole = path.read_bytes()
    place = whole.index(torch.full((16,), 0.25).numpy().tobytes()) + 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(InputError, match=rf"model\{suffix} is damaged"):
        read_checkpoint(path)


def test_the_same_tensors_and_metadata_give_the_same_bytes(tmp_path):
    path = tmp_path / "a.safetensors"
    contents = set()
    for _ in range(20):  # the library puts metadata in any order
        save_safetensors(path, {"b": torch.ones(3), "a": torch.zeros(2)}, {"one": "1", "two": "é", "three": ""})
        contents.add(path.read_bytes())
    assert len(contents) == 1 and read_safetensors(path)[1]["two"] == "é"
