"""predict.py, app.py, enroll.py and evaluate_enrolment.py with 2, 3, 9 and 40 classes, on a model from outside."""

import csv
import io
import json

import numpy as np
import pytest
import soundfile
import torch
from helpers.page_server import served, trace

import calibrate
import enroll
import evaluate_enrolment
import models
import predict
from app import AppConfig
from config import Config
from data.audio import SAMPLE_RATE, SAMPLES
from engine.feature_files import write_features
from prediction.verdict import UNKNOWN
from utils.model_files import CHECKPOINT

PITCHES = 300 + 150 * torch.arange(48)  # Hz; a source is a tone, and the first sources are the known classes


class ToneModel(torch.nn.Module):
    """Features [batch, 48]: the share of each pitch in the power of a wave. The classes are the first pitches."""

    def __init__(self, num_classes):
        super().__init__()
        self.head = torch.nn.Linear(len(PITCHES), num_classes)
        with torch.no_grad():
            self.head.weight.copy_(20 * torch.eye(num_classes, len(PITCHES)))
            self.head.bias.zero_()

    def forward(self, wave):
        power = torch.fft.rfft(wave).abs().square()
        bins = (PITCHES * wave.shape[1] / SAMPLE_RATE).round().long()[:, None] + torch.arange(-20, 21)
        features = power[:, bins].sum(dim=2) / power.sum(dim=1, keepdim=True)
        return features, self.head(features)


def tone(source, seconds, rng, noise=0.05):
    """A recording [n] of a source, float32."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = np.sin(2 * np.pi * (PITCHES[source].item() + rng.uniform(-3, 3)) * time)
    return (rng.uniform(0.1, 0.3) * wave + noise * rng.standard_normal(len(time))).astype(np.float32)


def write_clips(folder, sources, seconds, rng):
    """Files NUMBER-SOURCE.wav of `sources`, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:02}-{source}.wav" for number, source in enumerate(sources)]
    for path, source in zip(paths, sources, strict=True):
        soundfile.write(path, tone(source, seconds, rng), SAMPLE_RATE)
    return paths


@pytest.fixture(scope="module", params=[2, 3, 9, 40], ids=lambda count: f"{count}-classes")
def run(request, tmp_path_factory):
    """(class names, folder) of a calibrated ToneModel in model/, with its embeddings in save_feats/."""
    count, rng = request.param, np.random.default_rng(request.param)
    folder = tmp_path_factory.mktemp(f"{count}-classes")
    names = ["real", *(f"Codec_{number}" for number in range(1, count))]
    manifest = {"classes": {str(label): {"name": name} for label, name in enumerate(names)}, "known": count}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    model = ToneModel(count)
    (folder / "model").mkdir()
    torch.save(model.state_dict(), folder / "model" / CHECKPOINT)
    described = json.loads(Config(model="tones", num_classes=count).json_text())
    (folder / "model/args.json").write_text(json.dumps({"config": described}))

    def trace(name, sources, clips):
        labels = torch.tensor(sources).repeat_interleave(clips)
        # The threshold rejects 5 % of clips like the development set, so the other clips have less noise.
        noise = 0.2 if name == "devdict.pt" else 0.05
        waves = np.stack([tone(source, SAMPLES / SAMPLE_RATE, rng, noise) for source in labels.tolist()])
        with torch.inference_mode():
            features, logits = model(torch.from_numpy(waves))
        head = (model.head.weight, model.head.bias) if name == "traindict.pt" else None
        write_features(folder / "save_feats" / name, features, logits, labels, head=head)

    known = list(range(count))
    for name, clips in (("traindict.pt", 8), ("devdict.pt", 10), ("evaldict_id.pt", 2)):
        trace(name, known, clips)
    trace("evaldict_ood7.pt", [count], 12)
    trace("evaldict_ood8.pt", [count + 1, count + 2], 12)
    flags = ["--model_folder", str(folder / "model"), "--save_feats", str(folder / "save_feats")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "tones", models.Model(ToneModel))
        calibrate.main([*flags, "--data_root", str(folder), "--ood_detector_name", "knn"])
        yield names, folder


