"""share_model.py: a folder to give to others, its way to the hub and back, and models by name."""

import json
import re
import shutil
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from helpers import ROOT, run_script
from helpers.fake_hub import TOKEN, fake_hub, hub_environment
from safetensors.torch import load_file

import calibrate
import export_model
import share_model
from config import Config
from config_taxonomy import TaxonomyConfig
from models.taxonomy_building import load_taxonomy_model
from prediction import Tracer
from prediction.settings import TraceConfig
from reporting.run import read_training
from utils.errors import InputError
from utils.flags import configured
from utils.hub import name_of_model, names_hub_model
from utils.model_files import CHECKPOINT

SHIPPED = ROOT / "pretrained/real-codecs"


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.05 * np.random.default_rng(0).standard_normal(48_000), 16_000)
    return path


@pytest.fixture
def shared(calibrated, tmp_path):
    """The calibrated mel-LCNN as a shared folder, with metrics beside it."""
    metrics = {"conditions": [{"condition": "id", "macro_f1": 83.981, "macro_f1_interval": [78.7, 88.2]}]}
    metrics |= {"classes": ["real", "mimi"], "class_f1": [50, None], "class_f1_interval": [[25, 75.25], None]}
    (tmp_path / "result").mkdir()
    (tmp_path / "result/id_f1.json").write_text(json.dumps(metrics | {"lists": "/home/someone/label/x.txt"}))
    flags = [str(calibrated / "model"), "--to", str(tmp_path / "shared"), "--result", str(tmp_path / "result")]
    share_model.main(flags)
    return tmp_path / "shared"


def test_a_shared_model_gives_the_same_predictions_and_tells_no_path(calibrated, shared, clip):
    names = {path.relative_to(shared).as_posix() for path in shared.rglob("*") if path.is_file()}
    own = {"README.md", "calibration.json", "calibration.safetensors", "config.json", "model.safetensors"}
    assert names == own | {"results/id_f1.json"}
    texts = [(shared / name).read_text("utf-8") for name in names if not name.endswith(".safetensors")]
    assert not any(re.search(r'["` ](/|~)\w', text) for text in texts)
    weights = torch.load(calibrated / "model" / CHECKPOINT, weights_only=True)
    stored = load_file(shared / "model.safetensors")
    assert stored.keys() == weights.keys() and all(torch.equal(stored[name], weights[name]) for name in weights)
    config = json.loads((shared / "config.json").read_text())
    assert config["model_type"] == "codectrace" and config["system"] == "codec"
    assert config["config"]["model"] == "mellcnn"
    assert (config["sample_rate"], config["samples"]) == (16_000, 64_600) and len(config["classes"]) == 7
    [first], [second] = (Tracer.load(folder).trace(clip) for folder in (calibrated / "model", shared))
    assert first.to_dict() == second.to_dict()


