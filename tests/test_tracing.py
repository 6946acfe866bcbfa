"""Tracing: score files and embeddings under every condition, the same from any number of processes."""

import os
import shutil
import sys

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT, run_script

import ood_detector_e2e
import source_tracing_id
import source_tracing_id_other
import source_tracing_ood
from config import Config
from data.conditions import CONDITIONS
from errors import InputError, MissingInput


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
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_write_the_bytes_of_one(corpus, trained, tmp_path, processes):
    script, environment = ROOT / "source_tracing_id.py", os.environ | {"OMP_NUM_THREADS": "1"}  # as torchrun sets it
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", processes, script]
    for command, out in (([script], "one"), (launch, "more")):
        finished = run_script(*command, *flags(corpus, trained, tmp_path / out), env=environment)
        assert finished.returncode == 0, finished.stderr[-3000:]
    for name in ("result/result_id.txt", "save_feats/evaldict_id.pt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "more" / name).read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_batches_from_workers_keep_few_files_open():
    from tracing import infer, make_accelerator

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


def test_bad_audio_writes_no_score_file(corpus, trained, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    path = tmp_path / "corpus/eval_id/eval_id_2_1.wav"
    soundfile.write(path, np.full(1000, np.inf, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN or infinite"):
        source_tracing_id.main(flags(tmp_path / "corpus", trained, tmp_path))
    assert not (tmp_path / "result").exists() and not (tmp_path / "save_feats").exists()


def test_a_clip_that_gives_no_number_is_named(corpus, trained, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    path = tmp_path / "corpus/eval_id/eval_id_2_1.wav"
    soundfile.write(path, np.full(1000, 1e25, np.float32), 16_000, subtype="FLOAT")  # its power is infinite
    with pytest.raises(InputError) as caught:
        source_tracing_id.main(flags(tmp_path / "corpus", trained, tmp_path))
    assert f"({path}) is not finite, like 1 of 14: check those clips" in str(caught.value)
    assert not (tmp_path / "result").exists() and not (tmp_path / "save_feats").exists()


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
