"""docs/python.md runs as it stands."""

import json

import numpy as np
import pytest
import soundfile
from helpers import ROOT
from helpers.pages import code_blocks

from evaluation.calibration import read_calibration
from prediction.registry import EmbeddingSpace, EnrolledSource, Registry


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a reader of the page: two clips, a registry, and the model that comes with the project."""
    rng = np.random.default_rng(0)
    for name in ("clip.wav", "other.wav"):
        soundfile.write(tmp_path / name, 0.05 * rng.standard_normal(48_000), 16_000)
    (tmp_path / "pretrained").symlink_to(ROOT / "pretrained")
    calibration = read_calibration(ROOT / "pretrained/real-codecs")
    space = EmbeddingSpace.fit(calibration.train)
    source = EnrolledSource("new", space.embed(calibration.train.features[:5]), -1e9, 1.0, [])
    Registry(space, calibration.description["checkpoint_sha256"], 1, [source]).write(tmp_path / "registry.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_on_python_runs(folder, capsys):
    page = (ROOT / "docs/python.md").read_text("utf-8")
    names = {}
    for block in code_blocks(page)[0]:
        exec(compile(block, "docs/python.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert any("models/no-such-model" in line for line in lines) and "gone.wav does not exist" in lines
    assert any(line.startswith("clip.wav cannot tell ") for line in lines) or "clip.wav unknown codec" in str(lines)
    assert names["embeddings"].shape == (2, 256) and names["embeddings"].dtype == np.float32
    stored = json.loads(names["text"])
    assert stored["verdict"] == names["results"][0].verdict
    assert stored["probabilities"] == pytest.approx(names["results"][0].probabilities, abs=1e-5)
    assert (folder / "clip.png").read_bytes().startswith(b"\x89PNG")
