"""XLS-R's files: every kind is read, no code in them runs, and what cannot be used is refused with the reason."""

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
from helpers import ROOT, run_script
from helpers.fake_hub import fake_hub, hub_environment
from helpers.xlsr_files import FAIRSEQ, FOLDER, TINY, changed_folder, changed_options, fairseq_file, pretraining

from models.fairseq_checkpoint import conv_layers, transformers_name
from models.hugging_face import SSL_REMEDY as REMEDY
from models.xlsr import XLSR_FORM, XlsrFrontEnd
from utils.errors import InputError

FORM = "only wav2vec 2.0 models in the form of XLS-R can be used"
ADAPTER = "but only models without an adapter after their last layer can be used: give --SSL_path the pre-trained model"


@pytest.fixture
def wave():
    return torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))


def test_every_name_of_the_full_size_model_has_its_place():
    from transformers import Wav2Vec2Model

    shapes = json.loads((FOLDER / "xlsr2_300m_keys.json").read_text())
    assert len(shapes) == 429
    structure = json.loads((TINY / "config.json").read_text())
    structure = {name: structure[name] for name in ("conv_kernel", "conv_stride", "conv_bias")}
    structure |= {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "conv_dim": [512] * 7}
    with torch.device("meta"):
        model = Wav2Vec2Model(XlsrFrontEnd.configuration(XlsrFrontEnd.complete_structure(structure | XLSR_FORM), 24))
    pretraining_only = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
    used = {transformers_name(name): shape for name, shape in shapes.items() if not name.startswith(pretraining_only)}
    assert used == {name: list(value.shape) for name, value in model.state_dict().items()}
    assert len(used) == 421
    assert transformers_name("mask_emb") == "masked_spec_embed"


def test_a_file_that_changes_later_does_not_change_the_model(tmp_path, wave):
    path = tmp_path / "xlsr.pt"
    shutil.copy(FOLDER / FAIRSEQ[0], path)
    front_end = XlsrFrontEnd(path, layer=4)
    before = front_end(wave)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(front_end(wave), before)


