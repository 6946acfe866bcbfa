"""XLS-R: the hidden states of the released systems, whatever the kind of file, and no code run from any of them.

Numbers were made with the released code and with fairseq 0.12.2 (tests/fixtures/xlsr).
"""

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from conftest import FIXTURES, ROOT, shared
from safetensors.torch import load_file, save_file

import models
from errors import InputError
from models.fairseq_checkpoint import conv_layers, transformers_name
from models.ssl import XlsrFrontEnd, configuration
from models.w2v_aasist import W2vAasist

FOLDER = FIXTURES / "xlsr"
TINY = FOLDER / "tiny_xlsr"  # 8 layers
FAIRSEQ = ["tiny_xlsr_cfg_dict.pt", "tiny_xlsr_cfg_dictconfig.pt", "tiny_xlsr_args_namespace.pt"]  # 4 layers
OLD_NAMES = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
REMEDY = "give --SSL_path the folder of facebook/wav2vec2-xls-r-300m or fairseq's xlsr2_300m.pt"


def old_name(name):
    for new, old in OLD_NAMES.items():
        name = name.replace(new, old)
    return name


def pretraining(folder):
    """Write TINY as a pre-trained model was kept: one pickle, prefixed names, a quantizer, old weight norms."""
    folder.mkdir()
    shutil.copy(TINY / "config.json", folder)
    state = {f"wav2vec2.{old_name(name)}": value for name, value in load_file(TINY / "model.safetensors").items()}
    torch.save(state | {"quantizer.codevectors": torch.zeros(1, 40, 16)}, folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module", params=["safetensors", "pretraining", "published pretraining"])
def folder(request, tmp_path_factory):
    if request.param == "published pretraining":
        return shared("fixtures", "st_codecfake", "tiny_xlsr_pretraining")
    return TINY if request.param == "safetensors" else pretraining(tmp_path_factory.mktemp("hub") / "xlsr")


@pytest.fixture(scope="module")
def wave():
    return torch.load(FIXTURES / "st_codecfake/inputs_wave.pt", weights_only=True)["wave"]


@pytest.fixture(scope="module")
def expected():
    return torch.load(FOLDER / "tiny_xlsr_io.pt", weights_only=True)


def assert_hidden(found, expected):
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_hidden_states_of_the_released_front_end(folder, wave, expected):
    assert_hidden(XlsrFrontEnd(folder)(wave), expected["hidden5_each_alone"])
    batch = XlsrFrontEnd(folder, norm="batch")
    assert_hidden(batch(wave), expected["hidden5_batch3"])
    assert_hidden(batch(wave[:2]), expected["hidden5_batch_of_first2"])


@pytest.mark.parametrize("layer, name", [(0, "hidden0_batch3"), (8, "hidden8_batch3"), (None, "hidden8_batch3")])
def test_first_and_last_hidden_state_of_the_released_front_end(folder, wave, expected, layer, name):
    assert_hidden(XlsrFrontEnd(folder, layer, "batch")(wave)[:, ::20], expected[name])


@pytest.mark.parametrize("file", FAIRSEQ)
def test_outputs_of_fairseq(file):
    assert_outputs_of_fairseq(FOLDER / file)


def test_outputs_of_fairseq_from_a_file_with_optimizer_state():
    assert_outputs_of_fairseq(shared("fixtures", "codecfake_plus", "fairseq_tiny", "tiny_xlsr_fairseq0122.pt"))


def assert_outputs_of_fairseq(path):
    outputs = np.load(FOLDER / "tiny_xlsr_outputs.npz")
    front_end = XlsrFrontEnd(path, layer=None, norm="none")
    assert front_end.hidden_size == 64
    waves = {name: torch.from_numpy(outputs[f"wave_{name}"])[None] for name in ("a64600", "b82200", "c16000")}
    waves["batch2"] = torch.cat([waves["c16000"], waves["a64600"][:, :16000]])
    for name, wave in waves.items():
        due = torch.from_numpy(outputs[f"x_{name}"]).view(len(wave), -1, 64)
        assert (front_end(wave) - due).norm() < 1e-5 * due.norm(), name


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_hidden_states_of_fairseq_before_the_final_norm(layer):
    outputs = np.load(FOLDER / "tiny_xlsr_outputs.npz")
    front_end = XlsrFrontEnd(FOLDER / FAIRSEQ[0], layer, "none")
    if layer == 4:
        front_end.model.encoder.layer_norm = torch.nn.Identity()
    hidden = front_end(torch.from_numpy(outputs["wave_c16000"])[None])[0]
    due = torch.from_numpy(outputs[f"c16000_layer{layer - 1}"])
    assert (hidden - due).norm() < 1e-5 * due.norm()


def test_truncation_changes_no_bit(wave):
    from transformers import Wav2Vec2Model

    full = Wav2Vec2Model.from_pretrained(TINY, attn_implementation="sdpa").eval()
    with torch.no_grad():
        output = full(wave, output_hidden_states=True)
    hidden = [*output.hidden_states[:8], output.last_hidden_state]  # transformers 5 lists the last one without its norm
    for layer in range(9):
        front_end = XlsrFrontEnd(TINY, layer, norm="none")
        assert len(front_end.model.encoder.layers) == layer
        assert front_end.model.config._attn_implementation == "sdpa"
        assert torch.equal(front_end(wave), hidden[layer]), layer


def test_an_utterance_does_not_depend_on_its_neighbours(wave):
    front_end = XlsrFrontEnd(TINY)
    torch.testing.assert_close(front_end(wave)[1:2], front_end(wave[1:2]), atol=1e-4, rtol=0)
    louder = front_end(wave * 3 + 0.1)
    torch.testing.assert_close(louder, front_end(wave), atol=5e-3, rtol=0)  # 1e-7 beside a variance of 1e-4


def test_frozen_takes_no_gradient_and_stays_in_eval_mode(wave):
    front_end = XlsrFrontEnd(TINY, dropout=0.5, layerdrop=0.5)
    before = front_end(wave)
    assert front_end.train() is front_end
    assert front_end.training
    assert not any(part.training for part in front_end.model.modules())
    assert torch.equal(front_end(wave), before)
    assert not before.requires_grad
    assert not any(weight.requires_grad for weight in front_end.parameters())


def test_every_parameter_learns_when_not_frozen(wave):
    front_end = XlsrFrontEnd(TINY, layer=None, norm="none", frozen=False)
    assert all(part.training for part in front_end.modules())
    hidden = front_end(wave)
    hidden.square().mean().backward()
    assert [name for name, weight in front_end.named_parameters() if not weight.grad.any()] == []
    torch.testing.assert_close(front_end.eval()(wave), hidden)  # neither dropout nor SpecAugment
    assert not any(part.training for part in front_end.modules())


@pytest.mark.parametrize("options", [{"dropout": 0.1}, {"layerdrop": 0.9}])
def test_dropout_and_layerdrop_are_a_choice(wave, options):
    front_end = XlsrFrontEnd(TINY, frozen=False, **options)
    torch.manual_seed(0)
    assert not torch.allclose(front_end(wave), front_end.eval()(wave), atol=0.1)


def test_hidden_states_are_float32_in_mixed_precision(wave):
    front_end = XlsrFrontEnd(TINY)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = front_end(wave)
    assert hidden.dtype == torch.float32
    assert 1e-4 < (hidden - front_end(wave)).abs().max() < 1  # of 22


def test_half_precision_weights_are_computed_with_in_float32(tmp_path, wave):
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    state = {name: value.half() for name, value in load_file(TINY / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors")
    front_end = XlsrFrontEnd(tmp_path)
    assert {weight.dtype for weight in front_end.parameters()} == {torch.float32}
    torch.testing.assert_close(front_end(wave), XlsrFrontEnd(TINY)(wave), atol=0.2, rtol=0)


def test_tiny_random_is_the_same_whatever_was_drawn_before(wave):
    torch.manual_seed(1)
    first = XlsrFrontEnd("tiny-random")
    after = torch.rand(3)
    torch.manual_seed(2)
    second = XlsrFrontEnd("tiny-random", layer=6)
    hidden = first(wave)
    assert hidden.shape == (3, 201, first.hidden_size)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)
    assert hidden.isfinite().all()
    assert hidden[0].std(0).min() > 0.01  # it tells frames apart


def test_reading_weights_draws_no_random_number():
    torch.manual_seed(1)
    due = torch.rand(3)
    torch.manual_seed(1)
    XlsrFrontEnd(TINY)
    assert torch.equal(torch.rand(3), due)


def test_a_file_that_changes_later_does_not_change_the_model(tmp_path, wave):
    path = tmp_path / "xlsr.pt"
    shutil.copy(FOLDER / FAIRSEQ[0], path)
    front_end = XlsrFrontEnd(path, layer=4)
    before = front_end(wave)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(front_end(wave), before)


def test_every_name_of_the_full_size_model_has_its_place():
    from transformers import Wav2Vec2Model

    shapes = json.loads((FOLDER / "xlsr2_300m_keys.json").read_text())
    assert len(shapes) == 429
    structure = json.loads((TINY / "config.json").read_text())
    structure = {name: structure[name] for name in ("conv_kernel", "conv_stride", "conv_bias")}
    structure |= {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "conv_dim": [512] * 7}
    with torch.device("meta"):
        model = Wav2Vec2Model(configuration(structure, 24))
    pretraining_only = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
    used = {transformers_name(name): shape for name, shape in shapes.items() if not name.startswith(pretraining_only)}
    assert used == {name: list(value.shape) for name, value in model.state_dict().items()}
    assert len(used) == 421
    assert transformers_name("mask_emb") == "masked_spec_embed"


@pytest.mark.slow
def test_nothing_is_printed(tmp_path):
    code = "import sys; from models.ssl import XlsrFrontEnd; [XlsrFrontEnd(path) for path in sys.argv[1:]]"
    paths = [str(TINY), str(pretraining(tmp_path / "hub")), "tiny-random"]
    done = subprocess.run([sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Files that hold code


class Call:
    """Pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class State:
    """Pickled as an object of `state`, a value of any kind."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return Namespace, (), self.state


def fairseq_file(path, **changes):
    """Write a checkpoint like that of the fixture, with other entries, to `path`."""
    checkpoint = torch.load(FOLDER / FAIRSEQ[0], weights_only=True)
    torch.save(checkpoint | changes, path)
    return path


@pytest.mark.parametrize("entry", ["cfg", "extra_state", "criterion"])
@pytest.mark.parametrize("function", [exec, eval])
def test_foreign_code_in_a_checkpoint_never_runs(tmp_path, entry, function):
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w')" if function is exec else f"__import__('os').mkdir({str(canary)!r})"
    cfg = torch.load(FOLDER / FAIRSEQ[0], weights_only=True)["cfg"]
    value = {"model": cfg["model"], "x": Call(function, code)} if entry == "cfg" else [Call(function, code)]
    path = fairseq_file(tmp_path / "xlsr.pt", **{entry: value})
    XlsrFrontEnd(path, layer=4)
    assert not canary.exists()
    torch.load(path, weights_only=False)  # the canary is alive
    assert canary.exists()


def test_foreign_modules_are_not_imported(tmp_path, monkeypatch):
    module = tmp_path / "canary_module.py"
    module.write_text("class Thing:\n    def __setstate__(self, state):\n        raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    import canary_module

    thing = canary_module.Thing()
    thing.content = 1
    path = fairseq_file(tmp_path / "xlsr.pt", extra_state=thing)
    del sys.modules["canary_module"]
    XlsrFrontEnd(path, layer=4)
    assert "canary_module" not in sys.modules


def test_system_calls_in_a_checkpoint_are_refused(tmp_path):
    canary = tmp_path / "canary"
    path = fairseq_file(tmp_path / "xlsr.pt", extra_state=Call(os.system, f"touch {canary}"))
    with pytest.raises(InputError, match=rf"^{path} is a pickle that needs the code of posix.system to open, which is"):
        XlsrFrontEnd(path)
    assert not canary.exists()


def test_a_pickle_in_a_hugging_face_folder_is_refused(tmp_path):
    canary = tmp_path / "canary"
    shutil.copy(TINY / "config.json", tmp_path)
    torch.save({"x": Call(exec, f"open({str(canary)!r}, 'w')")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="is a pickle that needs the code of exec to open, which is refused"):
        XlsrFrontEnd(tmp_path)
    assert not canary.exists()


def test_objects_of_any_state_are_read_over(tmp_path):
    counts = defaultdict(dict, a=1)
    odd = [State((1, "<", None)), State("text"), State(None), np.float64(0.5), np.dtype("float32"), counts]
    XlsrFrontEnd(fairseq_file(tmp_path / "xlsr.pt", extra_state=odd), layer=4)


# Bad input


def message(*arguments, **options):
    with pytest.raises(InputError) as caught:
        XlsrFrontEnd(*arguments, **options)
    return str(caught.value)


def changed_folder(folder, config=None, state=None):
    """A copy of TINY in `folder` with other configuration entries and tensors; those that are None are left out."""
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    for path, changes, load, save in (
        (folder / "config.json", config, lambda p: json.loads(p.read_text()), lambda d, p: p.write_text(json.dumps(d))),
        (folder / "model.safetensors", state, load_file, save_file),
    ):
        if changes:
            values = load(path) | changes
            path.unlink()
            save({name: value for name, value in values.items() if value is not None}, path)
    return folder


def changed_options(path, **changes):
    """A fairseq checkpoint at `path` with other options; those that are None are left out."""
    model = torch.load(FOLDER / FAIRSEQ[0], weights_only=True)["cfg"]["model"] | changes
    return fairseq_file(path, cfg={"model": {name: value for name, value in model.items() if value is not None}})


def test_a_path_that_is_not_there(tmp_path):
    assert message("nowhere.pt") == f"nowhere.pt does not exist: {REMEDY}"
    assert message("models/xlsr2_300m.pt") == f"models/xlsr2_300m.pt does not exist: {REMEDY}"
    assert message(tmp_path / "none") == f"{tmp_path / 'none'} does not exist: {REMEDY}"


def test_a_hub_name_without_network():
    assert message("nobody/no-such-model") == (
        "nobody/no-such-model is no file or folder here, and the Hugging Face hub does not give a model of that name"
        f" (LocalEntryNotFoundError): download its folder elsewhere and {REMEDY}"
    )


def test_a_hub_name_in_the_cache(monkeypatch, wave):
    import transformers.utils

    asked = []

    def cached_file(name, file, local_files_only=False):
        asked.append((name, file, local_files_only))
        return str(TINY / file)

    monkeypatch.setattr(transformers.utils, "cached_file", cached_file)
    assert torch.equal(XlsrFrontEnd("facebook/wav2vec2-xls-r-300m")(wave), XlsrFrontEnd(TINY)(wave))
    assert asked == [("facebook/wav2vec2-xls-r-300m", "config.json", True)]  # the network is left alone


def test_a_folder_that_is_no_model(tmp_path):
    assert message(tmp_path) == f"{tmp_path} holds no config.json, so it is no Hugging Face model: {REMEDY}"
    (tmp_path / "config.json").write_text("{")
    assert message(tmp_path).startswith(f"{tmp_path}/config.json cannot be read as JSON (Expecting property name")
    (tmp_path / "config.json").write_text("[]")
    form = "only wav2vec 2.0 models in the form of XLS-R will do"
    assert message(tmp_path) == f"{tmp_path}/config.json says model_type None, expected 'wav2vec2': {form}"
    shutil.copy(TINY / "config.json", tmp_path)
    due = f"{tmp_path} holds neither model.safetensors nor pytorch_model.bin: download the whole folder"
    assert message(tmp_path) == due


@pytest.mark.parametrize(
    "changes, due",
    [
        ({"model_type": "hubert"}, "says model_type 'hubert', expected 'wav2vec2': {form}"),
        ({"do_stable_layer_norm": False}, "says do_stable_layer_norm False, expected True: {form}"),
        ({"feat_extract_norm": "group"}, "says feat_extract_norm 'group', expected 'layer': {form}"),
        ({"add_adapter": True}, "says add_adapter True, expected False: {form}"),
        ({"conv_dim": None}, "lacks conv_dim in its configuration: take the original file"),
    ],
)
def test_a_configuration_of_another_form(tmp_path, changes, due):
    form = "only wav2vec 2.0 models in the form of XLS-R will do"
    changed_folder(tmp_path, changes)
    assert message(tmp_path) == f"{tmp_path}/config.json {due.format(form=form)}"


@pytest.mark.parametrize("changes", [{"num_attention_heads": 7}, {"hidden_size": "x"}, {"conv_dim": [32]}])
def test_a_configuration_that_contradicts_itself(tmp_path, changes):
    text = message(changed_folder(tmp_path, changes))
    assert text.startswith(f"{tmp_path} describes no model that can be built: ")
    assert "\n" not in text


def test_weights_that_do_not_fit(tmp_path):
    name = "encoder.layers.1.attention.k_proj.weight"
    changed_folder(tmp_path, state={name: None})
    assert message(tmp_path) == f"{tmp_path} lacks 1 tensors of XLS-R (first {name}): {REMEDY}"
    changed_folder(tmp_path, state={name: torch.zeros(64, 3)})
    due = f"{tmp_path}: {name} is [64, 3], but its configuration says [64, 64]: take the original file"
    assert message(tmp_path) == due
    changed_folder(tmp_path, state={name: torch.full((64, 64), torch.nan)})
    assert message(tmp_path) == f"{tmp_path} holds values that are NaN or infinite, in {name}: download it again"


def test_damage_in_a_layer_that_is_not_used_does_no_harm(tmp_path, wave):
    changed_folder(tmp_path, state={"encoder.layers.5.attention.k_proj.weight": torch.full((64, 64), torch.nan)})
    assert torch.equal(XlsrFrontEnd(tmp_path)(wave), XlsrFrontEnd(TINY)(wave))


def test_torn_files(tmp_path):
    changed_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    text = message(tmp_path)
    assert text.startswith(f"{path} is damaged or no safetensors file (")
    assert text.endswith("): download it again")
    path = tmp_path / "xlsr.pt"
    whole = (FOLDER / FAIRSEQ[1]).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        assert message(path) == f"{path} is damaged or not a checkpoint, a torch file of tensors alone"


def test_a_layer_beyond_the_model():
    assert message(TINY, 9) == f"{TINY} has 8 layers: pass --ssl_layer 0 to 8 instead of 9"


@pytest.mark.parametrize(
    "content, found",
    [([1], "no dict"), (OrderedDict(a=torch.zeros(1)), "a"), ({"model": {}, "epoch": 3}, "model, epoch")],
)
def test_a_torch_file_that_is_no_fairseq_checkpoint(tmp_path, content, found):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    assert message(path) == (
        f"{path} is no fairseq checkpoint: found {found}, expected `model` and `cfg` or `args`;"
        " of a Hugging Face model give the whole folder"
    )


@pytest.mark.parametrize(
    "changes, due",
    [
        ({"extractor_mode": "default"}, "says extractor_mode 'default', expected 'layer_norm': {form}"),
        ({"layer_norm_first": None}, "says layer_norm_first None, expected True: {form}"),
        ({"layer_type": "conformer"}, "says layer_type 'conformer', expected 'transformer': {form}"),
        ({"conv_pos": None}, "lacks conv_pos in its configuration: take the original file"),
        (
            {"conv_feature_layers": "__import__('os').getcwd()"},
            """has conv_feature_layers "__import__('os').getcwd()", expected a form like"""
            " [(512, 10, 5)] + [(512, 3, 2)] * 4",
        ),
    ],
)
def test_fairseq_options_of_another_form(tmp_path, changes, due):
    form = "only wav2vec 2.0 models in the form of XLS-R will do"
    path = changed_options(tmp_path / "xlsr.pt", **changes)
    assert message(path) == f"{path} {due.format(form=form)}"


def test_options_younger_than_a_file_may_be_absent(tmp_path):
    path = changed_options(
        tmp_path / "xlsr.pt", layer_type=None, attn_type=None, pos_enc_type=None, pos_conv_depth=None
    )
    assert XlsrFrontEnd(path, layer=4).hidden_size == 64


def test_notation_of_convolutions():
    xlsr = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
    assert conv_layers(xlsr) == [(512, 10, 5), *[(512, 3, 2)] * 4, (512, 2, 2), (512, 2, 2)]
    for text in ("", "5", "[(1, 2)]", "[(1, 2, 3)] * 1000000000000", "[(1, 2, 3)] * -1", "x", "[1]", "[(1, 2, 3)] * x"):
        with pytest.raises((ValueError, SyntaxError)):
            conv_layers(text)


# Trained models that hold their front end, all layers of it


@pytest.mark.parametrize("name", [str, old_name])
def test_a_published_model_with_all_layers(tmp_path, wave, expected, name):
    torch.manual_seed(0)
    whole = W2vAasist(XlsrFrontEnd("tiny-random", layer=0), 7).state_dict()
    back_end = {key: value for key, value in whole.items() if key.startswith("w2vaasist.")}
    front_end = {f"wav2vec2.model.{key}": value for key, value in load_file(TINY / "model.safetensors").items()}
    path = tmp_path / models.CHECKPOINT
    torch.save({name(key): value for key, value in (front_end | back_end).items()}, path)

    other = changed_folder(tmp_path / "other", state={"feature_projection.projection.bias": torch.ones(64)})
    model = W2vAasist(XlsrFrontEnd(other), 7).eval()
    ignored = models.load_weights(model, models.read_checkpoint(path), path)
    unused = ("masked_spec_embed", "encoder.layer_norm", "encoder.layers.5", "encoder.layers.6", "encoder.layers.7")
    assert set(ignored) == {f"wav2vec2.model.{layer}" for layer in unused}
    assert_hidden(model.wav2vec2(wave), expected["hidden5_each_alone"])


def test_older_names_of_weight_norm_load_without_our_help():
    front_end = XlsrFrontEnd(TINY)
    due = {name: value.clone() for name, value in front_end.state_dict().items()}
    for value in front_end.parameters():
        value.zero_()
    front_end.load_state_dict({old_name(name): value for name, value in due.items()})
    assert all(torch.equal(value, due[name]) for name, value in front_end.state_dict().items())
