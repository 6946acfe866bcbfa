"""The scripts of the taxonomy system, on a small corpus: lists -> training -> tracing -> evaluation, and bad input."""

import gzip
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FIXTURES, TAXONOMY_CODECS, run_script, shared

import evaluate_taxonomy
import main_train_taxonomy
import source_tracing_taxonomy
from config_taxonomy import TaxonomyConfig
from data.taxonomy import CORS, TAXONOMY_CLASSES, read_codecs
from data.taxonomy_protocols import read_list, with_audio
from demo import make_taxonomy as make_demo_taxonomy
from utils.errors import InputError, MissingInput

FAIRSEQ = FIXTURES / "xlsr/tiny_xlsr_cfg_dict.pt"
SMALL_SAST = ("--model", "SASTNet", "--size", "small", "--no_pretrained")


@pytest.fixture(scope="module")
def corpus(taxonomy_corpus):
    return taxonomy_corpus


def flags(corpus, *more):
    return ["--data_root", str(corpus), "--num_workers", "0", "--SSL_path", "tiny-random", *map(str, more)]


@pytest.fixture(scope="module")
def m1(corpus, tmp_path_factory):
    """The folder of an M1 after one epoch."""
    folder = tmp_path_factory.mktemp("m1") / "model"
    main_train_taxonomy.main(flags(corpus, "--model_type", "M1", "--num_epochs", 1, "--lr", 1e-4, "-o", folder))
    return folder


@pytest.fixture(scope="module")
def sast(corpus, tmp_path_factory):
    """The folder of a small SASTNet after one epoch."""
    folder = tmp_path_factory.mktemp("sast") / "model"
    main_train_taxonomy.main(flags(corpus, *SMALL_SAST, "--task", "VQ", "--num_epochs", 1, "-o", folder))
    return folder


def trace(corpus, model, result, *more):
    source_tracing_taxonomy.main(flags(corpus, "--model_path", model, "--result", result, *more))
    return {path.name: path.read_text().splitlines() for path in (result / "taxonomy").iterdir()}


# ---- the way of the data ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_m1_from_training_to_figures(corpus, m1, tmp_path, capsys):
    row = json.loads((m1 / "log.jsonl").read_text())
    assert {"dev_loss", *(f"dev_accuracy_{task}" for task in TAXONOMY_CLASSES)} < row.keys()
    run = json.loads((m1 / "args.json").read_text())
    assert run["config"]["model_type"] == "M1" and len(run["data"]) == 2

    scores = trace(corpus, m1, tmp_path)
    assert "W2V2AASIST M1" in capsys.readouterr().out
    names = [line.split()[1] for line in (corpus / "metadata/evaluation/CoRS_ALL.txt").read_text().splitlines()]
    assert set(scores) == {f"{task}_score.txt" for task in TAXONOMY_CLASSES}
    for task, lines in ((name.partition("_")[0], lines) for name, lines in scores.items()):
        assert [line.split()[0] for line in lines] == names
        values = np.array([line.split()[1:] for line in lines], dtype=float)
        assert values.shape == (8, 1 if task == "bin" else len(TAXONOMY_CLASSES[task]))
        assert task == "bin" or np.allclose(values.sum(axis=1), 1, atol=1e-6)

    evaluate_taxonomy.main(flags(corpus, "--result", tmp_path, "--json", tmp_path / "figures.json"))
    written = json.loads((tmp_path / "figures.json").read_text())
    figures, files = written["tasks"], [Path(name) for name in written["measured_of"]["files"]]
    assert {path.name for path in files} == {*(f"{task}_score.txt" for task in TAXONOMY_CLASSES), "CoRS_ALL.txt"}
    assert all((tmp_path / path).is_file() for path in files)
    assert set(figures) == set(TAXONOMY_CLASSES)
    assert figures["bin"]["bonafide"] == figures["bin"]["spoof"] == 4
    assert np.sum(figures["vq"]["confusion"]) == 8
    for task, name in (("bin", "eer"), ("vq", "macro_f1"), ("dec", "weighted_f1")):
        low, high = figures[task][f"{name}_interval"]
        assert 0 <= low <= figures[task][name] <= high <= 100
    assert figures["aux"]["class_f1_interval"].keys() == figures["aux"]["class_f1"].keys()
    out = capsys.readouterr().out
    assert "BIN (8 files): EER" in out and "weighted" in out and "1000 resamples, files of one speaker together" in out


def test_generators_are_traced_under_their_system(corpus, m1, tmp_path):
    scores = trace(corpus, m1, tmp_path, "--dataset_type", "CoSG")
    assert [line.split()[0] for line in scores["vq_score.txt"]] == ["VALLE/a", "VALLE/b", "NS3/a"]


