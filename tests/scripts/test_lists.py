"""A corpus of the user's own as lists, through the scripts: from training to the verdict on a file."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
from helpers import ROOT
from helpers.lists import make_files, write_table

import audit_shortcuts
import calibrate
import check_data
import evaluate_enrolment
import evaluate_id_f1
import evaluate_open_set
import main_train
import ood_detector_e2e
import predict
import report
import source_tracing_id
import source_tracing_ood
from config import Config
from data.conditions import CONDITIONS, UNSEEN
from utils.errors import InputError, MissingInput

LABELS = ("real", "aac", "encodec", "mp3", "opus")  # in the order of the classes
PARTS = {"train": 2, "dev": 4, "test": 2}
QUICK = ["--num_workers", "0", "--batch_size", "5"]


def write_tone(path, pitch, rng, seconds=0.3):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(16_000 * seconds)) / 16_000
    wave = 0.2 * np.sin(2 * np.pi * (300 + 500 * pitch) * time) + 0.02 * rng.standard_normal(len(time))
    soundfile.write(path, wave, 16_000)


def write_list(folder, labels=LABELS, name="clips.csv", unseen=("lyra", "spear")):
    """A CSV of clips with a column `split`, and its audio; two classes are only in the test."""
    rng = np.random.default_rng(1)
    rows = []
    for part, count in PARTS.items():
        for pitch, label in enumerate((*labels, *(unseen if part == "test" else ()))):
            for number in range(count):
                file = f"{part}/{label}_{number}.wav"
                write_tone(folder / file, pitch, rng)
                rows.append((file, label, f"speaker {number}", part))
    with open(folder / name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label", "speaker", "split"), *rows])
    return folder / name


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with clips.csv of five classes, and a mel-LCNN that was trained on it and has traced it."""
    folder = tmp_path_factory.mktemp("own")
    clips = ["--train_list", str(write_list(folder))]
    main_train.main([*clips, "--model", "mellcnn", "-o", str(folder / "model"), "--num_epochs", "1", *QUICK])
    folders = ["--model_folder", folder / "model", "--result", folder / "result", "--save_feats", folder / "feats"]
    folders = [str(part) for part in folders]
    source_tracing_id.main([*clips, *folders, *QUICK])
    source_tracing_ood.main([*clips, *folders, *QUICK])
    return folder, clips, folders


def test_the_names_travel_from_the_list_to_the_verdict(own, capsys):
    folder, clips, folders = own
    result = folder / "result"
    assert json.loads((folder / "model/args.json").read_text())["classes"] == list(LABELS)
    written = {"classes": list(LABELS), "corpus": None, "lists": {"train_list": clips[1]}}
    assert json.loads((result / "classes.json").read_text()) == written
    capsys.readouterr()
    evaluate_id_f1.main([*clips, "--result", str(result), "--json", str(folder / "f1.json")])
    metrics = json.loads((folder / "f1.json").read_text())
    assert metrics["classes"] == list(LABELS) and metrics["files"] == 2 * len(LABELS) and not metrics["paper"]
    printed = capsys.readouterr().out
    assert f"{folder / 'clips.csv'}: 4 test clips are of classes that training lacks: lyra, spear" in printed
    assert [line.split()[1] for line in printed.splitlines() if line[:1].isdecimal()] == list(LABELS)

    calibrate.main([*folders[:2], *folders[4:], "--tpr", "0.8", "--ood_detector_name", "knn"])
    assert json.loads((folder / "model/calibration.json").read_text())["class_names"] == list(LABELS)
    clip = str(folder / "test/mp3_0.wav")
    predict.main([clip, *folders[:2], "--num_workers", "0", "--json", str(folder / "verdict.json")])
    [file] = json.loads((folder / "verdict.json").read_text())["files"]
    assert list(file["probabilities"]) == list(LABELS)

    capsys.readouterr()
    evaluate_open_set.main([*clips, *folders, "--json", str(folder / "open_set.json")])
    assert json.loads((folder / "open_set.json").read_text())["clips"] == {"known": 10, "unseen": 4}
    assert "skipped" not in capsys.readouterr().out  # no condition of ST-Codecfake is looked for
    report.main([*clips, *folders, "--ood_detector_name", "knn"])
    content = json.loads((result / "report.json").read_text())
    assert content["evaluations"]["id_f1"]["classes"] == list(LABELS)
    assert content["evaluations"]["ood"]["clips"]["unseen"] == 4


