"""Feature files come back as written, bad ones are named, and ood_detector_e2e.py prints what its files say."""

import json
import shutil

import pytest
import torch
from helpers import FIXTURES, run_script

import ood_detector_e2e
from engine.feature_files import read_features, write_features
from evaluation.metrics import auc, equal_error_rate, fpr95
from ood_detectors import DETECTORS, PUBLISHED
from utils.errors import InputError, MissingInput

FILES = (
    "evaldict_ood7.pt",
    "evaldict_ood8.pt",
    "evaldict_oodvoc.pt",
    "evaldict_ood_config.pt",
    "evaldict_ood_source.pt",
)
CONDITIONS = ("single7", "multi8", "voc", "diff_config", "diff_source")
SAVED = torch.load(FIXTURES / "ood/ood_data.pt", weights_only=True)


def part(name, rows=slice(None)):
    return [SAVED[f"{name}.{key}"][rows] for key in ("feas", "logits", "labels")]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Feature files of every condition: 70 unknown clips each, one condition labelled as a known class."""
    folder = tmp_path_factory.mktemp("work") / "save_feats"
    write_features(folder / "traindict.pt", *part("train"))
    write_features(folder / "evaldict_id.pt", *part("eval_id"))
    for number, file in enumerate(FILES):
        features, logits, labels = part("eval_ood", slice(70 * number, 70 * number + 70))
        write_features(folder / file, features, logits, labels if number else torch.zeros_like(labels))
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A copy of the feature files to damage."""
    return shutil.copytree(written, tmp_path / "save_feats")


def detect(folder, *flags):
    ood_detector_e2e.main(["--save_feats", str(folder), *flags])


# ---- feature files ----


def test_a_feature_file_comes_back_as_written(tmp_path):
    features, _, labels = part("train", slice(5))
    names = ["a b.wav", "ü.wav", "c.wav", "d.wav", "e.wav"]
    head = torch.nn.Linear(160, 7)
    logits = head(features).detach()
    path = tmp_path / "new/traindict.pt"
    write_features(path, features, logits, labels, names, (head.weight, head.bias))
    outputs = read_features(path)
    for found, expected in zip(outputs[:3], (features, logits, labels), strict=True):
        assert torch.equal(found, expected) and found.dtype == expected.dtype
    assert outputs.names == names
    assert torch.equal(outputs.head[0], head.weight) and torch.equal(outputs.head[1], head.bias)
    first = path.read_bytes()
    write_features(path, features, logits, labels, names, (head.weight, head.bias))
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["traindict.pt"]


def test_a_file_of_the_released_code_can_be_read(tmp_path):
    features, logits, labels = part("train", slice(5))
    torch.save({"feas": features, "logits": logits, "labels": labels}, tmp_path / "old.pt")
    outputs = read_features(tmp_path / "old.pt")
    assert torch.equal(outputs.features, features) and outputs.head is None and outputs.names is None


