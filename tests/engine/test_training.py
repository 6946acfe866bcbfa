"""Training: what it writes, resuming to the same weights, several processes, and refusals that write nothing."""

import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from helpers import ROOT, run_script
from helpers.launching import launch
from helpers.training import assert_same_weights, flags, weights

import main_train
from config import Config
from data.dataset import Clips
from data.protocols import label_file
from engine.inference import infer, make_accelerator
from engine.run_folder import is_best
from engine.training import epoch_loader
from models import xlsr
from models.building import load_model
from utils.errors import InputError


def test_what_a_run_writes(trained, corpus):
    folder = trained / "model"
    row = json.loads((folder / "log.jsonl").read_text())
    assert row.keys() == {"epoch", "train_loss", "dev_loss", "dev_macro_f1", "dev_accuracy", "lr"}
    assert_same_weights(folder / "anti-spoofing_feat_model.pt", folder / "checkpoint/anti-spoofing_feat_model_1.pt")
    run = json.loads((folder / "args.json").read_text())
    assert run["config"]["model"] == "mellcnn" and run["config"]["seed"] == 688
    assert run["versions"]["torch"].startswith("2.11") and len(run["data"]) == 2
    assert any((folder / "tensorboard").iterdir())
    assert not list(folder.rglob("*.part"))


def test_classes_without_a_training_clip_are_told(corpus, tmp_path, capsys):
    lines = (corpus / "label/train.txt").read_text().splitlines(keepends=True)
    (tmp_path / "train.txt").write_text("".join(line for line in lines if line.split()[2] in "0345"))
    main_train.main(flags(corpus, tmp_path / "model", "--train_label", tmp_path / "train.txt", "--num_epochs", 1))
    absent = "1 (mimi), 2 (speechtokenizer), 6 (snac)"
    assert f"no training clip is of class {absent}: the model cannot learn to name it\n" in capsys.readouterr().out


@pytest.mark.slow
def test_resuming_gives_the_weights_of_an_undisturbed_run(corpus, tmp_path):
    main_train.main(flags(corpus, tmp_path / "whole", "--num_epochs", 3, "--interval", 1))
    for epochs in (1, 3):
        again = ["--continue_training"] if epochs > 1 else []
        main_train.main(flags(corpus, tmp_path / "parts", "--num_epochs", epochs, "--interval", 1, *again))
    for name in ("anti-spoofing_feat_model.pt", *(f"checkpoint/anti-spoofing_feat_model_{n}.pt" for n in (1, 2, 3))):
        assert_same_weights(tmp_path / "whole" / name, tmp_path / "parts" / name)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1]
    rows = [json.loads(line) for line in logs[0].splitlines()]
    assert [row["lr"] for row in rows] == [5e-4, 2.5e-4, 1.25e-4]


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(corpus, tmp_path, trained):
    main_train.main(flags(corpus, tmp_path, "--num_epochs", 1, "--num_workers", 2))
    assert_same_weights(tmp_path / "anti-spoofing_feat_model.pt", trained / "model/anti-spoofing_feat_model.pt")


@pytest.mark.slow
def test_the_best_epoch_has_the_highest_macro_f1_where_best_by_says_so(corpus, tmp_path):
    main_train.main(flags(corpus, tmp_path, "--num_epochs", 4, "--lr", 0.02, "--best_by", "macro_f1"))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    best = 1 + int(np.argmax([row["dev_macro_f1"] for row in rows]))
    assert_same_weights(
        tmp_path / "anti-spoofing_feat_model.pt", tmp_path / f"checkpoint/anti-spoofing_feat_model_{best}.pt"
    )


@pytest.mark.parametrize(("best_by", "best"), [("loss", [1, 3]), ("macro_f1", [1, 2, 4])])
def test_only_a_better_epoch_takes_the_place_of_the_best(best_by, best):
    losses, f1s = (2.0, 2.5, 1.5, 1.5), (0.1, 0.3, 0.3, 0.4)
    history = [{"dev_loss": loss, "dev_macro_f1": f1} for loss, f1 in zip(losses, f1s, strict=True)]
    assert [epoch for epoch in (1, 2, 3, 4) if is_best(history[:epoch], best_by)] == best


