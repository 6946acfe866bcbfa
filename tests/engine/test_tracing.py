"""Tracing: score files and embeddings under every condition, the same from any number of processes."""

import os
import re
import shutil
import sys

import numpy as np
import pytest
import soundfile
import torch
from helpers import ROOT, change_quietly, run_script
from helpers.launching import launch

import evaluate_id_f1
import ood_detector_e2e
import source_tracing_id
import source_tracing_id_other
import source_tracing_ood
from config import Config
from data.conditions import CONDITIONS
from engine.bad_audio import read_bad_audio
from models.building import build_model
from utils.errors import InputError, MissingInput


def flags(corpus, trained, out, *more):
    base = ["--data_root", corpus, "--model_folder", trained / "model", "--num_workers", "0", "--batch_size", "4"]
    return [str(part) for part in (*base, "--result", out / "result", "--save_feats", out / "save_feats", *more)]


def test_every_condition_writes_its_files(corpus, trained):
    config = Config(data_root=corpus)
    for condition in CONDITIONS:
        clips = condition.clips(config)
        names = [clip.name for clip in clips]
        if condition.result:
            lines = (trained / "result" / condition.result[0]).read_text().splitlines()
            assert [line.split()[0] for line in lines] == names, condition.name
            assert all(int(line.split()[1]) in range(7) for line in lines)
        if condition.features:
            saved = torch.load(trained / "save_feats" / condition.features, weights_only=True)
            assert saved["feas"].shape == (len(clips), 256) and saved["feas"].dtype == torch.float32
            assert saved["logits"].shape == (len(clips), 7)
            assert saved["labels"].tolist() == [clip.label for clip in clips]
            assert saved["labels"].dtype == torch.int64 and saved["names"] == names


def test_scores_are_the_softmax_of_the_saved_logits(trained):
    saved = torch.load(trained / "save_feats/evaldict_id.pt", weights_only=True)
    for line, logits in zip((trained / "result/result_id.txt").read_text().splitlines(), saved["logits"], strict=True):
        _, label, confidence = line.rsplit(" ", 2)
        assert int(label) == logits.argmax() and float(confidence) == logits.softmax(0).max().item()


def test_embeddings_and_head_give_the_logits(trained):
    saved = torch.load(trained / "save_feats/traindict.pt", weights_only=True)
    logits = saved["feas"] @ saved["head_weight"].T + saved["head_bias"]
    torch.testing.assert_close(logits, saved["logits"], atol=1e-5, rtol=1e-5)


def test_tracing_twice_gives_the_same_bytes(corpus, trained, tmp_path):
    for name in ("one", "two"):
        source_tracing_id.main(flags(corpus, trained, tmp_path / name))
    texts = [(tmp_path / name / "result/result_id.txt").read_bytes() for name in ("one", "two")]
    assert texts[0] == texts[1]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "processes"), [("torchrun", 2), ("torchrun", 3), ("accelerate", 2)])
def test_several_processes_write_the_bytes_of_one(corpus, trained, tmp_path, launcher, processes):
    script, environment = ROOT / "source_tracing_id.py", os.environ | {"OMP_NUM_THREADS": "1"}  # as torchrun sets it
    for command, out in (([script], "one"), ([*launch(launcher, processes), script], "more")):
        finished = run_script(*command, *flags(corpus, trained, tmp_path / out), env=environment)
        assert finished.returncode == 0, finished.stderr[-3000:]
    for name in ("result/result_id.txt", "save_feats/evaldict_id.pt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "more" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_gives_what_the_plain_one_gives(corpus, trained, tmp_path):
    source_tracing_id.main(flags(corpus, trained, tmp_path, "--compile"))
    plain, built = (torch.load(out / "save_feats/evaldict_id.pt", weights_only=True) for out in (trained, tmp_path))
    for name in ("feas", "logits"):
        torch.testing.assert_close(built[name], plain[name], atol=1e-4, rtol=1e-4)


def test_compiling_keeps_the_names_of_the_weights_and_needs_a_compiler(monkeypatch):
    from engine.inference import compile_model

    config = Config(model="mellcnn", compile=True)
    model = build_model(config)
    names = list(model.state_dict())
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="--compile needs a C\\+\\+ compiler, but no-such-compiler is not installed"):
        compile_model(model, config)
    monkeypatch.setenv("CXX", sys.executable)  # building begins with the first batch
    assert list(compile_model(model, config).state_dict()) == names


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_batches_from_workers_keep_few_files_open():
    from engine.inference import infer, make_accelerator

    config = Config(batch_size=1, num_workers=1)
    numbers = [(number, torch.zeros(1), 0) for number in range(100)]

    def model(wave):
        opened.append(len(os.listdir("/proc/self/fd")))
        return wave + 1, wave + 1

    opened, model.eval = [], lambda: None
    infer(model, numbers, config, make_accelerator(config), "numbers")
    assert max(opened) < min(opened) + 20


