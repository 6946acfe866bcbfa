"""Outlier exposure (--outliers): which clips, in which batches, with which loss; and the warning of a failed run."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from helpers.training import assert_same_weights, flags, use_small_model
from torch.nn.functional import cross_entropy

import main_train
import main_train_taxonomy
from config import Config
from data.outliers import OUTLIER, read_outliers
from data.protocols import label_file
from data.taxonomy import OUTLIER_LABELS, Labels
from engine.objectives import ClassLoss, ClassObjective, OutlierExposure, TaskObjective
from engine.training import epoch_loader, print_unless_learned
from models.taxonomy import TaxonomyLoss
from utils.errors import InputError


@pytest.fixture(scope="module")
def outliers(tmp_path_factory):
    """A folder of five outliers, some in a subfolder that names their label, and one in the folder itself."""
    folder = tmp_path_factory.mktemp("outliers")
    for name in ("vocoder/1.wav", "vocoder/2.wav", "music/1.wav", "music/2.wav", "noise.wav"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(len(name)).standard_normal(4000), 16_000)
    return folder


def message(config, clips=(), names=("real", "mimi")):
    with pytest.raises(InputError) as caught:
        read_outliers(config, clips, names)
    return str(caught.value)


def test_a_folder_or_a_list(outliers, tmp_path, capsys):
    clips = read_outliers(Config(outliers=outliers), [], [])
    assert len(clips) == 5 and {clip.label for clip in clips} == {OUTLIER}
    assert capsys.readouterr().out.startswith(f"{outliers}: 5 outlier clips of music, vocoder; each batch")
    table = tmp_path / "list.csv"
    table.write_text("file,label\nmusic/2.wav,music\nnoise.wav,noise\n")
    clips = read_outliers(Config(outliers=table, list_audio=(outliers,)), [], [])
    assert [clip.path for clip in clips] == [outliers / "music/2.wav", outliers / "noise.wav"]
    assert read_outliers(Config(), [], []) == []


def test_refusals(outliers, corpus, tmp_path):
    gone = tmp_path / "gone.csv"
    assert message(Config(outliers=gone)).startswith(f"--outliers {gone} does not exist: give a folder of audio, or a")
    table = tmp_path / "list.csv"
    table.write_text(f"file,label\n{outliers / 'noise.wav'},mimi\n")
    assert message(Config(outliers=table)) == (
        f"--outliers {table}: 1 of 1 clips have the label of a class that is trained (first {table}:2: mimi): leave"
        " them out"
    )
    table.write_text(f"file,label\n{outliers / 'gone.wav'},x\n")
    assert message(Config(outliers=table)) == f"{table}:2 names {outliers / 'gone.wav'}, which does not exist"
    config = Config(data_root=corpus, outliers=corpus / "dev")
    clips = label_file("dev_wav", "dev_label")(config)
    assert message(config, clips).startswith(
        f"--outliers {corpus / 'dev'}: 7 of 7 clips are also training or development clips (first {corpus / 'dev'}/"
    )
    unused = "--outlier_weight is only for --outliers: give that too, or leave it out"
    assert message(Config(outlier_weight=0.1)) == unused
    with pytest.raises(InputError, match="--outliers needs shares of classes that add up to 1: give another"):
        main_train.main(flags(corpus, tmp_path / "model", "--outliers", outliers, "--base_loss", "bce"))


def test_every_batch_gets_outliers_and_every_process_its_share():
    class Numbers(torch.utils.data.Dataset):
        def __len__(self):
            return 17

        def __getitem__(self, item):
            return item

    config = SimpleNamespace(seed=1, batch_size=4, num_workers=0)

    def batches(rank, world, epoch=3, outliers=3, size=4):
        place = SimpleNamespace(process_index=rank, num_processes=world)
        run = SimpleNamespace(**vars(config) | {"batch_size": size})
        return [batch.tolist() for batch in epoch_loader(Numbers(), run, epoch, place, outliers)]

    whole = batches(0, 1)
    assert sorted(clip for batch in whole for clip in batch if clip < 14) == list(range(14))
    assert [sum(clip >= 14 for clip in batch) for batch in whole] == [3, 3, 3, 2]  # no more than there are
    assert {clip for batch in whole for clip in batch} == set(range(17))
    parts = zip(*(batches(rank, 2) for rank in range(2)), strict=True)
    assert [sorted(a + b) for a, b in parts] == [sorted(batch) for batch in whole]
    assert batches(0, 1) == whole != batches(0, 1, epoch=4)
    drawn = [[clip for clip in batch if clip >= 9] for batch in batches(0, 1, outliers=8)]  # two of four and one of one
    assert [len(part) for part in drawn] == [4, 4, 1] and len({clip for part in drawn[:2] for clip in part}) == 8


@pytest.mark.parametrize("base_loss", ["ce", "aam", "supcon+ce"])
def test_the_loss_on_outliers(base_loss):
    generator = torch.Generator().manual_seed(1)
    features, logits = torch.randn(6, 5, generator=generator), torch.randn(6, 3, generator=generator)
    labels = torch.tensor([0, 1, 0, 2, OUTLIER, OUTLIER])
    loss = OutlierExposure(ClassLoss(Config(base_loss=base_loss)), 0.3)
    known = ClassLoss(Config(base_loss=base_loss))((features[:4], logits[:4]), labels[:4])
    uniform = cross_entropy(logits[4:], torch.full((2, 3), 1 / 3))
    torch.testing.assert_close(loss((features, logits), labels), known + 0.3 * uniform)
    torch.testing.assert_close(loss((features[:4], logits[:4]), labels[:4]), known)


def test_in_the_second_system_outliers_count_in_all_tasks_but_bin():
    loss = TaxonomyLoss("D_VQ")
    logits = {"bin": torch.randn(3, 2), "vq": torch.randn(3, 4)}
    labels = Labels(*torch.tensor([[0, 0, 0, 0], [1, 2, 1, 3], list(OUTLIER_LABELS)]).T)
    first = {task: rows[:2] for task, rows in logits.items()}
    known = loss((torch.zeros(2, 1), first), Labels(*(part[:2] for part in labels)))
    uniform = cross_entropy(logits["vq"][2:], torch.full((1, 4), 0.25))
    found = OutlierExposure(loss, 0.5)((torch.zeros(3, 1), logits), labels)
    torch.testing.assert_close(found, known + 0.5 * uniform)


def test_the_second_system_trains_with_outliers(taxonomy_corpus, outliers, tmp_path, capsys):
    run = ["--data_root", taxonomy_corpus, "--num_workers", 0, "--SSL_path", "tiny-random", "--num_epochs", 1]
    run = [str(part) for part in (*run, "-o", tmp_path / "model", "--outliers", outliers, "--sampling_strategy")]
    main_train_taxonomy.main([*run, "VQ"])
    assert "5 outlier clips of music, vocoder" in capsys.readouterr().out
    with pytest.raises(InputError, match="--outliers is only for the tasks VQ, AUX and DEC"):
        main_train_taxonomy.main([*run, "VQ", "--model_type", "S_BIN"])


def test_a_run_with_outliers_is_resumed_to_the_same_weights(corpus, outliers, tmp_path, monkeypatch, capsys):
    use_small_model(monkeypatch)
    exposure = ["--outliers", outliers]
    main_train.main(flags(corpus, tmp_path / "whole", "--num_epochs", 2, *exposure))
    assert "mellcnn: 21 training and 7 development clips, writing" in capsys.readouterr().out
    main_train.main(flags(corpus, tmp_path / "parts", "--num_epochs", 1, *exposure))
    again = flags(corpus, tmp_path / "parts", "--num_epochs", 2, "--continue_training")
    with pytest.raises(InputError, match="the label files have changed"):
        main_train.main(again)
    main_train.main([*again, *map(str, exposure)])
    main_train.main(flags(corpus, tmp_path / "without", "--num_epochs", 2))
    name = "checkpoint/anti-spoofing_feat_model_2.pt"
    assert_same_weights(tmp_path / "whole" / name, tmp_path / "parts" / name)
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "whole" / name, tmp_path / "without" / name)


# ---- a run that learns nothing ---------------------------------------------------------------------------------------


def test_guessing_is_answering_with_the_shares_of_the_classes():
    labels = [0, 0, 0, 1]
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    logits = torch.zeros(4, 3)
    assert ClassObjective(Config(), {}).guess((None, logits), labels) == pytest.approx(entropy)
    guess = ClassObjective(Config(base_loss="bce"), {}).guess((None, logits), labels)
    assert guess == pytest.approx(2 * entropy / 3, rel=1e-6)  # the third class is absent, and known to be
    labels = [Labels(0, 0, 0, 0), Labels(1, 2, 1, 3)]
    outputs = None, {"vq": torch.zeros(2, 4)}
    guess = TaskObjective(TaxonomyLoss("S_VQ"), {}).guess(outputs, labels)
    assert guess == pytest.approx(np.log(2), rel=1e-6)


def test_a_run_that_has_not_learned_is_told_once(corpus, tmp_path, monkeypatch, capsys):
    use_small_model(monkeypatch)
    main_train.main(flags(corpus, tmp_path / "model", "--num_epochs", 4, "--lr", 0))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("after ")]
    assert len(lines) == 1
    line = (
        f"after 3 epochs, no development loss is below {np.log(7):.5g}, that of guessing by the shares of the classes"
    )
    assert lines[0].startswith(f"{line}: the model has not learned. Try --augment channel, a lower")


@pytest.mark.parametrize(
    "model, first",
    [
        ("mellcnn", "--mel log, --level"),
        ("Rawaasist", "--level normalise, --a"),
        ("W2VAASIST", "another --ssl_layer, "),
    ],
)
def test_what_to_try_is_for_the_model(model, first):
    assert ClassObjective(Config(model=model), {}).remedies.startswith(first)


def test_a_run_that_has_learned_is_not(capsys):
    print_unless_learned([{"dev_loss": 0.9}, {"dev_loss": 1.1}], 1.0, "more")
    assert not capsys.readouterr().out
