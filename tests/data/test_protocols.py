"""Configuration, corpus readers and the table of conditions: order, names, classes, and a line for every bad input."""

import json
import os
import shutil
from pathlib import Path

import pytest
from helpers import run_script

from config import Config
from data.classes import CLASSES, class_names
from data.conditions import CONDITIONS, select
from data.dataset import Clips
from data.protocols import audio_folder, check_audio, label_file
from utils.errors import InputError, MissingInput
from utils.flags import parse_flags


def test_paths_follow_data_root_unless_given(tmp_path):
    config = parse_flags("", ["--data_root", str(tmp_path), "--dev_wav", "elsewhere"], Config)
    assert config.train_label == tmp_path / "label/train.txt"
    assert str(config.dev_wav) == "elsewhere"


def test_the_papers_recipe_is_the_default():
    config = Config()
    recipe = (config.lr, config.lr_decay, config.interval, config.batch_size, config.num_epochs, config.seed)
    assert recipe == (5e-4, 0.5, 10, 24, 50, 688)
    assert (config.beta_1, config.beta_2, config.eps, config.weight_decay) == (0.9, 0.999, 1e-8, 5e-4)


def test_config_prints_what_is_in_force():
    shown = run_script("config.py", "--seed", "3", "-m", "mellcnn").stdout
    assert "\nseed                     3\n" in shown and "\nmodel                    mellcnn\n" in shown


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--lr", "nan"], "argument --lr: nan is out of range"),
        (["--batch_size", "0"], "argument --batch_size: 0 is out of range"),
        (["--model", "vgg"], "argument -m/--model: invalid choice: 'vgg'"),
        (["--unheard_of", "1"], "unrecognized arguments: --unheard_of 1"),
    ],
)
def test_bad_flags_exit_with_one_line(flags, line):
    finished = run_script("config.py", *flags)
    assert finished.returncode == 2 and line in finished.stderr and "Traceback" not in finished.stderr


def test_every_condition_reads_the_corpus(corpus):
    config = Config(data_root=corpus)
    for condition in CONDITIONS:
        clips = condition.clips(config)
        check_audio(clips)
        assert clips, condition.name
        assert [clip.name for clip in clips] == [clip.name for clip in condition.clips(config)]
        labels = {clip.label for clip in clips}
        assert labels <= set(range(len(CLASSES))), condition.name
        assert condition.label is None or labels == {condition.label}, condition.name


def test_classes_of_the_conditions(corpus):
    config = Config(data_root=corpus)
    labels = {row.name: {clip.label for clip in row.clips(config)} for row in CONDITIONS}
    assert labels["train"] == labels["id"] == set(range(7))
    assert labels["C3-4"] == {3} and labels["C4-1"] == {4}
    assert labels["mimi"] == labels["moshi"] == {1} and labels["snac"] == labels["mini-omni"] == {6}
    assert labels["speechgpt-gen"] == {2} and labels["valle"] == {4}
    assert labels["19LA"] == labels["ITW"] == labels["NCSSD"] == {0}
    assert labels["single7"] == {7} and labels["multi8"] == {8, 9, 10, 11}
    names = [clip.name for clip in CONDITIONS[[row.name for row in CONDITIONS].index("voc")].clips(config)]
    assert names == ["ITW_0_2.wav", "ITW_0_3.wav", "flac_0_2", "flac_0_3"]  # ITW first, 19LA without extension


@pytest.mark.parametrize("place", ["moshi_again", "new/moshi", Path("new/moshi")])
def test_a_reader_takes_a_path_inside_data_root(corpus, tmp_path, place):
    shutil.copytree(corpus / "ALM/moshi", tmp_path / place)
    read = audio_folder(place)
    clips = read(Config(data_root=tmp_path), 1)
    assert [(clip.path.parent, clip.label) for clip in clips] == [(tmp_path / place, 1)] * 2
    assert read.flags == (("moshi_again",) if place == "moshi_again" else ())


