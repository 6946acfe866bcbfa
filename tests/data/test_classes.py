"""Class names: from the manifest of a corpus, from the file beside score files, else those of ST-Codecfake."""

import json

import pytest

from config import Config
from data.classes import (
    CLASSES,
    class_names,
    evaluated_class_names,
    is_st_codecfake,
    known_class_names,
    number_of_classes,
)
from utils.errors import InputError


def corpus(root, names, **more):
    root.mkdir(parents=True, exist_ok=True)
    classes = {str(label): {"name": name} for label, name in enumerate(names)}
    (root / "manifest.json").write_text(json.dumps({"classes": classes, **more}))
    return Config(data_root=root, result=root / "result")


def sidecar(config, content):
    config.result.mkdir(parents=True, exist_ok=True)
    (config.result / "classes.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_without_a_manifest_the_classes_are_those_of_st_codecfake(tmp_path):
    config = Config(data_root=tmp_path, result=tmp_path)
    assert class_names(config) == list(CLASSES)
    assert known_class_names(config) == list(CLASSES[:7])
    assert is_st_codecfake(config)


@pytest.mark.parametrize("count", [2, 3, 9, 40])
def test_another_number_of_classes_is_not_st_codecfake(tmp_path, count):
    config = Config(data_root=tmp_path, result=tmp_path, num_classes=count)
    assert known_class_names(config) == ["real", *(f"class {label}" for label in range(1, count))]
    assert not is_st_codecfake(config)


@pytest.mark.parametrize("count", [2, 3, 9, 40])
def test_a_manifest_says_how_many_classes_are_known(tmp_path, count):
    names = ["real", *(f"codec{label}" for label in range(1, count + 2))]
    config = corpus(tmp_path / "own", names, known=count)
    assert number_of_classes(config) == count
    assert known_class_names(config) == names[:count] and class_names(config) == names
    assert not is_st_codecfake(config)


@pytest.mark.parametrize("known", [1, 99, "7", True, 2.5])
def test_a_wrong_number_of_known_classes_is_refused(tmp_path, known):
    config = corpus(tmp_path / "own", ["real", "a", "b"], known=known)
    with pytest.raises(InputError, match=r"manifest.json(: known is .*, expected| gives 99 known classes, expected)"):
        number_of_classes(config)


def test_names_beside_the_score_files_go_before_those_of_the_corpus(tmp_path):
    config = corpus(tmp_path / "own", ["real", "a", "b"], known=3)
    sidecar(config, {"classes": ["real", "x"], "corpus": None})
    assert evaluated_class_names(config) == ["real", "x"]


def test_a_number_that_contradicts_the_score_files_is_refused(tmp_path):
    config = Config(data_root=tmp_path, result=tmp_path / "result", num_classes=9)
    sidecar(config, {"classes": list(CLASSES[:7]), "corpus": "ST-Codecfake"})
    with pytest.raises(InputError) as caught:
        evaluated_class_names(config)
    assert str(caught.value) == (
        f"{tmp_path / 'result/classes.json'} names 7 classes, but --num_classes is 9: leave the flag out"
    )


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"classes": ["real", "a"]}',
        '{"classes": ["real"], "corpus": null}',
        '{"classes": [1, 2], "corpus": null}',
    ],
)
def test_a_damaged_file_of_names_is_refused_by_name(tmp_path, content):
    config = Config(data_root=tmp_path, result=tmp_path / "result")
    sidecar(config, content)
    with pytest.raises(InputError, match=r"classes.json(: .*| is not JSON .*): trace again$"):
        evaluated_class_names(config)