@pytest.mark.slow
def test_mel_lcnn_learns_the_small_corpus(corpus, tmp_path):
    main_train.main(flags(corpus, tmp_path, "--num_epochs", 8))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert max(row["dev_macro_f1"] for row in rows) > 0.6
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 2


def test_an_existing_run_is_never_overwritten(corpus, trained):
    before = {path: path.read_bytes() for path in (trained / "model").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="already holds a training run"):
        main_train.main(flags(corpus, trained / "model"))
    assert before == {path: path.read_bytes() for path in (trained / "model").rglob("*") if path.is_file()}


def test_weights_of_others_are_never_overwritten(corpus, tmp_path):
    (tmp_path / "anti-spoofing_feat_model.pt").write_bytes(b"published")
    with pytest.raises(InputError, match="already holds a training run"):
        main_train.main(flags(corpus, tmp_path))


def test_refusals_to_continue(corpus, trained, tmp_path):
    with pytest.raises(InputError, match="there is no run to continue"):
        main_train.main(flags(corpus, tmp_path / "none", "--continue_training"))
    shutil.copytree(trained / "model", tmp_path / "model")
    with pytest.raises(InputError, match=r"trained with --lr 0.0005, not 0.1"):
        main_train.main(flags(corpus, tmp_path / "model", "--continue_training", "--lr", "0.1"))
    with pytest.raises(InputError, match="trained with --model mellcnn, not Rawaasist"):
        main_train.main(flags(corpus, tmp_path / "model", "--continue_training", model="Rawaasist"))
    state = tmp_path / "model/last/state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state.pt is damaged"):
        main_train.main(flags(corpus, tmp_path / "model", "--continue_training", "--num_epochs", "2"))


def without_data(tensor):
    return torch.empty(tensor.shape, device="meta")


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda state: state["model"].update({"fc_mu.bias": None}),
            "fc_mu.bias is of the type NoneType, expected real",
        ),
        (lambda state: state["optimizer"]["state"][0].pop("exp_avg"), "the weight 0: it has no tensor exp_avg"),
        (
            lambda state: state["optimizer"]["state"][0].update(step=torch.tensor(math.nan)),
            "the weight 0: step holds values that are NaN or infinite",
        ),
        (
            lambda state: state["optimizer"]["state"][0]["exp_avg_sq"].sub_(1),
            "a state of the weight 0 that Adam does not make",
        ),
        (
            lambda state: state["optimizer"]["state"][0].update(
                exp_avg=without_data(state["optimizer"]["state"][0]["exp_avg"])
            ),
            "exp_avg is nested, without data, quantised or sparse, expected real",
        ),
        (lambda state: state["optimizer"]["param_groups"][0].update(lr=math.nan), "has the step sizes [nan], expected"),
        (lambda state: state["optimizer"]["state"].pop(3), "it is not what the run has written"),
    ],
)
def test_a_state_with_a_part_missing_or_of_another_form_is_refused(corpus, trained, tmp_path, damage, message):
    path = shutil.copytree(trained / "model", tmp_path / "model") / "last/state.pt"
    state = weights(path)
    damage(state)
    torch.save(state, path)
    with pytest.raises(InputError) as raised:
        main_train.main(flags(corpus, tmp_path / "model", "--continue_training", "--num_epochs", "2"))
    assert str(path) in str(raised.value) and message in str(raised.value)


def test_an_out_fold_that_cannot_be_written_is_named_before_training(corpus, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/model"):
        with pytest.raises(InputError) as caught:
            main_train.main(flags(corpus, folder))
        assert str(caught.value) == f"{folder} cannot be written: {tmp_path / 'file'} is not a folder"


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"config": {}, "data": []}'])
def test_a_damaged_description_of_a_run_is_named(corpus, trained, tmp_path, text):
    args = shutil.copytree(trained / "model", tmp_path / "model") / "args.json"
    args.unlink() if text is None else args.write_text(text)
    with pytest.raises(InputError, match=r"args.json.*: start again with another --out_fold"):
        main_train.main(flags(corpus, tmp_path / "model", "--continue_training"))