def predict_files(folder, *more):
    """What predict.py writes with --json."""
    flags = ["--model_folder", folder / "model", "--num_workers", "0", "--json", folder / "out.json"]
    predict.main([*map(str, more), *map(str, flags)])
    return json.loads((folder / "out.json").read_text())["files"]


def test_every_class_is_named_in_every_output(run, capsys):
    names, folder = run
    count = len(names)
    sources = [*range(count), count]  # the last one is unknown
    clips = write_clips(folder / "clips", sources, 5, np.random.default_rng(1))
    rows = predict_files(folder, *clips, "--csv", folder / "out.csv")
    assert [row["verdict"] for row in rows] == [*names, UNKNOWN]
    for row in rows:
        assert list(row["probabilities"]) == names and sum(row["probabilities"].values()) == pytest.approx(1)
    lines = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text())))
    assert [line["verdict"] for line in lines] == [*names, UNKNOWN]
    assert [name for name in lines[0] if name.startswith("p(")] == [f"p({name})" for name in names]
    assert len(lines) == len(sources) and float(lines[-2][f"p({names[-1]})"]) > 0.9
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)


def test_a_file_of_all_classes_is_described_and_drawn(run, capsys):
    names, folder = run
    rng = np.random.default_rng(2)
    shown = names[:8] if len(names) > 8 else names
    path = folder / "splice.wav"
    soundfile.write(path, np.concatenate([tone(label, 9, rng) for label in range(len(shown))]), SAMPLE_RATE)
    [row] = predict_files(folder, path, "--plot", folder / "plots")
    assert row["verdict"] == "cannot tell" and row["reason"].startswith(
        "the recording seems to contain several sources"
    )
    assert [segment["source"] for segment in row["timeline"] if segment["source"] in names] == shown
    printed = capsys.readouterr().out
    assert len(next(line for line in printed.splitlines() if "probabilities" in line)) < 200
    assert (folder / "plots/splice.png").stat().st_size > 10_000


def test_a_source_is_enrolled_beside_the_classes(run):
    names, folder = run
    rng, new = np.random.default_rng(3), len(names) + 3
    clips = write_clips(folder / "new", [new] * 8, 4.5, rng)
    registry = ["--registry", str(folder / "registry.safetensors")]
    enroll.main(
        ["willow", *map(str, clips[:6]), "--model_folder", str(folder / "model"), "--num_workers", "0", *registry]
    )
    others = write_clips(folder / "known", [0, len(names) - 1], 4.5, rng)
    rows = predict_files(folder, *clips[6:], *others, *registry)
    assert [row["verdict"] for row in rows] == ["willow", "willow", names[0], names[-1]]


def test_enrolment_is_evaluated(run, capsys):
    names, folder = run
    flags = ["--save_feats", str(folder / "save_feats"), "--k", "1", "5", "--draws", "3"]
    evaluate_enrolment.main([*flags, "--json", str(folder / "enrolment.json")])
    result = json.loads((folder / "enrolment.json").read_text())
    assert result["classes"] == [len(names), len(names) + 1, len(names) + 2]
    assert all(row["accuracy"] > 95 and row["eer"] < 5 for row in result["figures"])
    assert f"3 unseen codecs, 36 clips; {2 * len(names)} known test clips" in capsys.readouterr().out


def test_the_page_gets_every_class(run):
    names, folder = run
    config = AppConfig(model_folder=folder / "model", port=0, num_workers=0)
    [clip] = write_clips(folder / "upload", [len(names) - 1], 5, np.random.default_rng(4))
    with served(config) as server:
        _, content = trace(server.server_port, clip.read_bytes())
    assert list(content["probabilities"]) == names and content["verdict"] == names[-1]