@pytest.mark.parametrize("kind, what", [("bonafide", "bona fide"), ("spoof", "spoofed")])
def test_a_list_of_one_side_alone_has_no_eer(kind, what, corpus, m1, tmp_path, capsys):
    whole = (corpus / "metadata/evaluation/CoSG_ALL.txt").read_text().splitlines(keepends=True)
    (tmp_path / "list.txt").write_text("".join(line for line in whole if line.split()[-1] == kind))
    more = ("--dataset_type", "CoSG", "--eval_list", tmp_path / "list.txt")
    trace(corpus, m1, tmp_path, *more)
    evaluate_taxonomy.main(flags(corpus, "--result", tmp_path, *more, "--json", tmp_path / "out.json"))
    tasks = json.loads((tmp_path / "out.json").read_text())["tasks"]
    assert tasks["bin"].keys() == {"scores", "files", "bonafide", "spoof"} and "macro_f1" in tasks["vq"]
    assert f"files): no EER, as all are {what}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_sastnet_from_training_to_figures(corpus, sast, tmp_path, capsys):
    assert not any(name.startswith("whisper.") for name in torch.load(sast / "anti-spoofing_feat_model.pt"))
    state = torch.load(sast / "last/state.pt", weights_only=True)
    assert (state["objective"]["params"] - 1).abs().min() > 0  # the weights of the losses are trained and kept
    scores = trace(corpus, sast, tmp_path)
    assert "SASTNet VQ" in capsys.readouterr().out
    assert set(scores) == {"vq_score.txt"} and len(scores["vq_score.txt"][0].split()) == 5
    assert trace(corpus, sast, tmp_path / "again") == scores
    shuffled = trace(corpus, sast, tmp_path / "shuffled", "--mae_order", "random")
    assert shuffled != scores
    evaluate_taxonomy.main(flags(corpus, "--result", tmp_path, "--json", tmp_path / "figures.json"))
    assert set(json.loads((tmp_path / "figures.json").read_text())["tasks"]) == {"vq"}


@pytest.mark.slow
def test_training_again_gives_the_same_weights(corpus, sast, tmp_path):
    main_train_taxonomy.main(flags(corpus, *SMALL_SAST, "--task", "VQ", "--num_epochs", 1, "-o", tmp_path / "again"))
    name = "anti-spoofing_feat_model.pt"
    assert (tmp_path / "again" / name).read_bytes() == (sast / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [("--model_type", "M2", "--learnable_weights"), (*SMALL_SAST, "--task", "DEC")])