def test_the_unseen_classes_of_a_list_follow_the_known_ones(own):
    folder, clips, folders = own
    config = Config(eval_list=folder / "clips.csv", class_names=LABELS)
    labels = [clip.label for clip in UNSEEN.clips(config)]
    assert labels == [5, 5, 6, 6]
    detected = folder / "detection.json"
    ood_detector_e2e.main([*clips, *folders[2:], "--ood_detector_name", "msp", "--json", str(detected)])
    assert json.loads(detected.read_text())["clips"] == {"train": 10, "known": 10, "unseen": 4}


def test_a_test_list_suffices_where_the_model_names_the_classes(own, tmp_path):
    folder, _, folders = own
    flags = ["--eval_list", str(folder / "clips.csv"), *folders[:4], "--save_feats", str(tmp_path), *QUICK]
    source_tracing_id.main([*flags, "--result", str(tmp_path)])
    assert (tmp_path / "result_id.txt").read_bytes() == (folder / "result/result_id.txt").read_bytes()
    outputs = ["--json", str(tmp_path / "audit.json"), "--treatment", "none", "--resamples", "0"]
    audit_shortcuts.main([*flags, *outputs])
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert {row["class"] for row in audit["measures"]} == set(LABELS) and audit["treatments"][0]["clips"] == 10
    enrolment = ["--save_feats", folders[-1], "--k", "1", "--draws", "2", "--json", str(tmp_path / "enrolment.json")]
    evaluate_enrolment.main(enrolment)
    assert json.loads((tmp_path / "enrolment.json").read_text())["classes"] == [5, 6]


def test_lists_need_not_be_given_again(own, tmp_path, capsys, monkeypatch):
    """Tracing takes them from the run of the model, evaluation from what tracing wrote; other flags stay in force."""
    folder, clips, folders = own
    monkeypatch.chdir(tmp_path)
    again = [*folders[:2], "--result", "again", "--save_feats", "feats"]
    source_tracing_id.main([*again, *QUICK])
    printed = capsys.readouterr().out
    assert f"no corpus is given, so that of {folder / 'model'} is used: --train_list {clips[1]}\n" in printed
    assert (tmp_path / "again/result_id.txt").read_bytes() == (folder / "result/result_id.txt").read_bytes()
    source_tracing_ood.main([*again, *QUICK])
    evaluate_id_f1.main(["--result", "again", "--json", "f1.json"])
    assert f"no corpus is given, so that of again is used: --train_list {clips[1]}\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "f1.json").read_text())["files"] == 2 * len(LABELS)
    ood_detector_e2e.main([*again[2:], "--ood_detector_name", "msp", "--json", "ood.json"])
    assert json.loads((tmp_path / "ood.json").read_text())["clips"]["unseen"] == 4
    with pytest.raises(MissingInput, match=r"elsewhere/label/eval_id\.txt does not exist"):
        source_tracing_id.main([*again, "--data_root", "elsewhere", *QUICK])


def test_lists_that_are_gone_are_named(tmp_path):
    sidecar = {"classes": list(LABELS), "corpus": None, "lists": {"eval_list": "gone.csv", "eval_rows": "page=a,b"}}
    (tmp_path / "classes.json").write_text(json.dumps(sidecar))
    place = f"{tmp_path} is of --eval_list gone.csv --eval_rows page=a,b, which does not exist: "
    with pytest.raises(MissingInput) as caught:
        evaluate_id_f1.main(["--result", str(tmp_path)])
    assert str(caught.value) == f"{place}give --eval_list, or a --data_root"


@pytest.mark.parametrize("lists", [{"train_list": 5}, {"list_audio": "a"}, {"data_root": "a"}, {"train_list": ["a"]}])
def test_damaged_lists_beside_score_files_are_named(lists, tmp_path):
    [(name, value)] = lists.items()
    (tmp_path / "classes.json").write_text(json.dumps({"classes": list(LABELS), "corpus": None, "lists": lists}))
    with pytest.raises(InputError) as caught:
        evaluate_id_f1.main(["--result", str(tmp_path)])
    place = f"{tmp_path} names its lists by {name}: {value!r}, which is no flag of lists: trace again"
    assert str(caught.value) == place


