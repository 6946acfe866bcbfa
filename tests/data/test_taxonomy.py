"""data/taxonomy.py, its protocol readers and make_taxonomy_lists.py, on the published lists."""

import csv
import gzip
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers import FIXTURES, shared

import make_taxonomy_lists
from data.taxonomy import (
    ALIASES,
    CODEC_TAXONOMY,
    CORS,
    COSG,
    REAL_LABELS,
    TAXONOMY_CLASSES,
    Labels,
    find_codec,
    labels_of,
    read_codecs,
)
from data.taxonomy_lists import list_text, pair_up, sample_balanced
from data.taxonomy_protocols import LIST_NAMES, codec_of, read_list, with_audio
from utils.errors import InputError, MissingInput

LISTS = FIXTURES / "taxonomy"


@pytest.fixture
def published(tmp_path):
    """A published list, unpacked."""

    def unpack(name, packed=None):
        path = tmp_path / name
        path.write_bytes(gzip.decompress((packed or LISTS / f"{name}.gz").read_bytes()))
        return path

    return unpack


def sizes(clips, task):
    """Number of clips of each class of `task`, in the order of the classes."""
    counted = Counter(getattr(clip.label, task) for clip in clips)
    return [counted[label] for label in range(len(TAXONOMY_CLASSES[task]))]


# ---- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corpus, table", [("CoRS", CORS), ("CoSG", COSG)])
def test_the_table_is_that_of_the_released_code(corpus, table):
    rows = list(csv.DictReader((LISTS / f"taxonomy_{corpus}.csv").open()))
    names = {row.get("codec") or row["system"] for row in rows}
    assert names == set(table) | (set(ALIASES) if corpus == "CoRS" else set())
    for row in rows:
        codec = find_codec(row.get("codec") or row["system"], "the table")
        assert (codec.aux, codec.dec, codec.vq) == (row["aux"], row["dec"], row["vq"])
        assert labels_of(codec) == Labels(1, int(row["aux_id"]), int(row["dec_id"]), int(row["vq_id"]))


def test_an_unknown_codec_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"here.txt:3 names the codec 'bigcodex'.* nearest name is 'bigcodec'"):
        find_codec("bigcodex", "here.txt:3")


def test_a_user_can_describe_further_codecs(tmp_path):
    path = tmp_path / "codecs.txt"
    path.write_text("mine none Freq sq\nbigcodec Trad TIME SVQ\n")
    codecs = read_codecs(path)
    assert labels_of(codecs["mine"]) == Labels(1, 1, 2, 3)
    assert len(codecs) == len(CODEC_TAXONOMY) + 1
    for line, message in (
        ("mine none FREQ\n", "1 reads 'mine none FREQ', expected NAME AUX DEC VQ"),
        ("mine none LATE SQ\n", "gives the DEC class 'LATE', expected one of REAL TIME FREQ"),
        ("mine none REAL SQ\n", "calls the codec mine REAL"),
        ("bigcodec Trad TIME SQ\n", "describes bigcodec as Trad TIME SQ, but it is Trad TIME SVQ"),
        ("mimicodec Trad TIME SQ\n", "describes mimicodec as Trad TIME SQ, but it is SEM TIME MVQ"),
    ):
        path.write_text(line)
        with pytest.raises(InputError, match=message):
            read_codecs(path)


# ---- published lists -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "corpus, name, aux, dec, vq",
    [
        ("CoRS", "CoRS_ALL.txt", [755, 12835, 6040, 3775], [755, 13590, 9060], [755, 18120, 3020, 1510]),
        ("CoSG", "CoSG_ALL.txt", [866, 874, 5, 52], [866, 263, 668], [866, 848, 20, 63]),
        ("CoSG", "CoSG_SEEN.txt", [259, 275, 5, 38], [259, 240, 78], [259, 249, 6, 63]),
    ],
)
def test_evaluation_lists(corpus, name, aux, dec, vq, published):
    clips = read_list(published(name), corpus, Path("audio"))
    assert sizes(clips, "aux") == aux
    assert sizes(clips, "dec") == dec
    assert sizes(clips, "vq") == vq
    assert sizes(clips, "bin") == [aux[0], sum(aux[1:])]