NAN = torch.zeros(4, 7).index_put((torch.tensor([2]), torch.tensor([3])), torch.tensor(torch.nan))
GOOD = {"feas": torch.ones(4, 5), "logits": torch.zeros(4, 7), "labels": torch.zeros(4, dtype=torch.int64)}
BROKEN = {
    "it has no tensor logits": {"logits": None},
    "it has no tensor feas": {"feas": None, "labels": None},
    "feas is of the type list, expected real [n, d]": {"feas": [1.0]},
    "logits is real [4, 7], expected real [n = 3, classes = 7]": {"feas": torch.ones(3, 5)},
    "feas is real [5], expected real [n, d]": {"feas": torch.ones(5)},
    "feas is real [0, 5], expected real [n, d = 5]": {"feas": torch.ones(0, 5)},
    "labels is real [4], expected integer [n = 4]": {"labels": torch.zeros(4)},
    "labels is of torch.bool, expected integer [n = 4]": {"labels": torch.zeros(4, dtype=torch.bool)},
    "labels is integer [3], expected integer [n = 4]": {"labels": torch.zeros(3, dtype=torch.int64)},
    "labels are -5 to -5, expected classes from 0 to 999": {"labels": torch.full((4,), -5)},
    "labels are 4611686018427387904 to 4611686018427387904, expected classes from 0 to 999": {
        "labels": torch.full((4,), 2**62)
    },
    "it has 1 different names for 4 clips": {"names": ["a.wav"] * 4},
    "its names are [1, 2, 3, 4], expected a list of file names": {"names": [1, 2, 3, 4]},
    "it has no tensor head_bias": {"head_weight": torch.ones(7, 5)},
    "head_weight is real [5, 7], expected real [classes = 7, d = 5]": {"head_weight": torch.ones(5, 7)},
    "row 2 of the logits is not finite, like 1 of 4: check those clips and trace again": {"logits": NAN},
    "row 2 of the logits (c.wav) is not finite, like 1 of 4: check those clips and trace again": {
        "logits": NAN, "names": ["a.wav", "b.wav", "c.wav", "d.wav"]
    },
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_feature_file_is_named(message, tmp_path):
    path = tmp_path / "evaldict_ood7.pt"
    torch.save(GOOD | BROKEN[message], path)
    with pytest.raises(InputError) as raised:
        read_features(path)
    assert str(raised.value) == f"{path}: {message}; run source_tracing_ood.py again"


@pytest.mark.parametrize("scale", [0, -1, 1e30])
def test_a_training_set_that_its_last_layer_does_not_fit_is_refused(scale, tmp_path):
    features, _, labels = part("train", slice(5))
    head = torch.nn.Linear(160, 7)
    write_features(tmp_path / "t.pt", scale * features, head(features), labels, head=(head.weight, head.bias))
    with pytest.raises(InputError, match=r"t\.pt: the last layer .* does not turn these features into these logits"):
        read_features(tmp_path / "t.pt")


def test_tensors_that_still_wait_for_gradients_are_read(tmp_path):
    torch.save({**GOOD, "feas": GOOD["feas"].clone().requires_grad_()}, tmp_path / "x.pt")
    assert not read_features(tmp_path / "x.pt").features.requires_grad


class Foreign:
    """What a pickle of unknown origin may hold."""


@pytest.mark.parametrize("content", (b"", b"no torch file", b"PK\x03\x04 torn archive", Foreign()))
def test_what_is_no_feature_file_is_named_and_never_executed(content, tmp_path):
    path = tmp_path / "evaldict_ood7.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError) as raised:
        read_features(path)
    kind = "damaged or not a feature file, a torch file of only tensors"
    if isinstance(content, Foreign):
        kind = f"a pickle that needs the code of {Foreign.__module__}.Foreign to open, which is refused"
    assert str(raised.value) == f"{path} is {kind}: run source_tracing_ood.py again"


def test_a_list_in_a_torch_file_is_no_feature_file(tmp_path):
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(InputError, match="it has no tensor feas"):
        read_features(tmp_path / "x.pt")


# ---- the script ----


def test_every_detector_and_condition_is_printed_and_written(written, tmp_path, capsys):
    detect(written, "--json", str(tmp_path / "ood.json"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "AUC, FPR95 and EER in %: 700 training clips, 350 known test clips"
    assert lines[1].split() == ["detector", *(word for name in CONDITIONS for word in (name, "(70)")), "average"]
    shown = {line.split()[0]: line.split()[1:] for line in lines[2:] if line.split()[0] in DETECTORS}
    assert list(shown) == list(DETECTORS)
    figures = json.loads((tmp_path / "ood.json").read_text())
    assert figures["clips"] == {"train": 700, "known": 350} | dict.fromkeys(CONDITIONS, 70)
    assert len(figures["figures"]) == len(DETECTORS) * len(CONDITIONS)
    for figure in figures["figures"]:
        column = 3 * CONDITIONS.index(figure["condition"])
        expected = [f"{figure[key]:.2f}" for key in ("auc", "fpr95", "eer")]
        assert shown[figure["detector"]][column : column + 3] == expected
    for name, cells in shown.items():
        aucs = [figure["auc"] for figure in figures["figures"] if figure["detector"] == name]
        assert float(cells[15]) == pytest.approx(sum(aucs) / 5, abs=0.0051)


@pytest.mark.parametrize("name", ("msp", "NSD", "mahalanobis"))
def test_figures_are_those_of_the_detector_whatever_the_labels(name, written, tmp_path):
    detect(written, "--ood_detector_name", name, "--condition", "single7", "--json", str(tmp_path / "o.json"))
    (figure,) = json.loads((tmp_path / "o.json").read_text())["figures"]
    train, known, unseen = (read_features(written / file) for file in ("traindict.pt", "evaldict_id.pt", FILES[0]))
    assert not unseen.labels.any()  # labelled as real speech, yet out of distribution
    detector = DETECTORS[name]().fit(train)
    sides = detector.score(known), detector.score(unseen)
    expected = [100 * auc(*sides), 100 * fpr95(*sides), 100 * equal_error_rate(*sides)[0]]
    assert [figure[key] for key in ("auc", "fpr95", "eer")] == pytest.approx(expected, abs=1e-9)
    assert figure["eer_threshold"] == pytest.approx(equal_error_rate(*sides)[1])
    assert figure["paper"] == PUBLISHED[name]["single7"]


def test_the_papers_row_and_average_stand_beneath(written, capsys):
    detect(written, "--ood_detector_name", "msp", "--resamples", "0")
    row = capsys.readouterr().out.splitlines()[3].split()
    assert row[:2] == ["paper", "W2V2-AASIST"]
    assert row[2:5] == ["99.93", "0.17", "0.90"] and row[-3] == "97.54"  # the average AUC that the paper prints


def test_intervals_stand_beneath_and_in_the_json(written, tmp_path, capsys):
    detect(written, "--ood_detector_name", "msp", "--json", str(tmp_path / "o.json"))
    lines = capsys.readouterr().out.splitlines()
    values, low, high = ([float(cell) for cell in line.split()[1:]] for line in lines[2:5])
    assert [line.split()[0] for line in lines[2:5]] == ["msp", "from", "to"]
    assert all(a <= b <= c for a, b, c in zip(low, values, high, strict=True)) and low[-2] < values[-2] < high[-2]
    for column, figure in enumerate(json.loads((tmp_path / "o.json").read_text())["figures"]):
        for offset, key in enumerate(("auc", "fpr95", "eer")):
            shown = [row[3 * column + offset] for row in (low, high)]
            assert figure[f"{key}_interval"] == pytest.approx(shown, abs=0.0051)
    assert lines[-2].startswith("from, to: 95 % bootstrap interval, 1000 resamples")


def test_without_resamples_there_are_no_intervals(written, tmp_path, capsys):
    detect(written, "--ood_detector_name", "energy", "--resamples", "0", "--json", str(tmp_path / "o.json"))
    shown = capsys.readouterr().out
    assert "from" not in shown and "bootstrap" not in shown
    assert all(row["eer_interval"] is None for row in json.loads((tmp_path / "o.json").read_text())["figures"])


def test_the_known_set_is_scored_once_a_detector(written, monkeypatch):
    from ood_detectors.logits import Msp

    sizes, score = [], Msp.score
    monkeypatch.setattr(Msp, "score", lambda self, test: sizes.append(len(test.logits)) or score(self, test))
    detect(written, "--ood_detector_name", "msp")
    assert sizes == [350, 70, 70, 70, 70, 70]


def test_ties_show_the_attainable_fpr95(folder, capsys):
    for name in ("evaldict_id.pt", FILES[0]):
        outputs = read_features(folder / name)
        write_features(folder / name, outputs.features, outputs.logits.round(), outputs.labels)
    detect(folder, "--ood_detector_name", "maxlogit", "--condition", "single7")
    assert "attainable" in (shown := capsys.readouterr().out) and "maxlogit on single7 " in shown


def test_missing_files_are_named_or_skipped(folder, capsys):
    (folder / FILES[2]).unlink()
    with pytest.raises(MissingInput) as raised:
        detect(folder)
    missing = f"{folder / FILES[2]} is missing: run source_tracing_ood.py first"
    assert str(raised.value) == f"{missing} (condition voc; or pass --skip_missing)"
    detect(folder, "--ood_detector_name", "energy", "--skip_missing")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"skipped voc: {missing}"
    assert "voc" not in lines[2] and "diff_source (70)" in lines[2]
    with pytest.raises(MissingInput, match="has no feature file of an unseen condition: nothing to detect"):
        detect(folder, "--condition", "voc", "--skip_missing")


@pytest.mark.parametrize(
    "name,script", (("traindict.pt", "source_tracing_ood.py"), ("evaldict_id.pt", "source_tracing_id.py"))
)
def test_what_every_condition_needs_cannot_be_skipped(name, script, folder):
    (folder / name).unlink()
    with pytest.raises(MissingInput) as raised:
        detect(folder, "--skip_missing")
    assert str(raised.value) == f"{folder / name} is missing: run {script} first"


def test_files_of_two_models_are_refused(folder):
    features, logits, labels = part("eval_ood")
    write_features(folder / FILES[0], features[:, :100], logits, labels)
    with pytest.raises(InputError, match=r"ood7\.pt has 100 features, the training set 160: trace both with the same"):
        detect(folder)
    write_features(folder / FILES[0], features, logits[:, :5], labels)
    with pytest.raises(InputError, match=r"ood7\.pt has 5 classes, the training set 7: trace both with the same model"):
        detect(folder)


def test_files_of_two_models_of_one_size_are_refused(folder):
    head, (features, _, labels) = torch.nn.Linear(160, 7), part("train")
    write_features(folder / "traindict.pt", features, head(features), labels, head=(head.weight, head.bias))
    line = r"evaldict_id\.pt: the last layer that is saved with the training set does not turn these features"
    with pytest.raises(InputError, match=line):
        detect(folder)
    for file in ("evaldict_id.pt", *FILES):
        outputs = read_features(folder / file)
        half = head(outputs.features).bfloat16().float()  # as of --mixed_precision bf16
        write_features(folder / file, outputs.features.bfloat16().float(), half, outputs.labels)
    detect(folder, "--ood_detector_name", "msp")


def test_a_detector_that_cannot_be_fitted_is_named(folder):
    write_features(folder / "traindict.pt", *part("train", slice(6)))
    with pytest.raises(InputError, match="detector knn: k = 7 nearest neighbours of 6 training clips"):
        detect(folder, "--ood_detector_name", "knn")


def test_unknown_names_are_refused_with_the_choice(written):
    with pytest.raises(InputError) as raised:
        detect(written, "--ood_detector_name", "odin")
    assert str(raised.value) == f"--ood_detector_name odin: expected all or one of {', '.join(DETECTORS)}"
    with pytest.raises(InputError, match="--ood_detector_name list: expected all or one of msp, energy, knn, "):
        detect(written, "--ood_detector_name", "list")
    with pytest.raises(InputError, match="expected all or some of single7, multi8, voc, diff_config, diff_source"):
        detect(written, "--condition", "moshi")


def test_help_lists_every_condition_and_says_where_the_detectors_are():
    finished = run_script("ood_detector_e2e.py", "--help")
    words = " ".join(finished.stdout.split())
    assert f"Conditions: {' '.join(CONDITIONS)} " in words
    assert "An unknown name, such as --ood_detector_name list, prints all of them." in words


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(written, tmp_path):
    for name in ("a.json", "b.json"):
        detect(written, "--json", str(tmp_path / name))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_the_command_ends_with_one_line_for_bad_input(tmp_path):
    missing = run_script("ood_detector_e2e.py", "--save_feats", tmp_path)
    assert missing.returncode == 2
    assert missing.stderr == f"error: {tmp_path / 'traindict.pt'} is missing: run source_tracing_ood.py first\n"


# ---- which condition a file is of ----


@pytest.mark.parametrize(("one", "other"), [("traindict", "evaldict_id"), ("evaldict_ood7", "evaldict_ood_source")])
def test_swapped_files_are_recognised(trained, tmp_path, one, other):
    """Also where an older version wrote the files: only that of the training set holds the last layer."""
    for named in (True, False)[: 2 if one == "traindict" else 1]:
        folder = shutil.copytree(trained / "save_feats", tmp_path / f"feats-{named}")
        for name, source in ((one, other), (other, one)):
            saved = torch.load(trained / f"save_feats/{source}.pt", weights_only=True)
            torch.save(
                saved if named else {key: saved[key] for key in saved if key != "condition"}, folder / f"{name}.pt"
            )
        with pytest.raises(InputError, match=r"it holds the clips of the condition '\w+', expected those of \w+; run"):
            ood_detector_e2e.main(["--save_feats", str(folder), "--ood_detector_name", "msp"])