def test_a_label_file_inside_data_root(corpus):
    read = label_file("eval_wav", "label/eval_id.txt")
    assert read(Config(data_root=corpus)) == label_file("eval_wav", "eval_label")(Config(data_root=corpus))
    assert read.flags == ("eval_wav",)


def test_condition_selects_and_refuses(corpus):
    config = Config(data_root=corpus, condition=("C4-3", "C3-1"))
    assert [row.name for row in select(config, "config", "source")] == ["C3-1", "C4-3"]
    with pytest.raises(InputError, match="--condition C4-3: expected all or some of moshi, mini-omni"):
        select(Config(condition=("C4-3", "moshi")), "alm")


def test_clips_are_deterministic_and_whole(corpus):
    clips = Clips(label_file("dev_wav", "dev_label")(Config(data_root=corpus)))
    position, wave, label = clips[5]
    assert position == 5 and wave.shape == (64_600,) and label == 5
    assert (wave == clips[5][1]).all()


@pytest.fixture
def damaged(corpus, tmp_path):
    """A function that gives a copy of the corpus's configuration with a replaced training label file."""
    shutil.copytree(corpus, tmp_path / "corpus")
    config = Config(data_root=tmp_path / "corpus")

    def replace(text, encoding="utf-8"):
        config.train_label.write_bytes(text.encode(encoding))
        return config

    return replace


GOOD = "train_0_0.wav real 0\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD + "train_1_0.flac 1\n", ":2 reads 'train_1_0.flac 1', expected FILE real|fake CLASS"),
        (GOOD + "train_1_0.flac fake 1 x\n", ":2 reads 'train_1_0.flac fake 1 x', expected FILE real|fake CLASS"),
        (GOOD + "\ntrain_1_0.flac fake 7\n", ":3 gives train_1_0.flac the class 7, expected 0 to 6"),
        (GOOD + "train_1_0.flac fake -1\n", ":2 gives train_1_0.flac the class -1, expected 0 to 6"),
        (GOOD + "train_1_0.flac fake one\n", ":2 gives train_1_0.flac the class one, expected 0 to 6"),
        (GOOD + GOOD, ":2 names train_0_0.wav again, first named by {label}:1: keep one line"),
        ("\n \n", " holds no line"),
    ],
)
def test_a_broken_label_line_is_named(damaged, text, line):
    config = damaged(text)
    with pytest.raises(InputError) as caught:
        label_file("train_wav", "train_label")(config)
    assert str(caught.value) == f"{config.train_label}{line.format(label=config.train_label)}"


def test_label_files_with_blanks_in_names_byte_order_marks_and_windows_line_ends(damaged):
    clips = label_file("train_wav", "train_label")(damaged("\ufeffa b.wav real 0\r\nc.wav fake 3\r\n"))
    assert [(clip.name, clip.label) for clip in clips] == [("a b.wav", 0), ("c.wav", 3)]


def test_a_label_file_that_is_no_text(damaged):
    with pytest.raises(InputError, match="is not a readable text file"):
        label_file("train_wav", "train_label")(damaged("train_ü.wav real 0\n", "latin-1"))


@pytest.mark.parametrize("label", ["1000", "99999999999999999999", "9" * 5000])
def test_a_class_of_the_unseen_codecs_is_a_number_that_fits(damaged, label):
    config = damaged(GOOD + f"train_1_0.flac fake {label}\n")
    with pytest.raises(InputError, match=rf":2 gives train_1_0.flac the class {label[:20]}.*, expected 0 to 999"):
        label_file("train_wav", "train_label", known=False)(config)


def test_names_with_folders(damaged):
    config = damaged("p1/a.wav real 0\np2/a.wav fake 1\n")
    clips = label_file("train_wav", "train_label")(config)
    (config.train_wav / "p1").mkdir()
    (config.train_wav / "p1/a.wav").touch()
    with pytest.raises(InputError) as caught:
        check_audio(clips)
    # Part of the corpus is there: --skip_missing must not pass over it.
    assert not isinstance(caught.value, MissingInput)
    assert f"{config.train_wav / 'p2/a.wav'}, named by {config.train_label}:2, does not exist" in str(caught.value)
    (config.train_wav / "p2").mkdir()
    (config.train_wav / "p2/a.wav").touch()
    check_audio(clips)
    shutil.rmtree(config.train_wav)
    with pytest.raises(MissingInput, match="is not a folder"):
        check_audio(clips)