def test_a_corpus_of_lists_is_checked(own, tmp_path, capsys):
    clips = own[1]
    flags = ["--check_folder", str(tmp_path / "c"), "--num_workers", "0"]
    check_data.main([*clips, *flags, "--condition", "train", "dev", "id", "unseen"])
    assert "findings that count as wrong: 0, in 44 files" in capsys.readouterr().out


# ---- which lines are for what ----------------------------------------------------------------------------------------

TRAIN, DEV, TEST = (row for row in CONDITIONS if row.suite in ("train", "dev", "id"))


PAGES = "file,label,page\n" + "".join(
    f"{label}{page}.wav,{label},p{page}\n" for page in "123" for label in ("real", "a")
)


def names_of(condition, **flags):
    return [clip.name for clip in condition.clips(Config(**flags))]


def test_one_list_is_split_by_a_column_of_the_user(tmp_path):
    flags = {"train_list": write_table(tmp_path, PAGES), "dev_rows": "page=p2", "eval_rows": "page=p3"}
    assert names_of(TRAIN, **flags) == ["real1.wav", "a1.wav"]
    assert names_of(DEV, **flags) == ["real2.wav", "a2.wav"]
    assert names_of(TEST, **flags) == ["real3.wav", "a3.wav"]
    flags["dev_rows"] = flags["eval_rows"] = "page=p2,p3"
    assert names_of(TRAIN, **flags) == ["real1.wav", "a1.wav"] and len(names_of(DEV, **flags)) == 4


def test_a_class_of_held_out_lines_only_is_left_out(tmp_path, capsys):
    table = write_table(tmp_path, PAGES + "b2.wav,b,p2\nc3.wav,c,p3\n")
    flags = {"train_list": table, "dev_rows": "page=p2", "eval_rows": "page=p3"}
    assert names_of(DEV, **flags) == ["real2.wav", "a2.wav"]
    assert names_of(TEST, **flags) == ["real3.wav", "a3.wav"] and names_of(UNSEEN, **flags) == ["c3.wav"]
    kinds = {"development": "b", "test": "c"}
    lines = [f"{table}: 1 {kind} clips are of classes that training lacks: {name}" for kind, name in kinds.items()]
    assert capsys.readouterr().out.splitlines() == lines


def test_lists_of_their_own_are_taken_whole(tmp_path):
    train = write_table(tmp_path, "file,label\n1.wav,real\n2.wav,a\n")
    dev = write_table(tmp_path, "file,label\n3.wav,a\n", "dev.csv")
    test = write_table(tmp_path, "label\tfile\na\t4.wav\nb\t5.wav\n", "test.tsv")
    flags = {"train_list": train, "dev_list": dev, "eval_list": test}
    assert [names_of(row, **flags) for row in (TRAIN, DEV, TEST)] == [["1.wav", "2.wav"], ["3.wav"], ["4.wav"]]
    assert names_of(UNSEEN, **flags) == ["5.wav"]


def test_words_for_the_split_are_those_that_people_use(tmp_path):
    text = "file,label,split\n1.wav,real,Train\n2.wav,a,training\n3.wav,a,validation\n4.wav,real,TEST\n"
    flags = {"train_list": write_table(tmp_path, text)}
    assert [names_of(row, **flags) for row in (TRAIN, DEV, TEST)] == [["1.wav", "2.wav"], ["3.wav"], ["4.wav"]]