@pytest.mark.slow
def test_nothing_is_printed(tmp_path):
    code = "import sys; from models.xlsr import XlsrFrontEnd; [XlsrFrontEnd(path) for path in sys.argv[1:]]"
    paths = [str(TINY), str(pretraining(tmp_path / "hub")), "tiny-random"]
    done = subprocess.run([sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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


def message(*arguments, **options):
    with pytest.raises(InputError) as caught:
        XlsrFrontEnd(*arguments, **options)
    return str(caught.value)


def test_a_path_that_is_not_there(tmp_path):
    assert message("nowhere.pt") == f"nowhere.pt does not exist: {REMEDY}"
    assert message("models/xlsr2_300m.pt") == f"models/xlsr2_300m.pt does not exist: {REMEDY}"
    assert message(tmp_path / "none") == f"{tmp_path / 'none'} does not exist: {REMEDY}"


def test_a_hub_name_without_network():
    assert message("nobody/no-such-model") == (
        "nobody/no-such-model is no file or folder here, and the Hugging Face hub does not give a model of that name"
        f": HF_HUB_OFFLINE is set, and its cache does not hold the model. Download its folder elsewhere and {REMEDY}"
    )


def test_a_hub_name_in_the_cache(monkeypatch, wave):
    import huggingface_hub

    asked = []

    def hf_hub_download(name, file, local_files_only=False, **_):
        asked.append((name, file, local_files_only))
        return str(TINY / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    name = "facebook/wav2vec2-xls-r-300m"
    assert torch.equal(XlsrFrontEnd(name)(wave), XlsrFrontEnd(TINY)(wave))
    assert asked == [(name, file, True) for file in ("config.json", "preprocessor_config.json")]  # without the network


def test_a_revision_of_the_hub_is_fetched_and_then_comes_from_the_cache(tmp_path):
    code = "from models.xlsr import XlsrFrontEnd as X; print(X('someone/tiny@v1').hidden_size)"
    with fake_hub() as server:
        files = {path.name: path.read_bytes() for path in TINY.iterdir() if path.name != "preprocessor_config.json"}
        server.models["someone/tiny"] = {"v1": files, "main": {}}
        done = run_script("-c", code, env=hub_environment(server, tmp_path))
        assert done.stdout == "64\n", done.stderr
    environment = hub_environment(server, tmp_path)
    assert run_script("-c", code, env=environment).stdout == "64\n"  # the hub is gone
    done = run_script("-c", code.replace("@v1", "@v2"), env=environment)
    assert "the Hugging Face hub does not give a model of that name: it cannot be reached, and its cache" in done.stderr
    assert "Retrying" not in done.stderr


def test_a_folder_that_is_no_model(tmp_path):
    assert message(tmp_path) == f"{tmp_path} holds no config.json, so it is no Hugging Face model: {REMEDY}"
    (tmp_path / "config.json").write_text("{")
    assert message(tmp_path).startswith(f"{tmp_path}/config.json cannot be read as JSON (Expecting property name")
    (tmp_path / "config.json").write_text("[]")
    assert message(tmp_path) == f"{tmp_path}/config.json says model_type None, expected 'wav2vec2'"
    shutil.copy(TINY / "config.json", tmp_path)
    due = f"{tmp_path} holds neither model.safetensors nor pytorch_model.bin: download the whole folder"
    assert message(tmp_path) == due


@pytest.mark.parametrize(
    "changes, due",
    [
        ({"model_type": "hubert"}, "says model_type 'hubert', expected 'wav2vec2'"),
        ({"add_adapter": True}, f"says add_adapter True, {ADAPTER}"),
        ({"conv_dim": None}, "lacks conv_dim in its configuration: take the original file"),
    ],
)
def test_a_configuration_of_another_form(tmp_path, changes, due):
    changed_folder(tmp_path, changes)
    assert message(tmp_path) == f"{tmp_path}/config.json {due}"


@pytest.mark.parametrize("changes", [{"num_attention_heads": 7}, {"hidden_size": "x"}, {"conv_dim": [32]}])
def test_a_configuration_that_contradicts_itself(tmp_path, changes):
    text = message(changed_folder(tmp_path, changes))
    assert text.startswith(f"{tmp_path} describes no model that can be built: ")
    assert "\n" not in text


def test_weights_that_do_not_fit(tmp_path):
    name = "encoder.layers.1.attention.k_proj.weight"
    changed_folder(tmp_path, state={name: None})
    assert (
        message(tmp_path)
        == f"{tmp_path} lacks 1 of the 115 tensors that are used of its wav2vec2 model (first {name}): {REMEDY}"
    )
    changed_folder(tmp_path, state={name: torch.zeros(64, 3)})
    due = f"{tmp_path}: {name} is [64, 3], but its configuration says [64, 64]: take the original file"
    assert message(tmp_path) == due
    changed_folder(tmp_path, state={name: torch.full((64, 64), torch.nan)})
    assert message(tmp_path) == f"{tmp_path} holds values that are NaN or infinite, in {name}: download it again"


def test_tensors_in_hand_that_do_not_fit():
    opened = XlsrFrontEnd.open(TINY)
    structure, state = opened.structure, opened.weights()
    state = {name: value for name, value in state.items() if not name.startswith("encoder.layers.3.")}
    XlsrFrontEnd((structure, state), layer=3)
    name = "encoder.layers.3.attention.k_proj.weight"
    used = "lacks 16 of the 99 tensors that are used of its wav2vec2 model"
    due = f"the wav2vec2 model in the checkpoint {used} (first {name}): {REMEDY}"
    assert message((structure, state), layer=4) == due


def test_damage_in_a_layer_that_is_not_used_does_no_harm(tmp_path, wave):
    changed_folder(tmp_path, state={"encoder.layers.5.attention.k_proj.weight": torch.full((64, 64), torch.nan)})
    assert torch.equal(XlsrFrontEnd(tmp_path)(wave), XlsrFrontEnd(TINY)(wave))


def test_torn_files(tmp_path):
    changed_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    text = message(tmp_path)
    assert text.startswith(f"{path} is damaged or not a safetensors file: ")
    path = tmp_path / "xlsr.pt"
    whole = (FOLDER / FAIRSEQ[1]).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        assert message(path) == f"{path} is damaged or not a checkpoint, a torch file of only tensors"


def test_a_layer_beyond_the_model():
    assert message(TINY, 9) == f"{TINY} has 8 layers: pass --ssl_layer 0 to 8 instead of 9"


@pytest.mark.parametrize(
    "content, entries",
    [([1], "no dict"), (OrderedDict(a=torch.zeros(1)), "a"), ({"model": {}, "epoch": 3}, "model, epoch")],
)
def test_a_torch_file_that_is_no_fairseq_checkpoint(tmp_path, content, entries):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    assert message(path) == (
        f"{path} is no fairseq checkpoint: it holds {entries}, expected `model` and `cfg` or `args`;"
        " of a Hugging Face model give the whole folder"
    )


@pytest.mark.parametrize(
    "changes, due",
    [
        ({"extractor_mode": "default"}, f"says extractor_mode 'default', expected 'layer_norm': {FORM}"),
        ({"layer_norm_first": None}, f"says layer_norm_first None, expected True: {FORM}"),
        ({"layer_type": "conformer"}, f"says layer_type 'conformer', expected 'transformer': {FORM}"),
        ({"conv_pos": None}, "lacks conv_pos in its configuration: take the original file"),
        (
            {"conv_feature_layers": "__import__('os').getcwd()"},
            """has conv_feature_layers "__import__('os').getcwd()", expected a form like"""
            " [(512, 10, 5)] + [(512, 3, 2)] * 4",
        ),
    ],
)
def test_fairseq_options_of_another_form(tmp_path, changes, due):
    path = changed_options(tmp_path / "xlsr.pt", **changes)
    assert message(path) == f"{path} {due}"


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
