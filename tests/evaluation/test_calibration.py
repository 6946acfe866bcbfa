"""The operating point found on development data: by hand, on a trained model, and refused when it does not fit."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import run_script

import calibrate
from engine.feature_files import read_features, write_features
from evaluation import calibration
from evaluation.calibration import read_calibration
from models.weights import read_safetensors
from ood_detectors import DETECTORS
from utils.digests import sha256
from utils.errors import InputError, MissingInput
from utils.files import save_safetensors
from utils.model_files import CALIBRATION_JSON, CALIBRATION_TENSORS, CHECKPOINT


def flags(folder, *more):
    return ["--model_folder", str(folder / "model"), "--save_feats", str(folder / "save_feats"), "--tpr", "0.8", *more]


@pytest.fixture
def copy(calibrated, tmp_path):
    """A copy of the calibrated model to damage."""
    return shutil.copytree(calibrated, tmp_path / "copy")


# ---- rules ----


def test_the_temperature_undoes_a_scaling_of_the_logits():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 7, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]  # calibrated at temperature 1
    assert calibration.fit_temperature(logits, labels) == pytest.approx(1, abs=0.03)
    assert calibration.fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.1)
    assert calibration.softmax_error(3 * logits, labels, 1) > 0.1 > 0.02 > calibration.softmax_error(logits, labels, 1)


def test_probabilities_are_not_sharpened_without_an_error_to_learn_from():
    assert calibration.fit_temperature(torch.eye(7), torch.arange(7)) == 1


@pytest.mark.parametrize("n,tpr,expected", [(100, 0.95, 5), (99, 0.95, 5), (98, 0.95, 4), (9, 0.9, 1), (19, 0.95, 1)])
def test_the_threshold_is_the_kth_smallest_score(n, tpr, expected):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert calibration.threshold_that_keeps(scores, tpr) == expected


def test_too_few_scores_have_no_threshold():
    assert calibration.threshold_that_keeps(np.arange(18.0), 0.95) is None
    found = calibration.class_thresholds(np.arange(30.0), np.repeat([0, 1], [25, 5]), 2, 0.95, -7.0)
    assert found == [0, -7]  # the second class has the threshold of all


def test_a_new_known_clip_is_rejected_as_seldom_as_promised():
    rng = np.random.default_rng(1)
    rejected = [
        (rng.normal(size=200) < calibration.threshold_that_keeps(rng.normal(size=300), 0.95)).mean() for _ in range(400)
    ]
    assert 0.044 < np.mean(rejected) < 0.052


def test_p_values_by_hand_and_the_threshold_agree():
    reference = np.array([3.0, 1, 2, 2])
    assert calibration.p_values([0, 1, 2, 2.5, 9], reference).tolist() == [0.2, 0.4, 0.8, 0.8, 1]
    scores, new = np.random.default_rng(2).normal(size=(2, 999))
    below = new < calibration.threshold_that_keeps(scores, 0.95)
    assert (below == (calibration.p_values(new, scores) <= 0.05)).all() and 30 < below.sum() < 75


# ---- a trained model ----


def test_every_detector_has_its_threshold_and_scores(calibrated):
    made = read_calibration(calibrated / "model")
    dev = read_features(calibrated / "save_feats/devdict.pt")
    assert made.detectors == list(DETECTORS) and made.tpr == 0.8
    for name in DETECTORS:
        scores = made.score(name, dev)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, made.scores[name], rtol=1e-9, atol=1e-12)
        assert made.threshold(name) == np.sort(made.scores[name])[0]  # k = floor(0.2 * 8)
        assert made.threshold(name, [0, 6, 0]).shape == (3,)
        assert made.p_value(name, made.scores[name]).min() == pytest.approx(2 / 8)
        assert made.percentile(name, made.scores[name]).max() == 100
    predicted = dev.logits.argmax(dim=1).numpy()
    of_class = made.p_value("knn", made.scores["knn"], predicted)
    for label in np.unique(predicted):
        assert of_class[predicted == label].max() == 1


def test_probabilities_are_the_softmax_at_the_temperature(calibrated):
    made = read_calibration(calibrated / "model")
    logits = torch.tensor([[1.0, 2, 3, 0, 0, 0, 0]])
    expected = np.exp(logits.double().numpy() / made.temperature)
    np.testing.assert_allclose(made.probabilities(logits), expected / expected.sum(), rtol=1e-6)


def test_the_json_tells_what_it_was_made_of(calibrated):
    written = json.loads((calibrated / "model" / CALIBRATION_JSON).read_text())
    assert written["class_names"][:2] == ["real", "mimi"] and len(written["class_names"]) == 7
    assert written["dev"]["clips"] == 7 and set(written["dev"]["ece"]) == {"before", "after"}
    assert written["dev"]["log_loss"]["after"] <= written["dev"]["log_loss"]["before"] + 1e-9
    assert len(written["data"]) == 2 and "torch" in written["versions"]


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(calibrated, corpus):
    before = [(calibrated / "model" / name).read_bytes() for name in (CALIBRATION_JSON, CALIBRATION_TENSORS)]
    calibrate.main(flags(calibrated, "--data_root", str(corpus)))
    assert before == [(calibrated / "model" / name).read_bytes() for name in (CALIBRATION_JSON, CALIBRATION_TENSORS)]


def test_the_model_folder_alone_is_enough(calibrated, tmp_path):
    for name in (CHECKPOINT, "args.json", CALIBRATION_JSON, CALIBRATION_TENSORS):
        shutil.copy(calibrated / "model" / name, tmp_path)
    outputs = read_features(calibrated / "save_feats/evaldict_id.pt")
    scores = [read_calibration(folder).score("mahalanobis++", outputs) for folder in (calibrated / "model", tmp_path)]
    assert (scores[0] == scores[1]).all()


# ---- refusals ----


def test_a_model_that_is_not_calibrated(trained):
    with pytest.raises(MissingInput) as raised:
        read_calibration(trained / "model")
    assert str(raised.value) == f"{trained / 'model/calibration.json'} is missing: run calibrate.py on this model first"


def test_another_checkpoint_is_refused(copy):
    torch.save({"x": torch.ones(1)}, copy / "model" / CHECKPOINT)
    with pytest.raises(
        InputError,
        match=f"made for another {CHECKPOINT} than the one beside it: copy it again, or run calibrate.py again",
    ):
        read_calibration(copy / "model")


@pytest.mark.parametrize(
    "damage", (lambda text: text[:200], lambda text: "[]", lambda text: text.replace('"temperature"', '"t"'))
)
def test_a_damaged_json_is_refused(copy, damage):
    path = copy / "model" / CALIBRATION_JSON
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError) as raised:
        read_calibration(copy / "model")
    assert str(raised.value).startswith(str(path)) and str(raised.value).endswith("run calibrate.py again")


def change(path, key, value):
    """Change one value of a JSON file; `key` is a path such as detectors.knn.threshold."""
    content = json.loads(path.read_text())
    *outer, last = key.split(".")
    inner = content
    for name in outer:
        inner = inner[name]
    inner[last] = value(inner[last]) if callable(value) else value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("temperature", float("nan"), "temperature is nan, expected a finite number"),
        ("temperature", 1e-320, "temperature is 1e-320, expected greater than or equal to 0.025"),
        ("tpr", 0.5, "knn has other thresholds than those that keep 0.5 of its scores"),
        ("tpr", 1e-320, "knn has other thresholds than those that keep 9.99989e-321 of its scores"),
        ("detectors.knn.threshold", lambda old: old + 1e-9, "knn has other thresholds than those that keep 0.8"),
        ("detectors.knn.class_thresholds", lambda old: [*old[:6], 5], "knn has other thresholds than those that keep"),
        ("detectors.knn.class_thresholds", lambda old: old[:3], "knn has 3 class_thresholds, expected 7"),
        ("class_names", lambda old: old[:3], "names the classes real, mimi, speechtokenizer, but the model has real,"),
        ("class_names", lambda old: old[::-1], "names the classes snac, facodec, encodec, funcodec, speechtokenizer,"),
        ("dev.clips", 8, "dev.predicted is integer [7], expected integer [clips = 8]"),
        ("limits", {"codec": 0.5, "real": 0.5, "levl": 1}, "limits.levl is no known key"),
    ],
)
def test_values_that_cannot_be_are_refused(copy, key, value, message):
    path = copy / "model" / CALIBRATION_JSON
    content = json.loads(path.read_text())
    content["detectors"] = {"knn": content["detectors"]["knn"]}
    path.write_text(json.dumps({"limits": {"codec": 0.5, "real": 0.5}, **content}))
    change(path, key, value)
    with pytest.raises(InputError) as raised:
        read_calibration(copy / "model")
    assert CALIBRATION_JSON in str(raised.value) and message in str(raised.value)


def test_a_key_that_comes_twice_is_refused(copy):
    path = copy / "model" / CALIBRATION_JSON
    path.write_text(path.read_text().replace("{", '{"temperature": 3,', 1))
    with pytest.raises(InputError, match=r"calibration\.json is not JSON \(it has the key 'temperature' twice\)"):
        read_calibration(copy / "model")


def rewrite_tensors(folder, **changed):
    """Write changed tensors of a calibration, with the digest that fits."""
    path = folder / CALIBRATION_TENSORS
    save_safetensors(path, read_safetensors(path)[0] | {name.replace("__", "."): t for name, t in changed.items()})
    change(folder / CALIBRATION_JSON, "tensors_sha256", sha256(path))


@pytest.mark.parametrize("scale", [0, -1, 1e38])
def test_features_that_the_last_layer_does_not_fit_are_refused(copy, scale):
    features = read_safetensors(copy / "model" / CALIBRATION_TENSORS)[0]["train.features"]
    rewrite_tensors(copy / "model", train__features=scale * features.sign())
    with pytest.raises(InputError, match=r"head\.weight and head\.bias do not turn train\.features into train\.logits"):
        read_calibration(copy / "model")


def test_damaged_tensors_and_another_format_are_refused(copy):
    path = copy / "model" / CALIBRATION_TENSORS
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(
        InputError, match=r"is not the file that calibration\.json was written with: copy it again, or run calibrate"
    ):
        read_calibration(copy / "model")
    path = copy / "model" / CALIBRATION_JSON
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(
        InputError, match=r"calibration\.json: format is 2, expected 1: copy it again, or run calibrate"
    ):
        read_calibration(copy / "model")


def test_an_unknown_detector_is_named(calibrated):
    with pytest.raises(InputError, match="detector odin was not calibrated: expected one of msp, energy, "):
        read_calibration(calibrated / "model").threshold("odin")


def test_too_few_development_clips(calibrated):
    finished = run_script("calibrate.py", *flags(calibrated)[:4], "--tpr", "0.95")
    assert finished.returncode == 2
    assert finished.stderr == (
        "error: 7 development clips are too few to find the threshold that keeps 0.95 of them: expected at least"
        " 19 clips, or a smaller --tpr\n"
    )


def test_embeddings_of_another_model_are_refused(copy):
    train = read_features(copy / "save_feats/traindict.pt")
    head = torch.nn.Linear(train.features.shape[1], 7)
    other = (train.features, head(train.features).detach(), train.labels, None, (head.weight, head.bias))
    write_features(copy / "save_feats/traindict.pt", *other)
    with pytest.raises(InputError, match=rf"traindict\.pt is not of the model .*{CHECKPOINT}: run source_tracing_ood"):
        calibrate.main(flags(copy))


def test_missing_files_are_named(copy):
    (copy / "save_feats/devdict.pt").unlink()
    with pytest.raises(MissingInput, match=r"devdict\.pt is missing: run source_tracing_ood\.py first"):
        calibrate.main(flags(copy))
    (copy / "model" / CHECKPOINT).unlink()
    with pytest.raises(MissingInput, match=f"{CHECKPOINT} does not exist: train a model first"):
        calibrate.main(flags(copy))