def test_a_folder_with_a_subfolder_for_each_class_is_a_list(tmp_path):
    make_files(tmp_path, "train/real/b.wav", "train/real/x/a.flac", "train/Aac/c.wav", "train/real/notes.txt")
    make_files(tmp_path, "dev/real/a.wav")
    flags = {"train_list": tmp_path / "train", "dev_list": tmp_path / "dev"}
    clips = TRAIN.clips(Config(**flags))
    assert [(clip.name, clip.label) for clip in clips] == [("Aac/c.wav", 1), ("real/b.wav", 0), ("real/x/a.flac", 0)]
    assert names_of(DEV, **flags) == ["real/a.wav"]
    with pytest.raises(InputError, match=r"dev/real has no subfolder with audio files: expected a subfolder for each"):
        names_of(DEV, **flags | {"dev_list": tmp_path / "dev/real"})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"dev_rows": "page"}, "--dev_rows page: expected COLUMN=VALUE or COLUMN=VALUE,VALUE"),
        ({"dev_rows": "site=p1"}, "--dev_rows site=p1: {} has no column site, expected one of file, label, page"),
        ({"dev_rows": "page=p1,p9"}, "--dev_rows page=p1,p9: no line of {} has p9 in the column page"),
        (
            {},
            "{} has no column split, so nothing says which of its lines are for dev: give --dev_rows, or another list"
            " as --dev_list",
        ),
        ({"num_classes": 7}, "{} has 2 classes, but --num_classes is 7: leave it out"),
        ({"class_names": ("real", "b")}, "{}:3 gives a1.wav the label a, which the model lacks: expected real, b"),
    ],
)
def test_a_rule_that_does_not_fit_is_named(tmp_path, flags, message):
    table = write_table(tmp_path, PAGES)
    config = Config(train_list=table, **flags)
    with pytest.raises(InputError) as caught:
        TRAIN.clips(config)
        DEV.clips(config)
    assert str(caught.value) == message.format(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.wav,real\n2.wav,real\n", " has only the class real, expected two or more"),
        ("file,label\n1.wav,real\n2.wav,a\n1.wav,a\n", ":4 names 1.wav again, first named by {}:2: keep one line"),
        ("file,label\n1.wav,real\n2.wav\n", ":3 has 1 fields, expected 2: keep the place of an empty field"),
        (
            "file,label\n1.wav,real\n,a\n3.wav\n",
            ":4 has 1 fields, expected 2: keep the place of an empty field (2 lines cannot be used)",
        ),
        (
            "file,label\n1.wav,real\na,b.wav,a\n",
            ":3 has 3 fields, expected 2: put quotes around a field that holds ','",
        ),
        ("file,label,label\n1.wav,real,x\n", ":1 has the column label twice: rename one of them"),
        ('[{"file": "1.wav", "label": "real"}]', ":1 begins a JSON array, expected JSONL: one JSON object a line"),
        ("name,label\n1.wav,real\n", ":1 has no column file: expected file and label, found name, label"),
        ('{"file": "1.wav", "label": "real"}\n[1]\n', ":2 holds '[1]', expected a JSON object"),
        (
            '{"file": "1.wav", "label": "real"}\n{"file"}\n',
            ":2 is not JSON: Expecting ':' delimiter: line 1 column 8 (char 7)",
        ),
        (
            "file,label,split\n1.wav,real,dev\n2.wav,a,fold 1\n",
            " has no line for train: its column split holds dev, fold 1, expected train or training",
        ),
        ('file,label\n1.wav,real\n2.wav,"a\nb"\n', ":4 has the label 'a\\nb', expected printable text"),
        (b"file,label\n\xff\xe9.wav,real\n", None),
        ("", ":1 has no column file, label: expected file and label, found no text"),
    ],
)
def test_a_broken_list_is_refused_by_line(tmp_path, text, message):
    table = write_table(tmp_path, text)
    with pytest.raises(InputError) as caught:
        main_train.main(["--train_list", str(table), "--dev_list", str(table), "-o", str(tmp_path / "model")])
    expected = f"{table}{message}".replace("{}", str(table))
    assert str(caught.value) == expected if message else "is not a readable CSV file" in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_names_of_verdicts_are_no_classes(tmp_path):
    table = write_table(tmp_path, "file,label,split\n1.wav,real,train\n2.wav,cannot tell,train\n3.wav,real,dev\n")
    make_files(tmp_path, "1.wav", "2.wav", "3.wav")
    with pytest.raises(InputError) as caught:
        main_train.main(["--train_list", str(table), "--model", "mellcnn", "-o", str(tmp_path / "model")])
    assert str(caught.value) == ("the label cannot tell is also a verdict of predict.py that names no class: rename it")


def test_a_label_of_the_development_list_that_training_lacks_is_named_by_line(tmp_path):
    train = write_table(tmp_path, "file,label\n1.wav,real\n2.wav,a\n")
    dev = write_table(tmp_path, "file,label\n3.wav,a\n4.wav,b\n", "dev.csv")
    with pytest.raises(InputError) as caught:
        main_train.main(["--train_list", str(train), "--dev_list", str(dev)])
    assert str(caught.value) == f"{dev}:3 gives 4.wav the label b, which the model lacks: expected real, a"


