"""Augmentation of training clips in the first system: what is drawn, recordings as noise and rooms, and refusals."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from helpers.training import flags, use_small_model

import main_train
from config import Config
from data.augmentation import AugmentedClips, find_augmentation
from data.channels import RandomChannel, read_room
from data.dataset import Clips
from data.laundering import in_room
from data.outliers import read_outliers
from data.protocols import label_file
from engine import training
from engine.training import epoch_loader
from utils.errors import InputError


def tone(count=16_000):
    return (0.1 * np.sin(np.arange(count) / 7)).astype(np.float32)


def write(path, wave):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, 16_000, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def snr(wave, noisy):
    return 10 * np.log10(np.mean(wave**2) / np.mean((noisy - wave) ** 2))


def test_a_random_channel_keeps_a_wave_usable():
    wave = tone(30_000)
    kinds = set()
    for seed in range(40):
        one, two = (RandomChannel()(wave, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one, two) and one.dtype == np.float32 and np.isfinite(one).all()
        assert abs(len(one) - len(wave)) < 100
        kinds.add(round(float(one.std()), 5))
    assert len(kinds) > 20
    assert len(RandomChannel()(tone(100), np.random.default_rng(0))) == 100


@pytest.mark.parametrize("length", [3000, 40_000])  # of the noise: it is repeated, or a part is taken
def test_recorded_noise_has_the_ratio_that_was_drawn(length, tmp_path):
    noise = np.random.default_rng(1).standard_normal(length).astype(np.float32)
    channel = RandomChannel(noises=(write(tmp_path / "a.wav", noise),))
    ratios = [snr(tone(), channel.noisy(tone(), np.random.default_rng(seed))) for seed in range(30)]
    drawn = [np.random.default_rng(seed).uniform(5, 35) for seed in range(30)]
    np.testing.assert_allclose(ratios, drawn, atol=0.5)
    silent = RandomChannel(noises=(write(tmp_path / "silent.wav", np.zeros(500)),))
    assert np.array_equal(silent.noisy(tone(), np.random.default_rng(0)), tone())


def test_a_recorded_room_begins_with_its_direct_sound(tmp_path):
    room = np.zeros(3000)
    room[[700, 900]] = -0.5, 0.25
    channel = RandomChannel(rooms=(write(tmp_path / "room.wav", room),))
    expected = tone()
    expected[200:] -= 0.5 * tone()[:-200]
    np.testing.assert_allclose(channel.in_room(tone(), np.random.default_rng(0)), expected, atol=1e-6)
    made = RandomChannel().in_room(tone(), np.random.default_rng(0))
    rng = np.random.default_rng(0)
    assert np.array_equal(made, in_room(tone(), rng, seconds=rng.uniform(0.1, 0.5)))
    with pytest.raises(InputError, match=r"silent.wav is silent, so it is no impulse response: take it out of --room"):
        read_room(write(tmp_path / "silent.wav", np.zeros(500)))


def test_the_folders_are_searched_with_their_subfolders(tmp_path):
    paths = tuple(write(tmp_path / name, tone(100)) for name in ("a/1.wav", "b/c/2.flac", "b/c/3.wav"))
    (tmp_path / "a/LICENSE").touch()
    augmentation = find_augmentation(Config(noise_folder=tmp_path), ["channel"])
    assert augmentation.steps == (RandomChannel(paths, ()),)


def test_refusals(tmp_path):
    def message(names, **more):
        with pytest.raises(InputError) as caught:
            find_augmentation(Config(**more), names)
        return str(caught.value)

    assert message(["rawboost:9"]).startswith("--augment rawboost:9: expected one of none, channel, rawboost:0,")
    unused = f"--room_folder {tmp_path} is only for --augment channel: give that too, or leave it out"
    assert message(["rawboost:5"], room_folder=tmp_path) == unused
    unused = "--augment_probability is only for --augment: give that too, or leave it out"
    assert message(["none"], augment_probability=0.3) == unused
    assert message(["channel"], noise_folder=tmp_path).startswith(f"{tmp_path} holds no audio file (.wav, ")
    gone = tmp_path / "gone"
    assert message(["channel"], noise_folder=gone) == f"{gone} is not a folder: give a folder of audio files"


@pytest.mark.parametrize("flag", ["noise_folder", "room_folder", "outliers"])
@pytest.mark.parametrize("content, said", [(b"", "is empty (0 bytes)"), (b"text" * 99, "cannot be decoded as audio")])
def test_a_broken_recording_is_found_before_training(tmp_path, flag, content, said):
    write(tmp_path / "a/1.wav", tone(100))
    broken = tmp_path / "b.wav"
    broken.write_bytes(content)
    config = Config(**{flag: tmp_path})
    with pytest.raises(InputError) as caught:
        read_outliers(config, [], []) if config.outliers else find_augmentation(config, ["channel"])
    assert str(caught.value).startswith(f"--{flag}: {broken} {said}")


def test_the_probability_holds_for_each_augmentation(monkeypatch):
    steps = (lambda wave, rng: wave + 1, lambda wave, rng: wave + 10)
    monkeypatch.setattr("data.augmentation.AUGMENTATIONS", dict(zip("ab", steps, strict=True)))
    augmentation = find_augmentation(Config(augment_probability=0.3), ["a", "b"])
    rng = np.random.default_rng(0)
    values, counts = np.unique([augmentation(np.zeros(1), rng)[0] for _ in range(4000)], return_counts=True)
    assert values.tolist() == [0, 1, 10, 11]
    np.testing.assert_allclose(counts / 4000, [0.49, 0.21, 0.21, 0.09], atol=0.03)
    assert find_augmentation(Config(), ["none"]) is None


def test_what_a_clip_becomes_depends_on_seed_epoch_and_clip_alone(corpus):
    """Equal for any number of processes and workers."""
    config = Config(data_root=corpus, batch_size=7, num_workers=0)
    clips = label_file("train_wav", "train_label")(config)

    def heard(processes, workers):
        data = AugmentedClips(clips, find_augmentation(config, ["rawboost:5", "channel"]), 3, 4000)
        waves = {}
        for rank in range(processes):
            place = SimpleNamespace(process_index=rank, num_processes=processes)
            loader = epoch_loader(data, Config(batch_size=7, num_workers=workers), 2, place)
            waves |= {int(p): wave for positions, batch, _ in loader for p, wave in zip(positions, batch, strict=True)}
        return waves

    alone = heard(1, 0)
    assert len(alone) == len(clips)
    plain = Clips(clips, 4000)
    changed = [not torch.equal(wave, plain[position][1]) for position, wave in alone.items()]
    assert 0 < sum(changed) < len(changed)
    for processes, workers in ((3, 0), (1, 2)):
        other = heard(processes, workers)
        assert alone.keys() == other.keys() and all(torch.equal(alone[key], other[key]) for key in alone)


def test_development_clips_stay_as_they_are(corpus, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(training, "train_model", lambda config, description, setup, _: seen.update(vars(setup)))
    main_train.main(flags(corpus, tmp_path, "--augment", "rawboost:5", "--augment_probability", 1))
    assert not torch.equal(seen["train"][0][1], Clips(seen["train"].clips)[0][1])
    assert torch.equal(seen["dev"][0][1], Clips(seen["dev"].clips)[0][1])


def test_a_run_is_continued_with_its_own_augmentation(corpus, tmp_path, monkeypatch):
    use_small_model(monkeypatch)
    noise = write(tmp_path / "noise/a.wav", tone(500)).parent
    run = flags(corpus, tmp_path / "model", "--augment", "channel", "--noise_folder", noise)
    main_train.main([*run, "--num_epochs", "1"])
    described = json.loads((tmp_path / "model/args.json").read_text())
    assert described["config"]["augment"] == ["channel"] and str(noise) in described["data"]
    again = ["--continue_training", "--num_epochs", "2"]
    with pytest.raises(InputError, match="this run was trained with --augment channel, not none: give the same"):
        main_train.main([*flags(corpus, tmp_path / "model"), *again])
    with pytest.raises(InputError, match="the label files have changed since this run began"):
        main_train.main([*run[:-2], *again])
    main_train.main([*run, *again])


def test_augmentation_does_not_go_with_a_cache(corpus, tmp_path):
    run = flags(corpus, tmp_path / "model", "--augment", "channel", "--cache_features", tmp_path, model="W2VAASIST")
    with pytest.raises(InputError, match="a cache holds the clips as they are, so it cannot go with --augment: leave"):
        main_train.main(run)