def test_names_are_those_of_the_published_score_files(published):
    generated = read_list(published("CoSG_ALL.txt"), "CoSG", Path("audio"))[0]
    assert (generated.name, generated.path) == ("VIOLA/audios_entts_ref_14", Path("audio/VIOLA/audios_entts_ref_14"))
    assert generated.label == REAL_LABELS
    coded = read_list(published("CoRS_ALL.txt"), "CoRS", Path("audio"))[0]
    assert (coded.name, coded.label) == ("p227_260_snac_24khz", Labels(1, 1, 1, 1))
    assert coded.source.endswith("CoRS_ALL.txt:1")


def test_the_misspelt_key_of_the_published_list_is_reported(published, capsys):
    clips = read_list(published("CoRS_ALL.txt"), "CoRS", Path("audio"))
    assert "CoRS_ALL.txt:7554 reads 'spoofs', taken as spoof" in capsys.readouterr().out
    assert clips[7553].name == "p228_241_vocos_encodec_6" and clips[7553].label.bin == 1


@pytest.mark.parametrize("part, name", product(("dev", "test"), LIST_NAMES.values()))
def test_small_training_lists_agree_with_the_taxonomy_and_are_balanced(part, name, published):
    path = published(name.format(part))
    clips = read_list(path, "CoRS", Path("audio"))
    for real, spoof in zip(clips[::2], clips[1::2], strict=True):
        codec = codec_of(spoof.name)
        assert real.label == REAL_LABELS and spoof.name == f"{real.name}_{codec}"
        assert spoof.label == labels_of(find_codec(codec, spoof.source))
    task = {name: strategy.lower() for strategy, name in LIST_NAMES.items()}[name]
    for length in range(1, len(clips) // 2 + 1, 7):
        used = sizes(clips[1 : 2 * length : 2], task)[1:]
        assert max(used) - min(used) <= 1
    assert list_text(
        [(clip.name, codec_of(spoof.name)) for clip, spoof in zip(clips[::2], clips[1::2], strict=True)]
    ) == (path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", LIST_NAMES.values())
def test_training_lists(name, published):
    name = name.format("train")
    path = published(name, shared("fixtures/codecfake_plus/metadata") / f"{name}.gz")
    clips = read_list(path, "CoRS", Path("audio"))
    assert sizes(clips, "bin") == [42_965, 42_965]
    for clip in clips[1::2]:
        assert clip.label == labels_of(find_codec(codec_of(clip.name), clip.source))


def test_released_label_files(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("p225 p225_001.wav bonafide\ns5 s5_400_xocdec_hubert_general_audio.wav spoof\n")
    clips = read_list(path, "CoRS", tmp_path)
    assert [clip.name for clip in clips] == ["p225_001", "s5_400_xocdec_hubert_general_audio"]
    assert [clip.label for clip in clips] == [REAL_LABELS, Labels(1, 2, 1, 1)]
    # Here the quantiser comes first, and a system that the table does not know is described by its line.
    path.write_text("NS3 a.wav MVQ Disent TIME spoof\nNS3 b MVQ Disent TIME bonafide\nNEW c SQ None FREQ spoof\n")
    clips = read_list(path, "CoSG", tmp_path)
    assert [clip.name for clip in clips] == ["NS3/a", "NS3/b", "NEW/c"]
    assert [clip.label for clip in clips] == [Labels(1, 3, 1, 1), REAL_LABELS, Labels(1, 1, 2, 3)]


@pytest.mark.parametrize(
    "corpus, text, message",
    [
        ("CoRS", "p1 p1_001 - - spoof extra\n", ":1 has 6 fields, expected one of 3, 5, 7 in a CoRS list"),
        ("CoRS", "p1 p1_001 - - bonafide\np1 p1_001_mimo - - spoof\n", ":2 names the codec 'mimo'"),
        ("CoRS", "p1 / - Trad TIME MVQ spoof\n", ":1 names the file '/', expected the name of an utterance"),
        ("CoSG", "VALLE .wav - MVQ spoof\n", ":1 names the file '.wav', expected the name of an utterance"),
        ("CoRS", "p1 p1_001 - - fake\n", ":1 gives the BIN class 'fake', expected one of bonafide spoof"),
        ("CoRS", "p1 p1_001_mini - SEM LATE MVQ spoof\n", ":1 gives the DEC class 'LATE'"),
        ("CoRS", "p1 p1_001_mini - REAL TIME MVQ spoof\n", ":1 calls a class of a spoof REAL"),
        ("CoRS", "p1 p1_001 - - bonafide\np1 p1_001 - - bonafide\n", ":2 names p1_001 again, first named by"),
        ("CoRS", "\n", "holds no line"),
        ("CoSG", "VALE a - spoof\n", ":1 names the codec 'VALE'.*nearest name is 'VALLE'"),
    ],
)
def test_a_broken_list_is_refused_with_file_and_line(corpus, text, message, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=f"list.txt ?{message}"):
        read_list(path, corpus, tmp_path)


def test_a_missing_list_is_refused(tmp_path):
    with pytest.raises(MissingInput, match=r"list\.txt does not exist"):
        read_list(tmp_path / "list.txt", "CoRS", tmp_path)


def test_flac_goes_before_wav_and_a_missing_file_is_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("p1 p1_001 - - bonafide\np1 p1_002_SemantiCodec_1.40kbps_16k - - spoof\n")
    for name in ("p1_001.wav", "p1_001.flac", "p1_002_SemantiCodec_1.40kbps_16k.wav"):
        (tmp_path / name).touch()
    clips = read_list(path, "CoRS", tmp_path)
    found = [clip.path.name for clip in with_audio(clips)]
    assert found == ["p1_001.flac", "p1_002_SemantiCodec_1.40kbps_16k.wav"]
    (tmp_path / "p1_002_SemantiCodec_1.40kbps_16k.wav").unlink()
    with pytest.raises(InputError, match=r"1.40kbps_16k.wav, named by .*list.txt:2, does not exist"):
        with_audio(clips)


# ---- balanced sampling -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def all_pairs():
    """The 735 bona fide utterances of the development list, each with its 31 codecs."""
    lines = gzip.decompress((LISTS / "dev_mult_learn.txt.gz").read_bytes()).decode().splitlines()
    names = [line.split()[1] for line in lines[::2]]
    return pair_up([*names, *(f"{name}_{codec}" for name in names for codec in CORS)])


@pytest.mark.parametrize("task, count", [("aux", [245] * 3), ("dec", [368, 367]), ("vq", [245] * 3)])
def test_sampling_has_the_balance_of_the_published_lists(task, count, all_pairs):
    chosen = sample_balanced(all_pairs, task, np.random.default_rng(1))
    assert [utterance for utterance, _ in chosen] == list(all_pairs)
    classes = [getattr(CORS[codec], task) for _, codec in chosen]
    kinds = TAXONOMY_CLASSES[task][1:]
    assert sorted(classes.count(kind) for kind in kinds) == sorted(count)
    for start in range(0, len(classes) - len(kinds) + 1, len(kinds)):
        assert set(classes[start : start + len(kinds)]) == set(kinds)


def test_ties_are_broken_by_codec(all_pairs):
    """The first class of a block comes up as often as it has codecs, 18:8:5, not once in three (semantics, 2.3)."""
    first = Counter()
    for seed in range(5):
        chosen = sample_balanced(all_pairs, "aux", np.random.default_rng(seed))
        first.update(CORS[codec].aux for _, codec in chosen[::3])
    total = first.total()
    for kind, codecs in (("Trad", 18), ("SEM", 8), ("Disent", 5)):
        assert first[kind] / total == pytest.approx(codecs / 31, abs=0.06)


def test_more_spoofs_of_an_utterance_are_different_codecs(all_pairs):
    chosen = sample_balanced(all_pairs, "vq", np.random.default_rng(1), spoofs=3)
    assert len(set(chosen)) == len(chosen) == 3 * len(all_pairs)
    classes = Counter(CORS[codec].vq for _, codec in chosen)
    assert set(classes.values()) == {len(all_pairs)}
    keys = [line.split()[-1] for line in list_text(chosen).splitlines()]
    assert keys == ["bonafide", "spoof", "spoof", "spoof"] * len(all_pairs)
    few = {"p225_001": ["mini", "bigcodec"]}
    assert sorted(sample_balanced(few, "vq", np.random.default_rng(1), spoofs=3)) == [
        ("p225_001", "bigcodec"),
        ("p225_001", "mini"),
    ]


@pytest.fixture
def audio(tmp_path):
    """A folder of empty files in CoRS's layout: 6 speakers, 6 utterances each, 5 codecs, one file missing."""
    folder = tmp_path / "audio"
    folder.mkdir()
    for speaker, number in product(("p225", "p226", "p227", "p228", "p229", "s5"), range(6)):
        for suffix in ("", "_mini", "_bigcodec", "_ticodec_1g2r", "_languagecodec", "_spectralcodecs"):
            (folder / f"{speaker}_{number:03}{suffix}.wav").touch()
    (folder / "s5_000_mini.wav").unlink()
    return folder


def make_lists(audio, folder, *flags):
    make_taxonomy_lists.main(["--base_dir", str(audio), "--list_dir", str(folder), *flags])
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_made_lists_read_back_and_keep_the_speakers_apart(audio, tmp_path):
    made = make_lists(audio, tmp_path / "lists")
    assert len(made) == 9
    for strategy, name in LIST_NAMES.items():
        speakers = []
        for part, count in (("train", 12), ("dev", 12), ("test", 12)):
            clips = with_audio(read_list(tmp_path / "lists" / name.format(part), "CoRS", audio))
            assert sizes(clips, "bin") == [count, count]
            used = sizes(clips, strategy.lower())[1:]
            assert max(used) - min(used) <= 1
            speakers.append({clip.name.partition("_")[0] for clip in clips})
        assert speakers == [{"p225", "s5"}, {"p226", "p229"}, {"p227", "p228"}]
    order = [[line.split()[1] for line in made[name.format("train")].splitlines()[::2]] for name in LIST_NAMES.values()]
    assert order[0] == order[1] == order[2] != sorted(order[0])


def test_made_lists_depend_on_the_seed_alone(audio, tmp_path):
    first = make_lists(audio, tmp_path / "one")
    assert make_lists(audio, tmp_path / "two") == first
    assert make_lists(audio, tmp_path / "three", "--seed", "2") != first


def test_what_cannot_be_sampled_is_refused(audio, tmp_path):
    with pytest.raises(InputError, match="the dev part has no utterance; the speakers there are p225 p226"):
        make_lists(audio, tmp_path / "lists", "--dev_speakers", "p999")
    with pytest.raises(InputError, match="share p226"):
        make_lists(audio, tmp_path / "lists", "--dev_speakers", "p226", "--test_speakers", "p226")
    (audio / "p225_001_mimo.wav").touch()
    with pytest.raises(InputError, match=r"file p225_001_mimo, names the codec 'mimo'"):
        make_lists(audio, tmp_path / "lists")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no utterance"):
        make_lists(tmp_path / "empty", tmp_path / "lists")
    assert not (tmp_path / "lists").exists()