def test_a_subset_of_conditions(corpus, trained, tmp_path):
    source_tracing_id_other.main(flags(corpus, trained, tmp_path, "--condition", "C4-3", "ITW"))
    assert sorted(path.name for path in (tmp_path / "result").iterdir()) == [
        "classes.json",
        "result_C4-3.txt",
        "result_unseenreal_itw.txt",
    ]
    with pytest.raises(InputError, match="--condition C9-9: expected all or some of mimi, snac"):
        source_tracing_id_other.main(flags(corpus, trained, tmp_path, "--condition", "C9-9"))


def test_absent_corpora_stop_or_are_skipped(corpus, trained, tmp_path, capsys):
    shutil.copytree(corpus, tmp_path / "corpus")
    shutil.rmtree(tmp_path / "corpus/OOD_diff_config")
    shutil.rmtree(tmp_path / "corpus/ID_unseen_real")
    run = flags(tmp_path / "corpus", trained, tmp_path)
    with pytest.raises(MissingInput, match=r"does not exist.*\(condition voc; or pass --skip_missing\)"):
        source_tracing_ood.main(run)
    assert not (tmp_path / "save_feats").exists()
    source_tracing_ood.main([*run, "--skip_missing"])
    shown = capsys.readouterr().out
    assert "skipped voc: " in shown and "skipped diff_config: " in shown
    written = sorted(path.name for path in (tmp_path / "save_feats").iterdir())
    unseen = ["evaldict_ood7.pt", "evaldict_ood8.pt", "evaldict_ood_source.pt"]
    assert written == ["devdict.pt", *unseen, "traindict.pt"]


def written(out):
    """The files that tracing has written under `out`, without the parts that wait for it to go on."""
    paths = (path for folder in ("result", "save_feats") for path in (out / folder).rglob("*") if path.is_file())
    return sorted(path.name for path in paths if not path.parent.name.endswith(".parts"))