def test_missing_audio_is_named_with_its_line(damaged):
    config = damaged(GOOD + "gone.wav fake 3\n")
    with pytest.raises(InputError) as caught:
        check_audio(label_file("train_wav", "train_label")(config))
    assert str(caught.value) == (
        f"{config.train_wav / 'gone.wav'}, named by {config.train_label}:2, does not exist"
        f" (1 of 2 files of {config.train_wav} are missing)"
    )


def test_protocol_lines_of_the_other_corpora(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    config = Config(data_root=tmp_path / "corpus")
    for path, text, condition, line in (
        (config.id_unseenreal_19_label, "LA_1 a - bonafide\n", "19LA", "expected SPEAKER NAME - SYSTEM bonafide|spoof"),
        (
            config.id_unseenreal_itw_label,
            "file,speaker,label\na.wav,B,real\n",
            "ITW",
            "expected FILE,SPEAKER,bona-fide",
        ),
    ):
        path.write_text(text)
        row = next(row for row in CONDITIONS if row.name == condition)
        with pytest.raises(InputError, match=line) as caught:
            row.clips(config)
        assert f"{path}:{len(text.splitlines())} reads" in str(caught.value)


def test_readers_of_quoted_csv_names(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    config = Config(data_root=tmp_path / "corpus")
    config.id_unseenreal_itw_label.write_text('file,speaker,label\na.wav,"Doe, Jane",bona-fide\n')
    clips = next(row for row in CONDITIONS if row.name == "ITW").clips(config)
    assert [clip.name for clip in clips] == ["a.wav"]


def test_configuration_survives_as_json(tmp_path):
    assert json.loads(Config(data_root=tmp_path).json_text())["train_wav"] == str(tmp_path / "train")


def test_class_names_come_from_the_corpus_if_it_has_any(tmp_path):
    config = Config(data_root=tmp_path)
    assert class_names(config) == list(CLASSES)
    (tmp_path / "manifest.json").write_text('{"classes": {"0": {"name": "real"}, "2": {"name": "rowan"}}}')
    assert class_names(config)[:4] == ["real", "class 1", "rowan", "class 3"] and len(class_names(config)) == 7
    (tmp_path / "manifest.json").write_text('{"classes": ["real"]}')
    with pytest.raises(InputError, match=r"manifest.json: classes is \['real'\], expected a valid dictionary"):
        class_names(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.wav real 3\n", ":1 calls x.wav real and gives it the class 3: only real speech is class 0"),
        ("x.wav fake 0\n", ":1 calls x.wav fake and gives it the class 0: only real speech is class 0"),
        ("x.wav real 0\n./x.wav real 0\n", ":2 names ./x.wav, the same file as x.wav in "),
        (f"x.wav fake {'0' * 5000}1\n", ":1 gives x.wav the class 000"),
    ],
)
def test_a_line_that_contradicts_itself_or_another_is_named(damaged, text, message):
    with pytest.raises(InputError) as caught:
        label_file("train_wav", "train_label")(damaged(text))
    assert message in str(caught.value) and len(str(caught.value)) < 2100


def test_a_pipe_is_no_label_file(damaged):
    config = damaged("")
    config.train_label.unlink()
    os.mkfifo(config.train_label)
    with pytest.raises(InputError, match=r"train.txt is a pipe or a device, expected a file"):
        label_file("train_wav", "train_label")(config)


def test_a_field_without_end_is_named(corpus, tmp_path):
    meta = tmp_path / "meta.csv"
    meta.write_text(f"file,speaker,label\n{'x' * 200_000},a,bona-fide\n")
    with pytest.raises(InputError, match=r"meta.csv:2 is not a line of CSV \(field larger than field limit"):
        next(row for row in CONDITIONS if row.name == "ITW").clips(
            Config(data_root=corpus, id_unseenreal_itw_label=meta)
        )
