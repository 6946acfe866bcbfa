"""export_model.py: an ONNX file that gives what torch gives, and the program of docs/export.md that uses it."""

import json
import re
import sys

import numpy as np
import pytest
import soundfile
import torch
from helpers import ROOT, run_script
from torch import nn

from config import Config
from config_taxonomy import TaxonomyConfig
from data.audio import SAMPLES
from evaluation.calibration import read_calibration
from models.building import build_model
from models.graph import GraphPool
from models.taxonomy_building import build_taxonomy_model
from utils.errors import InputError

pytest.importorskip("onnxscript", reason="requirements-export.txt is not installed")
pytest.importorskip("onnxruntime")
from prediction import onnx_export
from prediction.onnx_export import OUTPUTS, TOLERANCE, ExportedModel, clip_differences, export_model, open_session
from utils.model_files import CHECKPOINT

SHIPPED = ROOT / "pretrained/real-codecs"


def waves(count):
    return 0.1 * np.random.default_rng(1).standard_normal((count, SAMPLES)).astype(np.float32)


@pytest.mark.slow
def test_the_program_of_the_page_gives_what_the_model_gives_without_torch(tmp_path):
    from prediction import Tracer

    done = run_script("export_model.py", SHIPPED, "--to", tmp_path / "model.onnx")
    assert done.returncode == 0 and "5 of 5 test clips differ by at most 0.0001" in done.stdout, done.stderr
    wave = waves(1)[0, :50_000]
    soundfile.write(tmp_path / "clip.wav", wave, 16_000, subtype="FLOAT")
    page = (ROOT / "docs/export.md").read_text("utf-8")
    program = re.search(r"<!-- program -->\n```\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)[1]
    assert len([line for line in program.splitlines() if line]) <= 12
    code = f"import sys; sys.modules['torch'] = None\n{program}\nprint(json.dumps(probabilities[0].tolist()))"
    done = run_script("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    named, numbers = done.stdout.splitlines()
    tracer = Tracer.load()
    with torch.no_grad():
        _, logits = tracer.model(torch.from_numpy(np.resize(wave, (1, SAMPLES))))
    expected = tracer.calibration.probabilities(logits)[0]
    np.testing.assert_allclose(json.loads(numbers), expected, atol=TOLERANCE)
    assert named.startswith(f"{tracer.calibration.class_names[expected.argmax()]} ")
    held = open_session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    description = read_calibration(SHIPPED).description
    assert json.loads(held["limits"]) == description["limits"]
    assert json.loads(held["temperature"]) == description["temperature"]
    assert held["model"] == "fingerprint-kernel" and held["checkpoint_sha256"] == description["checkpoint_sha256"]
    section = page.partition("## The metadata")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(held)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mellcnn", "Rawaasist", "W2VAASIST"])
def test_every_kind_of_network_gives_what_torch_gives_at_any_batch(tmp_path, name):
    torch.manual_seed(0)
    config = Config(model=name, num_classes=3, SSL_path="tiny-random", ssl_layer=1)
    model = build_model(config).eval()
    for part in model.modules():
        if isinstance(part, GraphPool):  # random weights give all nodes almost the same score: no order to keep
            part.proj.weight.data *= 50
    wave = waves(5)
    with torch.no_grad():
        features, logits = model(torch.from_numpy(wave))
    export_model(ExportedModel(model, 0.5).eval(), {}, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    expected = [(logits / 0.5).softmax(1).numpy(), features.numpy(), logits.numpy()]
    for size in (1, 5):
        for given, own in zip(session.run(OUTPUTS, {"wave": wave[:size]}), expected, strict=True):
            np.testing.assert_allclose(given, own[:size], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.slow
def test_a_model_of_the_taxonomy_has_outputs_for_each_task(tmp_path):
    torch.manual_seed(0)
    config = TaxonomyConfig(model="W2V2AASIST", model_type="D_VQ", SSL_path="tiny-random")
    network = build_taxonomy_model(config).eval()
    torch.save(network.state_dict(), tmp_path / CHECKPOINT)
    (tmp_path / "args.json").write_text(json.dumps({"config": json.loads(config.json_text())}))
    exported, metadata = onnx_export.exported(tmp_path, "tiny-random")
    assert json.loads(metadata["tasks"]) == {"bin": ["spoof", "bonafide"], "vq": ["REAL", "MVQ", "SVQ", "SQ"]}
    wave = onnx_export.example_waves(2, int(metadata["samples"]))
    with torch.no_grad():
        _, logits = network(wave)
    export_model(exported, metadata, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    for task, rows in logits.items():
        found = session.run((f"probabilities_{task}", f"logits_{task}"), {"wave": wave.numpy()})
        for given, own in zip(found, (rows.softmax(1), rows), strict=True):
            np.testing.assert_allclose(given, own, atol=TOLERANCE, rtol=TOLERANCE)


def test_a_sastnet_is_refused_before_the_work(tmp_path):
    (tmp_path / "args.json").write_text(json.dumps({"config": {"model": "SASTNet"}}))
    with pytest.raises(InputError, match="holds a SASTNet, which cannot be exported: its file"):
        onnx_export.exported(tmp_path, "tiny-random")


class Sums(nn.Module):
    """The least that can be exported: sums of parts of a wave, and a layer on them."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, wave):
        features = wave.unflatten(1, (4, -1)).sum(2)
        return features, self.head(features)


def test_a_file_that_differs_from_torch_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    model = ExportedModel(Sums(), 1.0).eval()
    assert export_model(model, {"key": "value"}, path).max() < TOLERANCE
    assert open_session(path).get_modelmeta().custom_metadata_map["key"] == "value"
    assert clip_differences(ExportedModel(Sums(), 1.0).eval(), path).min() > TOLERANCE
    path.unlink()
    monkeypatch.setattr(onnx_export, "clip_differences", lambda *_: np.full(5, 0.25))
    with pytest.raises(InputError, match=r"onnxruntime differs from torch by 0\.2, more than 0\.0001, so .* is not"):
        export_model(model, {}, path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_onnxruntime_refuses_is_not_written(tmp_path):
    class FixedBatch(Sums):
        def forward(self, wave):
            features, logits = super().forward(wave)
            return features, logits + torch.zeros(len(wave), 2)  # len() is a constant to torch.export

    with pytest.raises(
        InputError, match=r"onnxruntime cannot run this model, so .* is not written: .*Got: 1 Expected: 3"
    ):
        export_model(ExportedModel(FixedBatch(), 1.0).eval(), {}, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((SHIPPED,), "--to is missing: give the file to write, such as --to model.onnx"),
        (
            ("models/none", "--to", "a.onnx"),
            "models/none does not exist here, and the Hugging Face hub does not give it",
        ),
        ((SHIPPED, "--to", "."), "cannot be written: it is a folder"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path, flags, message):
    done = run_script(ROOT / "export_model.py", *flags, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript is not installed: pip install -r requirements-export\.txt"):
        onnx_export.check_export_installed()