def test_absent_lists_and_clips_are_named(tmp_path):
    with pytest.raises(MissingInput, match=r"none.csv does not exist: give a CSV, TSV or JSONL file, or a folder with"):
        names_of(TRAIN, train_list=tmp_path / "none.csv")
    with pytest.raises(MissingInput, match="there is no list of clips for train: give --train_list"):
        names_of(TRAIN, eval_list=write_table(tmp_path, PAGES), class_names=("real", "a"))
    with pytest.raises(InputError) as caught:
        main_train.main(["--train_list", str(tmp_path / "clips.csv"), "--dev_rows", "page=p2"])
    assert str(caught.value).startswith(
        f"{tmp_path / 'real1.wav'}, named by {tmp_path / 'clips.csv'}:2, does not exist"
    )


def test_audio_may_lie_in_other_folders(tmp_path):
    make_files(tmp_path, "audio/1/a.flac", "audio/2/b.flac", "lists/empty")
    table = write_table(tmp_path / "lists", "file,label\na,real\nb,a\n")
    clips = TRAIN.clips(Config(train_list=table, list_audio=(tmp_path / "audio/1", tmp_path / "audio/2")))
    assert [clip.path for clip in clips] == [tmp_path / "audio/1/a.flac", tmp_path / "audio/2/b.flac"]


def test_the_real_codecs_are_split_by_page():
    manifest = ROOT.parent / "shared/real_codecs/manifest.csv"
    if not manifest.is_file():
        pytest.skip("the development corpus of real codecs is not here")
    flags = {"train_list": manifest, "dev_rows": "page=page09", "eval_rows": "page=page14"}
    counts = [len(row.clips(Config(**flags))) for row in (TRAIN, TEST)]
    with open(manifest, newline="") as file:
        pages = [row["page"] for row in csv.DictReader(file)]
    assert counts[0] == sum(page not in ("page09", "page14") for page in pages) and counts[1] > 0


# ---- from a trained model --------------------------------------------------------------------------------------------


def train_from(own, tmp_path, labels, *more):
    folder = tmp_path / "other"
    table = write_list(folder, labels, unseen=())
    flags = ["--train_list", str(table), "-o", str(tmp_path / "model"), "--num_epochs", "1", *QUICK]
    main_train.main([*flags, "--init_from", str(own[0] / "model"), "--model", "mellcnn", *more])


@pytest.mark.parametrize(
    ("labels", "left"),
    [
        (("real", "lyra"), "took 42 of 44 tensors, left fc_mu.weight and fc_mu.bias: it has the classes"),
        ((*LABELS[:4], "spear"), "took 42 of 44 tensors, left fc_mu.weight and fc_mu.bias: it has the classes"),
        (LABELS, "took 44 of 44 tensors"),
    ],
)
def test_training_starts_from_a_trained_model(own, tmp_path, capsys, labels, left):
    train_from(own, tmp_path, labels, "--lr", "0")
    names = f" {', '.join(LABELS)}" if "left" in left else ""
    assert f"{own[0] / 'model/anti-spoofing_feat_model.pt'}: {left}{names}\n" in capsys.readouterr().out
    states = [torch.load(path / "anti-spoofing_feat_model.pt") for path in (own[0] / "model", tmp_path / "model")]
    same = [name for name in states[0] if torch.equal(states[0][name], states[1].get(name, torch.zeros(0)))]
    learned = [name for name in states[0] if "running" not in name and "num_batches" not in name]
    assert set(learned) - set(same) == ({"fc_mu.weight", "fc_mu.bias"} if "left" in left else set())


def test_weights_of_another_model_are_refused(own, tmp_path):
    with pytest.raises(InputError, match="holds the weights of --model mellcnn, not of fingerprint: pass"):
        train_from(own, tmp_path, LABELS, "--model", "fingerprint")
    with pytest.raises(MissingInput, match=r"none/anti-spoofing_feat_model.pt does not exist"):
        train_from(own, tmp_path / "x", LABELS, "--init_from", str(tmp_path / "none"))