def test_a_stopped_run_goes_on_where_it_was(corpus, trained, tmp_path, monkeypatch, capsys):
    """Four batches; Ctrl-C after two. The third shard is damaged by hand: it is traced again, and nothing else."""
    from engine import inference

    run_batches, asked = inference.run_batches, []

    def interrupted(model, dataset, batches, *rest):
        asked.append(len(batches))
        for number, row in enumerate(run_batches(model, dataset, batches, *rest)):
            if len(asked) == 1 and number == 3:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr("engine.shards.SECONDS_BETWEEN_SHARDS", 0)  # a shard a batch
    monkeypatch.setattr("engine.inference.run_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        source_tracing_id.main(flags(corpus, trained, tmp_path))
    parts = tmp_path / "save_feats/.evaldict_id.parts"
    assert written(tmp_path) == [] and len(list(parts.glob("*.pt"))) == 3
    (parts / "00000002.pt").write_bytes(b"torn")
    source_tracing_id.main(flags(corpus, trained, tmp_path))
    assert asked == [4, 2] and "id: continues after 2 of 4 batches" in capsys.readouterr().out
    assert written(tmp_path) == ["classes.json", "evaldict_id.pt", "result_id.txt"] and not parts.exists()
    source_tracing_id.main(flags(corpus, trained, tmp_path / "whole"))
    for name in ("result/result_id.txt", "save_feats/evaldict_id.pt"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("change", ["weights", "audio", "batch_size"])
def test_parts_of_another_run_are_not_used(corpus, trained, tmp_path, monkeypatch, change):
    from engine import inference

    shutil.copytree(corpus, tmp_path / "corpus")
    shutil.copytree(trained / "model", tmp_path / "model")
    run = [*flags(tmp_path / "corpus", trained, tmp_path), "--model_folder", str(tmp_path / "model")]

    def stopped(*rest):
        yield from [row for row, _ in zip(run_batches(*rest), range(2), strict=False)]
        raise KeyboardInterrupt

    run_batches = inference.run_batches
    monkeypatch.setattr("engine.inference.run_batches", stopped)
    with pytest.raises(KeyboardInterrupt):
        source_tracing_id.main(run)
    monkeypatch.undo()
    if change == "weights":
        path = tmp_path / "model/anti-spoofing_feat_model.pt"
        state = torch.load(path, weights_only=True)
        torch.save({name: 1.01 * value if name.endswith(".weight") else value for name, value in state.items()}, path)
    if change == "audio":
        change_quietly(tmp_path / "corpus/eval_id/eval_id_2_1.wav")
    more = ["--batch_size", "5"] if change == "batch_size" else []
    asked = []
    monkeypatch.setattr("engine.inference.run_batches", lambda *rest: asked.append(len(rest[2])) or run_batches(*rest))
    source_tracing_id.main([*run, *more])
    assert asked == [3 if more else 4]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.slow
def test_bad_audio_is_skipped_and_listed_on_demand(corpus, trained, tmp_path, capsys, workers):
    shutil.copytree(corpus, tmp_path / "corpus")
    folder, kinds = tmp_path / "corpus/eval_id", {}
    kinds["eval_id_0_0.wav"] = "does not exist"
    kinds["eval_id_2_1.wav"] = "is empty (0 bytes): copy or download it again"
    kinds["eval_id_4_0.wav"] = "the output of the model is not finite"
    (folder / "eval_id_0_0.wav").unlink()
    (folder / "eval_id_2_1.wav").write_bytes(b"")
    soundfile.write(folder / "eval_id_4_0.wav", np.full(1000, 1e25, np.float32), 16_000, subtype="FLOAT")
    run = flags(tmp_path / "corpus", trained, tmp_path, "--num_workers", workers)
    source_tracing_id.main([*run, "--on_bad_audio", "skip"])
    lines = [f"id,{name},{folder / name}{':' * ('output' in why)} {why}" for name, why in kinds.items()]
    listed = (tmp_path / "result/bad_audio.csv").read_text()
    assert listed.splitlines() == ["condition,file,reason", *lines]
    saved = torch.load(tmp_path / "save_feats/evaldict_id.pt", weights_only=True)
    names = [line.split()[0] for line in (tmp_path / "result/result_id.txt").read_text().splitlines()]
    assert len(names) == 11 and names == saved["names"] and not set(names) & kinds.keys()
    assert saved["feas"].isfinite().all() and len(saved["labels"]) == 11
    source_tracing_id_other.main([*run, "--condition", "mimi", "--on_bad_audio", "skip"])
    assert (tmp_path / "result/bad_audio.csv").read_text() == listed

    capsys.readouterr()
    evaluate_id_f1.main([*run, "--resamples", "0"])
    path = tmp_path / "result/bad_audio.csv"
    told = f"id: 3 files are not counted, because tracing could not use them; {path} lists them"
    shown = capsys.readouterr().out
    assert told in shown and re.search(r"macro +11 ", shown)
    with pytest.raises(InputError, match=r"eval_id_2_1\.wav is empty"):  # nothing is skipped unless it is asked for
        shutil.copy(corpus / "eval_id/eval_id_0_0.wav", folder)
        source_tracing_id.main(run)
    for name in kinds:
        shutil.copy(corpus / "eval_id" / name, folder)
    source_tracing_id.main(run)
    assert (tmp_path / "result/bad_audio.csv").read_text() == "condition,file,reason\n"
    evaluate_id_f1.main([*run, "--resamples", "0"])
    assert "not counted" not in capsys.readouterr().out


def test_a_corpus_that_is_bad_as_a_whole_is_an_error(corpus, trained, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    for path in (tmp_path / "corpus/ID_diff_source/NCSSD-mimi").iterdir():
        path.write_bytes(b"")
    run = flags(tmp_path / "corpus", trained, tmp_path, "--condition", "mimi", "--on_bad_audio", "skip")
    with pytest.raises(InputError, match=r"mimi: none of the 2 clips can be used; the first: .* is empty \(0 bytes\)"):
        source_tracing_id_other.main(run)
    assert written(tmp_path) == []


@pytest.mark.parametrize("content", ["", "condition,file\n", "condition,file,reason\nid,x\n"])
def test_a_damaged_list_of_bad_audio_is_named(tmp_path, content):
    (tmp_path / "bad_audio.csv").write_text(content)
    with pytest.raises(InputError, match=r"bad_audio.csv (is damaged|cannot be read)"):
        read_bad_audio(tmp_path)


def test_bad_audio_writes_no_score_file(corpus, trained, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    path = tmp_path / "corpus/eval_id/eval_id_2_1.wav"
    soundfile.write(path, np.full(1000, np.inf, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN or infinite"):
        source_tracing_id.main(flags(tmp_path / "corpus", trained, tmp_path))
    assert written(tmp_path) == []


def test_a_clip_that_gives_no_number_is_named(corpus, trained, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    path = tmp_path / "corpus/eval_id/eval_id_2_1.wav"
    soundfile.write(path, np.full(1000, 1e25, np.float32), 16_000, subtype="FLOAT")  # its power is infinite
    with pytest.raises(InputError) as caught:
        source_tracing_id.main(flags(tmp_path / "corpus", trained, tmp_path))
    assert f"({path}) is not finite; 1 of 14 clips have this problem: check their audio" in str(caught.value)
    assert written(tmp_path) == []


@pytest.mark.parametrize("flag", ["--result", "--save_feats"])
def test_a_folder_that_cannot_be_written_is_named_before_the_work(corpus, trained, tmp_path, flag):
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        source_tracing_id.main([*flags(corpus, trained, tmp_path), flag, str(tmp_path / "file/new")])
    assert str(caught.value) == f"{tmp_path / 'file/new'} cannot be written: {tmp_path / 'file'} is not a folder"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_missing_model_is_named(corpus, tmp_path):
    run = ["source_tracing_id.py", "--data_root", corpus, "--model_folder", tmp_path / "none", "--result", tmp_path]
    finished = run_script(*run)
    assert finished.returncode == 2 and "Traceback" not in finished.stderr
    assert str(tmp_path / "none/anti-spoofing_feat_model.pt") in finished.stderr


def test_ood_detection_reads_what_tracing_wrote(trained, capsys):
    ood_detector_e2e.main(["--save_feats", str(trained / "save_feats")])
    shown = capsys.readouterr().out
    for word in ("msp", "NSD", "single7", "diff_source"):
        assert word in shown