@pytest.mark.slow
def test_a_run_is_not_continued_on_another_front_end(corpus, tmp_path, monkeypatch):
    run = flags(corpus, tmp_path, "--SSL_path", "tiny-random", "--num_epochs", 1, model="W2VAASIST")
    main_train.main(run)
    random_weights = xlsr.random_weights

    def other_weights(name):
        structure, state = random_weights(name)
        return structure, {key: value + 1 for key, value in state.items()}

    monkeypatch.setattr(xlsr, "random_weights", other_weights)
    with pytest.raises(InputError, match="this run was trained on other pretrained weights"):
        main_train.main([*run, "--num_epochs", "2", "--continue_training"])
    config = Config(data_root=corpus)
    with pytest.raises(InputError) as caught:
        load_model(tmp_path, config)
    assert str(caught.value) == (
        f"{tmp_path / 'args.json'}: this model was trained on other pretrained weights than tiny-random holds:"
        " give the same as --SSL_path"
    )
    monkeypatch.undo()
    main_train.main([*run, "--num_epochs", "2", "--continue_training"])
    described = json.loads((tmp_path / "args.json").read_text())
    del described["frozen"]  # a run from before it was written down
    (tmp_path / "args.json").write_text(json.dumps(described))
    load_model(tmp_path, config)


@pytest.mark.slow
def test_the_gradient_scale_is_resumed(corpus, tmp_path, monkeypatch):
    """Of half precision on a GPU; here with a scaler for the CPU, whose scale grows at every step."""

    def with_scaler(config):
        accelerator = make_accelerator(config)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=2)
        return accelerator

    monkeypatch.setattr("engine.training.make_accelerator", with_scaler)
    for epochs in (1, 2):
        again = ["--continue_training"] if epochs > 1 else []
        main_train.main(flags(corpus, tmp_path, "--num_epochs", epochs, *again))
    scaler = weights(tmp_path / "last/state.pt")["scaler"]
    assert scaler["scale"] == 2.0 * 2**3 and scaler["_growth_tracker"] == 0  # 3 steps an epoch, a growth every 2


def test_another_number_of_processes_is_told(corpus, trained, tmp_path, capsys):
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    state = weights(folder / "last/state.pt")
    del state["digest"]  # as in runs of version 0.2
    torch.save(state | {"processes": 4}, folder / "last/state.pt")
    main_train.main(flags(corpus, folder, "--num_epochs", 2, "--continue_training"))
    assert f"{folder}: 4 process(es) shared each batch so far, now 1 do" in capsys.readouterr().out


def test_a_gpu_that_is_not_there_is_named(corpus, tmp_path):
    finished = run_script("main_train.py", *flags(corpus, tmp_path / "model", "--gpu", "97"))
    line = "error: --gpu 97: 0 of these GPUs can be used: name others, or -1 for none\n"
    assert (finished.returncode, finished.stderr) == (2, line)


def test_the_gpu_of_a_mac_is_refused_where_there_is_none(corpus, tmp_path):
    finished = run_script("main_train.py", *flags(corpus, tmp_path / "model", "--gpu", "mps"))
    line = "error: --gpu mps: this is no Mac with a GPU that torch can use: leave --gpu out\n"
    assert (finished.returncode, finished.stderr) == (2, line)


