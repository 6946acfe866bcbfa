"""Enrolment: sources from a few clips, refused with the reason where they cannot be told apart, and its evaluation."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from helpers import run_script
from sklearn.covariance import LedoitWolf

import enroll
import evaluate_enrolment
import predict
from engine.feature_files import write_features
from ood_detectors import Outputs
from prediction.enrolment import TAKEN, enrol_source, groups_of, limit_of
from prediction.enrolment_metrics import measure_draw
from prediction.registry import EmbeddingSpace, EnrolledSource, Registry, read_registry
from utils.digests import sha256
from utils.errors import InputError, MissingInput

NAMES = ["real", "larch", "rowan"]
CENTRES = 4 * torch.eye(12)  # of the classes, and of new sources beyond the third
FILES = [{"file": f"{number}.wav", "sha256": ""} for number in range(40)]


def draw(source, n, seed):
    """Features [n, 12] around the centre of a source."""
    return CENTRES[source] + 0.4 * torch.randn(n, 12, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def train():
    features = torch.cat([draw(label, 200, label) for label in range(3)])
    return Outputs(features, features[:, :3], torch.arange(3).repeat_interleave(200))


@pytest.fixture(scope="module")
def space(train):
    return EmbeddingSpace.fit(train)


def enrolled(space, train, name, features, others=()):
    return enrol_source(
        space, groups_of(space, train, NAMES, others), name, space.embed(features), FILES[: len(features)]
    )


# ---- rules ----


def test_embeddings_are_unit_vectors_whitened_within_the_classes(space, train):
    x = space.embed(train.features)
    np.testing.assert_allclose(space.embed(5 * train.features), x, atol=1e-5)
    unit = (train.features / train.features.norm(dim=1, keepdim=True)).double().numpy()
    within = np.concatenate(
        [unit[train.labels == label] - unit[train.labels == label].mean(axis=0) for label in range(3)]
    )
    shrunk = LedoitWolf(assume_centered=True).fit(within).covariance_
    np.testing.assert_allclose(space.whiten.T @ shrunk @ space.whiten, np.eye(12), atol=1e-4)


def test_the_margin_is_negative_where_the_source_is_nearest(space):
    x = np.concatenate((space.centres, space.embed(CENTRES[5:6])))
    margins = space.margins(x, space.embed(CENTRES[5:6]))[:, 0]
    assert (margins[:3] > 0).all() and margins[3] < 0
    by_hand = ((x[0] - x[3]) ** 2).sum() - min(((x[0] - centre) ** 2).sum() for centre in space.centres)
    assert margins[0] == pytest.approx(by_hand)


def test_a_source_of_its_own_is_enrolled_and_recognised(space, train):
    source = enrolled(space, train, "willow", draw(5, 8, 1))
    assert source.recognised >= 0.85
    registry = Registry(space, "", 1, [source])
    found = registry.recognise(registry.margins(draw(5, 100, 2)), np.full(100, "larch", object))
    assert (found == "willow").mean() > 0.9
    for label in range(3):
        known = registry.recognise(registry.margins(draw(label, 100, 3)), np.full(100, "larch", object))
        assert (known == "larch").mean() > 0.95


def test_no_group_loses_more_than_promised(space, train):
    between = (CENTRES[5] + 3 * CENTRES[1]) / 4 + 0.4 * torch.randn(10, 12, generator=torch.Generator().manual_seed(9))
    groups, prototype = groups_of(space, train, NAMES), space.embed(between).mean(axis=0)
    limit = limit_of(space, prototype, groups)
    taken = [(space.margins(x, prototype[None])[:, 0] < limit).mean() for x in groups.values()]
    assert max(taken) == pytest.approx(TAKEN, abs=0.005)


def test_of_several_enrolled_sources_the_nearer_one_is_named(space, train):
    first = enrolled(space, train, "willow", draw(5, 8, 1))
    second = enrolled(space, train, "poplar", draw(6, 8, 1), [first])
    registry = Registry(space, "", 2, [first, second])
    for number, name in ((5, "willow"), (6, "poplar")):
        found = registry.recognise(registry.margins(draw(number, 50, 2)), np.full(50, "none", object))
        assert (found == name).mean() > 0.85


def test_a_known_class_is_not_enrolled_again(space, train):
    with pytest.raises(
        InputError, match=r"copy: only \d+% of its clips .* The clips are too near larch, the nearest source of"
    ):
        enrolled(space, train, "copy", draw(1, 12, 4))


def test_an_enrolled_source_is_not_enrolled_again(space, train):
    first = enrolled(space, train, "willow", draw(5, 20, 1))
    with pytest.raises(InputError, match=r"too near willow, the nearest source of 100% of them\. Give more clips"):
        enrolled(space, train, "again", draw(5, 10, 2), [first])


def test_mixed_clips_are_refused(space, train):
    mixed = torch.cat([draw(label, 4, 5) for label in range(3)])
    with pytest.raises(
        InputError, match=r"The clips are too mixed, nearest to 3 .* Not recognised: 0.wav, 1.wav, 2.wav, \.\.\.$"
    ):
        enrolled(space, train, "mixed", mixed)


def test_a_registry_is_read_as_it_was_written(space, train, tmp_path):
    (tmp_path / "anti-spoofing_feat_model.pt").write_bytes(b"weights")
    checkpoint = sha256(tmp_path / "anti-spoofing_feat_model.pt")
    source = enrolled(space, train, "willow", draw(5, 8, 1))
    path = tmp_path / "registry.safetensors"
    Registry(space, checkpoint, 3, [source]).write(path)
    found = read_registry(path, tmp_path)
    assert found.version == 3 and found.sources[0]._replace(clips=None) == source._replace(clips=None)
    x = draw(5, 20, 2)
    np.testing.assert_array_equal(found.margins(x), Registry(space, checkpoint, 3, [source]).margins(x))
    (tmp_path / "anti-spoofing_feat_model.pt").write_bytes(b"others")
    with pytest.raises(InputError, match="belongs to another model than"):
        read_registry(path, tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"is damaged or not a safetensors file"):
        read_registry(path, tmp_path)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda space, source: (space, []), "sources is [], expected at least 1 item"),
        (
            lambda space, source: (EmbeddingSpace(space.whiten, space.centres * 1e30), [source]),
            "does not fit the train",
        ),
        (
            lambda space, source: (EmbeddingSpace(-space.whiten, space.centres), [source]),
            "does not fit the training set",
        ),
        (
            lambda space, source: (space, [source._replace(limit=1e308)]),
            "gives willow a limit that takes clips of a k",
        ),
    ],
)
def test_a_registry_that_would_take_known_clips_is_refused(space, train, tmp_path, damage, message):
    (tmp_path / "anti-spoofing_feat_model.pt").write_bytes(b"weights")
    source = enrolled(space, train, "willow", draw(5, 8, 1))
    path = tmp_path / "registry.safetensors"

    def write(space, sources):
        Registry(space, sha256(tmp_path / "anti-spoofing_feat_model.pt"), 1, sources).write(path)

    write(space, [source])
    assert read_registry(path, tmp_path, train).sources[0].name == "willow"
    write(*damage(space, source))
    with pytest.raises(InputError) as raised:
        read_registry(path, tmp_path, train)
    assert str(path) in str(raised.value) and message in str(raised.value)


def test_a_source_beside_classes_of_few_clips_is_read_again(tmp_path):
    features = torch.cat([draw(label, 4, label) for label in range(3)])
    train = Outputs(features, features[:, :3], torch.arange(3).repeat_interleave(4))
    space = EmbeddingSpace.fit(train)
    near = space.embed(draw(0, 8, 9) + 0.3 * draw(5, 8, 1))
    limit = limit_of(space, near.mean(axis=0), groups_of(space, train, NAMES))  # between the first clip and the second
    (tmp_path / "anti-spoofing_feat_model.pt").write_bytes(b"weights")
    path = tmp_path / "registry.safetensors"
    source = EnrolledSource("near", near, limit, 1.0, FILES[:8])
    Registry(space, sha256(tmp_path / "anti-spoofing_feat_model.pt"), 1, [source]).write(path)
    assert read_registry(path, tmp_path, train).sources[0].limit == pytest.approx(limit)


# ---- enroll.py ----


@pytest.fixture
def clips(tmp_path):
    """Clips of one source unlike any of the small corpus: loud square waves."""
    rng, folder = np.random.default_rng(0), tmp_path / "clips"
    folder.mkdir()
    for number in range(6):
        time = np.arange(int(rng.integers(70_000, 90_000))) / 16_000
        wave = 0.7 * np.sign(np.sin(2 * np.pi * 97 * time)) + 0.05 * rng.standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", wave, 16_000)
    return folder


def flags(calibrated, registry, *more):
    return [*map(str, more), "--model_folder", str(calibrated / "model"), "--registry", str(registry)]


def test_an_enrolled_source_is_named_by_predict(calibrated, clips, corpus, tmp_path, capsys):
    registry = tmp_path / "registry.safetensors"
    enroll.main(flags(calibrated, registry, "square", *sorted(clips.iterdir())[:5]))
    assert "square: 5 clips, 100% of them recognised" in capsys.readouterr().out
    held_out, known = clips / "5.wav", corpus / "eval_id" / "eval_id_1_0.flac"
    predict.main(flags(calibrated, registry, held_out, known, "--json", tmp_path / "out.json", "--num_workers", "0"))
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["registry"] == str(registry)
    assert report["files"][0]["verdict"] == "square" and report["files"][1]["verdict"] != "square"
    assert {segment["source"] for segment in report["files"][0]["timeline"]} == {"square"}
    first = registry.read_bytes()
    enroll.main(flags(calibrated, registry, "square", *sorted(clips.iterdir()), "--replace"))
    assert "version 2 (enrolled sources: 1)" in capsys.readouterr().out
    registry.unlink()
    enroll.main(flags(calibrated, registry, "square", *sorted(clips.iterdir())[:5]))
    assert registry.read_bytes() == first  # the same command gives the same bytes


def test_bad_clips_are_refused_before_anything_is_written(calibrated, clips, tmp_path):
    registry, files = tmp_path / "registry.safetensors", sorted(clips.iterdir())
    copy = shutil.copy(files[0], tmp_path / "copy.wav")
    silent, text = tmp_path / "silent.wav", tmp_path / "text.wav"
    soundfile.write(silent, np.zeros(80_000), 16_000)
    text.write_text("no audio")
    cases = {
        r"new has 4 clips: give at least 5, 20 are better": ["new", *files[:4]],
        r"new has 1 clip: give at least 5": ["new", files[0], files[0]],
        r"copy.wav and .*0.wav are the same recording": ["new", *files, copy],
        r"absent.wav does not exist": ["new", *files, tmp_path / "absent.wav"],
        r"silent.wav is silent: leave it out": ["new", *files, silent],
        r"text.wav cannot be decoded as audio": ["new", *files, text],
        r"mimi is already the name of a verdict: choose another name": ["mimi", *files],
        r"unknown codec is already the name of a verdict": ["unknown codec", *files],
        r"the name of the new source: .* expected at most 200 characters: choose another name": ["x" * 201, *files],
        r"the name of the new source: .* expected 'printable text'": ["a\nb", *files],
    }
    for message, arguments in cases.items():
        with pytest.raises(InputError, match=message):
            enroll.main(flags(calibrated, registry, *arguments))
    assert not registry.exists()
    enroll.main(flags(calibrated, registry, "square", *files))
    with pytest.raises(InputError, match="already contains square: choose another name, or pass --replace"):
        enroll.main(flags(calibrated, registry, "square", *files))


def test_a_model_that_is_not_calibrated_is_refused(trained, clips, tmp_path):
    with pytest.raises(MissingInput, match=r"calibration\.json is missing: run calibrate\.py"):
        enroll.main(flags(trained, tmp_path / "registry.safetensors", "square", clips))


# ---- evaluate_enrolment.py ----


@pytest.fixture
def save_feats(train, tmp_path):
    """Feature files of three known and two unseen sources."""

    def write(name, labels, count, seed):
        x = torch.cat([draw(label, count, seed + label) for label in labels])
        write_features(tmp_path / name, x, x[:, :3], torch.tensor(labels).repeat_interleave(count))

    write("traindict.pt", [0, 1, 2], 200, 0)
    write("evaldict_id.pt", [0, 1, 2], 50, 100)
    write("evaldict_ood7.pt", [7], 30, 200)
    write("evaldict_ood8.pt", [8], 30, 200)
    return tmp_path


def test_well_separated_sources_are_told_apart(save_feats, tmp_path, capsys):
    run = ["--save_feats", str(save_feats), "--k", "1", "5", "--draws", "3", "--json"]
    evaluate_enrolment.main([*run, str(tmp_path / "one.json")])
    figures = json.loads((tmp_path / "one.json").read_text())
    assert figures["classes"] == [7, 8] and [row["k"] for row in figures["figures"]] == [1, 5]
    for row in figures["figures"]:
        assert row["eer"] < 5 and row["accuracy"] > 95 and row["taken"] < 30
    assert figures["figures"][1]["recognised"] > 80
    assert list(figures["measured_of"]["files"]) == sorted(path.name for path in save_feats.glob("*.pt"))
    assert "2 unseen codecs, 60 clips; 150 known test clips" in capsys.readouterr().out
    evaluate_enrolment.main([*run, str(tmp_path / "two.json")])
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_draw_of_one_source_alone_has_the_figures_of_its_definition(space, train):
    """Known clips in the place of one unseen codec: half of its own are beyond any limit, its EER is about a half."""
    unseen = np.concatenate((space.embed(draw(7, 40, 1)), space.embed(draw(8, 40, 2))))
    known, labels = space.embed(draw(7, 200, 3)), np.repeat([7, 8], 40)
    rng = np.random.default_rng(0)
    groups = groups_of(space, train, NAMES)
    metrics = measure_draw(space, groups, unseen, labels, known, 10, rng)
    assert 20 < metrics["eer"] < 30  # the mean of about 50 and 0
    assert metrics["accuracy"] == 100 and metrics["recognised"] > 80 and metrics["taken"] > 80


def test_too_many_clips_and_absent_files_are_named(save_feats, trained):
    with pytest.raises(
        InputError, match="--k 30 is too large: the smallest unseen codec has 30 clips, and some must remain"
    ):
        evaluate_enrolment.main(["--save_feats", str(save_feats), "--k", "30"])
    (save_feats / "evaldict_ood7.pt").unlink()
    finished = run_script("evaluate_enrolment.py", "--save_feats", save_feats)
    assert finished.returncode == 2 and "evaldict_ood7.pt is missing" in finished.stderr


def test_a_source_is_a_mean_of_its_clips():
    clips = np.array([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_array_equal(EnrolledSource("a", clips, 0.0, 1.0, []).prototype, [2, 4])