def test_the_card_has_metadata_data_recipe_and_results(shared):
    card = (shared / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: ") and card.count("\n---\n") == 1
    assert "| conditions id | macro_f1 | 83.98 [78.70, 88.20] |" in card
    assert "| real | class_f1 | 50.00 [25.00, 75.25] |" in card and "mimi | class_f1" not in card
    assert "front end" not in card and "ALM_moshi" not in card and "| `lr` | 0.0005 |" in card
    assert "| train.txt | `" in card and "| `model` | mellcnn |" in card
    for part in ("## Training data", "## Recipe", "## Calibration", "## Results", "## Limits", "## How to cite"):
        assert f"\n{part}\n" in card


def test_the_shipped_model_has_this_form_and_goes_through_unchanged(tmp_path):
    share_model.main([str(SHIPPED), "--to", str(tmp_path / "out")])
    for path in SHIPPED.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_model_of_the_taxonomy_is_shared_too(tmp_path, taxonomy_corpus):
    from models.taxonomy_building import build_taxonomy_model

    config = TaxonomyConfig(model="W2V2AASIST", model_type="S_VQ", SSL_path="tiny-random")
    model = build_taxonomy_model(config)
    (tmp_path / "model").mkdir()
    torch.save(model.state_dict(), tmp_path / "model" / CHECKPOINT)
    described = {"config": json.loads(config.json_text())}
    (tmp_path / "model/args.json").write_text(json.dumps(described))
    share_model.main([str(tmp_path / "model"), "--to", str(tmp_path / "shared")])
    stored = json.loads((tmp_path / "shared/config.json").read_text())
    assert stored["samples"] == 64_600 and stored["tasks"] == {"vq": ["REAL", "MVQ", "SVQ", "SQ"]}
    wave = torch.randn(1, 64_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = (load_taxonomy_model(tmp_path / name, TaxonomyConfig())(wave) for name in ("model", "shared"))
    torch.testing.assert_close(second, first, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--to is missing: give the folder to write"),
        (("--to", "here"), "here holds other files: give --to a new folder"),
        (("--to", "new", "--result", "none"), "--result none is not a folder"),
        (("--to", SHIPPED), "is the folder of the model itself: give another one"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").write_text("mine")
    with pytest.raises(InputError, match=message):
        share_model.main([str(SHIPPED), *map(str, flags)])
    assert [path.name for path in tmp_path.rglob("*")] == ["here", "file"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"args\.json is missing or not of a training run of this project"):
        share_model.main([str(tmp_path), "--to", str(tmp_path / "out")])


@pytest.mark.slow
def test_a_model_goes_to_the_hub_and_is_used_by_its_name(tmp_path, clip):
    def trace(server, model, home="home", **more):
        flags = ["predict.py", clip, "--num_workers", 0, "--model_folder", model, "--json", tmp_path / "out.json"]
        done = run_script(*flags, env=hub_environment(server, tmp_path / home, **more))
        return done, json.loads((tmp_path / "out.json").read_text())["files"][0] if done.returncode == 0 else None

    with fake_hub() as server:
        flags = ["share_model.py", SHIPPED, "--to", tmp_path / "shared", "--push", "someone/codecs"]
        done = run_script(*flags, env=hub_environment(server, tmp_path / "home"))
        assert done.returncode == 2 and "someone/codecs: the hub answers with status 401: log in with" in done.stderr
        shutil.rmtree(tmp_path / "shared")
        done = run_script(*flags, env=hub_environment(server, tmp_path / "home", HF_TOKEN=TOKEN))
        assert done.returncode == 0 and f"uploaded to {server.address}/someone/codecs" in done.stdout, done.stderr
        stored = server.models["someone/codecs"]["main"]
        assert {name: (SHIPPED / name).read_bytes() for name in stored} == stored and len(stored) == 7

        done, prediction = trace(server, "someone/codecs")
        assert done.returncode == 0, done.stderr
        [own] = Tracer.load().trace(clip)
        assert prediction["verdict"] == own.verdict
        assert prediction["probabilities"] == pytest.approx(own.probabilities, abs=1e-5)
        asked = len(server.requests)
        done, again = trace(server, "someone/codecs")
        assert again == prediction and len(server.requests) == asked  # from the cache, without a question

        server.models["someone/codecs"]["v1"] = stored
        assert trace(server, "someone/codecs@v1")[1] == prediction
        done, _ = trace(server, "someone/codecs@v2")
        assert (
            done.returncode == 2 and "the Hugging Face hub does not give it: it answers with status 404" in done.stderr
        )
    done, again = trace(server, "someone/codecs")  # the hub is gone, the cache is there
    assert again == prediction
    done, _ = trace(server, "someone/others")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "someone/others does not exist here, and the Hugging Face hub does not give it: it cannot be" in done.stderr


@pytest.mark.parametrize(
    ("configuration", "flag"),
    [
        (Config, "model_folder"),
        (Config, "init_from"),
        (TaxonomyConfig, "model_folder"),
        (TraceConfig, "model_folder"),
        (TraceConfig, "taxonomy_model"),
        (export_model.ExportConfig, "folder"),
        (share_model.ShareConfig, "folder"),
    ],
)
def test_every_flag_of_a_trained_model_takes_a_name_of_the_hub(configuration, flag):
    value = ["someone/none"] if flag == "taxonomy_model" else "someone/none"
    with pytest.raises(InputError, match="someone/none does not exist here, and the Hugging Face hub does not give it"):
        configured(configuration, **{flag: value})


def test_a_hub_that_is_silent_is_given_up(tmp_path):
    code = "from utils import hub; hub.HUB_SECONDS = 0.1; hub.found_model('someone/model')"
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes calls, and never answers
        hub = SimpleNamespace(address=f"http://127.0.0.1:{server.getsockname()[1]}")
        done = run_script("-c", code, env=hub_environment(hub, tmp_path))
    assert "it cannot be reached, and its cache does not hold the model" in done.stderr


def test_a_model_in_the_cache_of_the_hub_has_its_name_and_is_not_changed(tmp_path):
    cached = tmp_path / f"models--some-one--w2v--b/snapshots/{'1' * 40}"
    assert name_of_model(cached) == "some-one/w2v--b" and name_of_model(tmp_path / "w2v") == "w2v"
    with pytest.raises(InputError, match="--model_folder: this would change some-one/w2v--b in the cache of the hub"):
        calibrate.main(["--model_folder", str(cached)])


def test_a_shared_model_tells_the_report_how_it_was_made(shared):
    run, log = read_training(shared)
    assert run["config"]["model"] == "mellcnn" and log == []


def test_an_interrupted_download_is_not_taken_for_the_model(tmp_path, monkeypatch):
    from utils import hub

    for name in ("config.json", "model.safetensors", "calibration.json"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    assert not hub.is_whole(tmp_path)
    shutil.copy(SHIPPED / "calibration.safetensors", tmp_path)
    assert hub.is_whole(tmp_path)


def test_what_counts_as_a_name_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert names_hub_model("user/model") and names_hub_model("user/model@v1.0")
    for path in ("models/w2v", "model", "a/b/c", "/user/model", "./user/model/x", "../model", "user/model@"):
        assert not names_hub_model(path), path