@pytest.mark.parametrize(
    ("options", "processes", "message"),
    [
        ({"mixed_precision": "bf16"}, 1, "float32 and without torch.compile: leave --mixed_precision out"),
        ({"compile": True}, 1, "float32 and without torch.compile: leave --compile out"),
        ({}, 2, "one GPU for one process: start the script without torchrun"),
    ],
)
def test_what_the_gpu_of_a_mac_cannot_do_is_named(options, processes, message, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(InputError, match=message):
        make_accelerator(Config(gpu="mps", **options))


def damage_missing(path):
    path.unlink()
    return "does not exist"


def damage_empty(path):
    path.write_bytes(b"")
    return "is empty (0 bytes)"


def damage_cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "is cut short"


def damage_text(path):
    path.write_text("no audio " * 100)
    return "cannot be decoded as audio"


def damage_nan(path):
    soundfile.write(path, np.full(1000, np.nan, np.float32), 16_000, subtype="FLOAT")
    return "holds samples that are NaN or infinite"


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        *(("train", damage_missing), ("dev", damage_empty), ("train", damage_cut), ("dev", damage_text)),
        ("train", damage_nan),
    ],
)
@pytest.mark.slow
def test_bad_audio_stops_training_before_anything_is_written(corpus, tmp_path, part, damage):
    shutil.copytree(corpus, tmp_path / "corpus")
    path = tmp_path / f"corpus/{part}/{part}_2_0.wav"
    line = damage(path)
    with pytest.raises(InputError) as caught:
        main_train.main(flags(tmp_path / "corpus", tmp_path / "model", "--num_epochs", 1, "--num_workers", 1))
    assert str(caught.value).startswith(str(path)) and line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_bad_input_exits_with_status_2_and_one_line(tmp_path):
    finished = run_script("main_train.py", *flags(tmp_path / "nowhere", tmp_path / "model"))
    label = tmp_path / "nowhere/label/train.txt"
    assert finished.returncode == 2 and not (tmp_path / "model").exists()
    assert finished.stderr == f"error: {label} does not exist: set --data_root or the flag of this path\n"


def test_a_loss_that_is_not_finite_stops_training(corpus, tmp_path):
    with pytest.raises(InputError, match="the loss is not finite"):
        main_train.main(flags(corpus, tmp_path / "model", "--num_epochs", 3, "--lr", "1e30"))


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "processes"), [("torchrun", 3), ("accelerate", 2)])
def test_several_processes_train_one_model(corpus, tmp_path, launcher, processes):
    more = ["--num_epochs", 2, "--SSL_path", "tiny-random", "--batch_size", 3]
    run = flags(corpus, tmp_path / "two", *more, model="W2VAASIST")
    finished = run_script(*launch(launcher, processes), ROOT / "main_train.py", *run)
    assert finished.returncode == 0, finished.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "two/log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]  # one log, not one a process
    assert finished.stdout.count("dev_loss") == 2
    assert finished.stdout.count("development clips") == 1
    best = min(row["dev_loss"] for row in rows)
    assert dev_loss(tmp_path / "two", Config(data_root=corpus, batch_size=3, num_workers=0)) == pytest.approx(
        best, 1e-6
    )


def dev_loss(folder, config):
    clips = label_file("dev_wav", "dev_label")(config)
    _, logits = infer(load_model(folder, config), Clips(clips), config, make_accelerator(config), "dev")
    return torch.nn.functional.cross_entropy(logits, torch.tensor([clip.label for clip in clips])).item()


@pytest.mark.parametrize(("size", "batch", "world"), [(15, 2, 3), (2, 4, 3)])
def test_more_processes_than_clips_in_a_batch(size, batch, world):
    config = SimpleNamespace(seed=1, batch_size=batch, num_workers=0)
    place = SimpleNamespace(process_index=0, num_processes=world)
    line = f"3 processes cannot share batches of {batch} of {size} training clips: raise --batch_size"
    with pytest.raises(InputError, match=line):
        epoch_loader(Clips([None] * size), config, 1, place)


def test_a_gradient_step_on_two_halves_equals_one_on_the_whole():
    """The data of one step is shared out, not repeated: each process takes every other clip of the batch."""

    class Numbers(torch.utils.data.Dataset):
        def __len__(self):
            return 15

        def __getitem__(self, item):
            return item

    config = SimpleNamespace(seed=1, batch_size=4, num_workers=0)

    def batches(rank, world):
        place = SimpleNamespace(process_index=rank, num_processes=world)
        return [batch.tolist() for batch in epoch_loader(Numbers(), config, 3, place)]

    whole, halves = batches(0, 1), list(zip(batches(0, 2), batches(1, 2), strict=True))
    assert sorted(clip for batch in whole for clip in batch) == list(range(15))
    assert [sorted(a + b) for a, b in halves] == [sorted(batch) for batch in whole]
    assert batches(0, 1) == whole