def test_a_resumed_run_equals_an_uninterrupted_one(recipe, corpus, tmp_path):
    # SASTNet's schedule depends on the number of epochs, so the first half stops at a failing second epoch.
    common = flags(corpus, *recipe, "--lr", 1e-4, "--num_epochs", 2)
    main_train_taxonomy.main([*common, "-o", str(tmp_path / "whole")])
    with pytest.MonkeyPatch.context() as patch:
        from engine import training

        real, epochs = training.train_epoch, []

        def interrupted(*arguments):
            epochs.append(None)
            if len(epochs) == 2:
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(training, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main_train_taxonomy.main([*common, "-o", str(tmp_path / "parts")])
    main_train_taxonomy.main([*common, "-o", str(tmp_path / "parts"), "--continue_training"])
    whole, parts = (torch.load(tmp_path / name / "last/state.pt") for name in ("whole", "parts"))
    assert whole["history"] == parts["history"]
    for kind in ("model", "objective"):
        assert all(torch.equal(value, parts[kind][name]) for name, value in whole[kind].items())


def test_rawboost_changes_training_alone(corpus, tmp_path, monkeypatch):
    from engine import training

    seen = {}

    def train_model(config, description, setup, accelerator):
        seen.update(train=setup.train[0][1], dev=setup.dev[0][1], label=setup.dev[0][2])

    monkeypatch.setattr(training, "train_model", train_model)
    heard = []
    for algorithm, more in ((0, ()), (5, ()), (5, ("--augment_dev",))):
        main_train_taxonomy.main(flags(corpus, "--algo", algorithm, "-o", tmp_path / "none", *more))
        heard.append(dict(seen))
    assert not torch.equal(heard[0]["train"], heard[1]["train"])
    assert torch.equal(heard[0]["dev"], heard[1]["dev"])
    assert not torch.equal(heard[1]["dev"], heard[2]["dev"])


def test_each_of_several_seeds_has_a_run_of_its_own(corpus, tmp_path, monkeypatch):
    from engine import training

    runs = []

    def train_model(config, description, setup, accelerator):
        weights = next(setup.model.parameters()).detach().clone()
        runs.append((config.out_fold, config.seed, description["config"]["seed"], weights))

    monkeypatch.setattr(training, "train_model", train_model)
    main_train_taxonomy.main(flags(corpus, "-o", tmp_path / "model", "--seeds", 1, 2))
    assert [run[:3] for run in runs] == [(tmp_path / f"model/seed-{seed}", seed, seed) for seed in (1, 2)]
    assert not torch.equal(runs[0][3], runs[1][3])


# ---- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task, expected", [("AUX", 54.76870489396758), ("VQ", 55.66517189835575)])
def test_the_published_score_file(task, expected, tmp_path):
    path = shared("fixtures/codecfake_plus/metrics/real_SASTNet_AUX_CoSG_partial_scores.txt")
    lists = tmp_path / "CoSG_SEEN.txt"
    lists.write_bytes(gzip.decompress((FIXTURES / "taxonomy/CoSG_SEEN.txt.gz").read_bytes()))
    call = ["--dataset_type", "CoSG", "--eval_list", str(lists), "--task", task, "--score_file", str(path)]
    with pytest.raises(InputError, match=r"has no score of .* \(354 of 577 are missing\)"):
        evaluate_taxonomy.main(call)
    evaluate_taxonomy.main([*call, "--partial", "--json", str(tmp_path / "out.json")])
    figures = json.loads((tmp_path / "out.json").read_text())["tasks"][task.lower()]
    assert figures["files"] == 223 and figures["weighted_f1"] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("corpus_name, system", product(("CoRS", "CoSG"), ("w2v2", "sast")))
def test_figures_are_those_of_the_released_code(corpus_name, system, tmp_path):
    folder = shared("fixtures/codecfake_plus/metrics")
    expected = json.loads((folder / "expected.json").read_text())

    def evaluated(task, *more):
        path = folder / f"{corpus_name}_{system}_{task}_score.txt"
        call = ["--dataset_type", corpus_name, "--eval_list", folder / f"{corpus_name}_subset.txt", "--partial"]
        call += ["--task", "Bin" if task == "bin" else task.upper(), "--score_file", path]
        evaluate_taxonomy.main([*map(str, call), "--json", str(tmp_path / "out.json"), *more])
        return json.loads((tmp_path / "out.json").read_text())["tasks"][task]

    for task in ("aux", "dec", "vq"):
        due = expected[f"{corpus_name}_{system}_{task}"]
        figures = evaluated(task)
        assert figures["weighted_f1"] == pytest.approx(100 * due["f1_weighted"], abs=1e-10)
        assert figures["files"] == due["trials_used"]
    due, figures = expected[f"{corpus_name}_{system}_bin"], evaluated("bin")
    assert figures["eer"] == pytest.approx(100 * due.get("eer", due.get("eer_if_softmax_prob0")), abs=1e-10)
    if system == "sast":
        raw = evaluated("bin", "--bin_score", "logit")
        assert raw["eer"] == pytest.approx(100 * due["eer_original_raw_logit0"], abs=1e-10)
        assert raw["threshold"] == pytest.approx(due["threshold"], abs=1e-12)
    else:
        assert figures["threshold"] == pytest.approx(due["threshold"], abs=1e-12)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a 0.1\n", r":1 gives a 1 scores \(0\.1\), expected 3 finite ones of task DEC"),
        ("a 0.1 0.2 x\n", ":1 reads 'a 0.1 0.2 x', expected NAME SCORE"),
        ("a 0.1 0.2 1_0\n", ":1 reads 'a 0.1 0.2 1_0', expected NAME SCORE"),
        ("a 0.1 0.2 nan\n", r"expected 3 finite ones"),
        ("a 1 2 3\nb 1 2 3\na 1 2 3\n", ":3 scores a again"),
        ("\n", "holds no line"),
        ("a 1 2 3\n", "has no score of p22.*, named by"),
    ],
)
def test_a_broken_score_file_is_refused(text, message, corpus, tmp_path):
    path = tmp_path / "dec_score.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        evaluate_taxonomy.main(flags(corpus, "--result", tmp_path))


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more, message",
    [
        (("--list_dir", "nowhere"), r"nowhere/train_mult_learn\.txt does not exist"),
        (("--base_dir", "nowhere"), "nowhere is not a folder"),
        (("--model", "SASTNet", "--size", "small"), "--size small has no pretrained weights: pass --no_pretrained"),
        (
            ("--model", "SASTNet"),
            r"pretrained/mae_pretrained_base\.pth does not exist: it holds the weights of AudioMAE",
        ),
        (("--SSL_path", "nowhere.pt"), r"nowhere\.pt does not exist: give --SSL_path"),
    ],
)
def test_training_refuses_bad_input(more, message, corpus, tmp_path):
    with pytest.raises(InputError, match=message):
        main_train_taxonomy.main(flags(corpus, "-o", tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_written_over(corpus, m1):
    with pytest.raises(InputError, match="already holds a training run"):
        main_train_taxonomy.main(flags(corpus, "--model_type", "M1", "-o", m1))


def test_tracing_refuses_bad_input(corpus, sast, tmp_path):
    with pytest.raises(MissingInput, match=r"nothing\.pth does not exist"):
        trace(corpus, tmp_path / "nothing.pth", tmp_path)
    with pytest.raises(InputError, match="is of a run of --task VQ, not DEC"):
        trace(corpus, sast, tmp_path, "--task", "DEC")
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"holds the weights of none of the models W2V2AASIST, SASTNet \(it has a\)"):
        trace(corpus, tmp_path / "other.pth", tmp_path)
    with pytest.raises(MissingInput, match="run the source_tracing script first"):
        evaluate_taxonomy.main(flags(corpus, "--result", tmp_path))


SCRIPTS = ("main_train_taxonomy", "source_tracing_taxonomy", "evaluate_taxonomy", "make_taxonomy_lists")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick_and_complete(script):
    done = run_script("-X", "importtime", f"{script}.py", "--help")
    assert done.returncode == 0 and "--data_root" in done.stdout
    assert not {"torch", "numpy", "transformers"} & {
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
    }


def test_bad_flags_end_with_status_2():
    done = run_script("main_train_taxonomy.py", "--model_type", "M3")
    assert done.returncode == 2 and "invalid choice: 'M3'" in done.stderr
    done = run_script("evaluate_taxonomy.py", "--data_root", "nowhere")
    assert done.returncode == 2 and done.stderr.startswith(
        "error: nowhere/metadata/evaluation/CoRS_ALL.txt does not exist"
    )


def test_the_demo_corpus_in_the_layout_of_codecfake_plus(tmp_path):
    demo, root = tmp_path / "demo", tmp_path / "taxonomy"
    classes = {"0": {"name": "real"}}
    for label, codec in enumerate((("SEM", "FREQ", "MVQ"), ("none", "TIME", "SVQ"), ("Disent", "FREQ", "SQ")), 1):
        classes[str(label)] = {"name": f"tree{label}", **dict(zip(("AUX", "DEC", "VQ"), codec, strict=True))}
    for folder, labels in (("train", "012"), ("dev", "012"), ("eval_id", "012"), ("eval_ood", "3")):
        (demo / folder).mkdir(parents=True)
        for number, label in product(range(2), labels):
            (demo / folder / f"{number:04d}_{label}.wav").write_bytes(label.encode())
    with pytest.raises(InputError, match=r"manifest\.json cannot be read"):
        make_demo_taxonomy.main(["--demo_root", str(demo), "--data_root", str(root)])
    (demo / "manifest.json").write_text(json.dumps({"classes": classes}))
    for _ in range(2):  # again does no harm
        make_demo_taxonomy.main(["--demo_root", str(demo), "--data_root", str(root)])
    codecs = read_codecs(root / "metadata/codecs.txt")
    config = TaxonomyConfig(data_root=root)
    cors = with_audio(read_list(config.eval_list, "CoRS", config.base_dir, codecs))
    assert [(clip.name, *clip.label) for clip in cors[:3]] == [
        ("test_0000", 0, 0, 0, 0),
        ("test_0000_tree1", 1, 2, 2, 1),
        ("test_0000_tree2", 1, 1, 1, 2),
    ]
    assert all(clip.path.read_bytes() == str(kind % 3).encode() for kind, clip in enumerate(cors))
    config = TaxonomyConfig(data_root=root, dataset_type="CoSG")
    cosg = with_audio(read_list(config.eval_list, "CoSG", config.base_dir, codecs))
    assert [clip.name for clip in cosg] == [f"TREE3/{name}" for name in ("0000_3", "0001_3", "0000_0", "0001_0")]
    assert [tuple(clip.label) for clip in cosg] == [(1, 3, 2, 3)] * 2 + [(0, 0, 0, 0)] * 2
    train = read_list(config.list_dir / "train_mult_learn.txt", "CoRS", root, codecs)
    assert {clip.name.partition("_")[0] for clip in train} == {"train"}


def test_the_codecs_of_the_corpus_are_in_the_table():
    assert set(TAXONOMY_CODECS) <= set(CORS)
