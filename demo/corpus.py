"""The plan of the demo corpus, and the unit of work that writes eight utterances of it.

A unit's files depend only on the settings, the part and the numbers of the utterances, so any process can make any unit
at any time.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch

from data.audio import SAMPLE_RATE
from data.classes import REAL
from demo.codec import levelled
from demo.pool import load_codec, read_card
from demo.speech import Recordings, Synthesised, rms, spectrum_and_trend
from demo.vocoders import VOCODERS
from utils.files import replacing

LENGTH = 65_600  # samples of a file: 4.1 s, a little more than a model sees
MARGIN = 1_600  # samples coded before and after, then cut away: no codec's delay or edge is left in a file
UNIT = 8  # utterances
DITHER = 1.5 / 2**15


class CorpusPart(NamedTuple):
    """One folder of the corpus."""

    folder: str
    source: str  # of speech.SOURCES
    count: int  # utterances at --scale 1
    versions: tuple  # (class, setting) of the files made of each utterance; class REAL is the utterance itself
    make: str = "coded"  # a key of MAKERS
    name: str = "{number:04d}_{label}.wav"
    number: int = 0  # its place in PARTS, which seeds it


def folder_parts(folder, source, count, rows, make="coded"):
    """A part for each (subfolder, class, setting)."""
    return [CorpusPart(f"{folder}/{name}", source, count, ((label, setting),), make) for name, label, setting in rows]


KNOWN_LABELS = tuple(range(1, 7))
UNSEEN_LABELS = tuple(range(7, 12))
C3_ROWS = [(f"C3-{number}", 3, books / 6) for number, books in enumerate((2, 3, 4, 5), 1)]
C4_ROWS = [(f"C4-{number}", 4, dimensions) for number, dimensions in enumerate((0.4, 0.6, 0.8), 1)]
ALM_ROWS = [("moshi", 1, 1.0), ("mini-omni", 6, 1.0), ("speechgpt-gen", 2, 1.0), ("valle", 4, 1.0)]
LA19_FOLDER = "ID_unseen_real/19LA/ASVspoof2019_LA_eval/flac"
ITW_FOLDER = "ID_unseen_real/ITW"
LA19_PROTOCOL = "ID_unseen_real/19LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt"
UNTOUCHED = ((REAL, 1.0),)
PLAN = [
    CorpusPart("train", "train", 70, tuple((label, 1.0) for label in (REAL, *KNOWN_LABELS))),
    CorpusPart("dev", "dev", 15, tuple((label, 1.0) for label in (REAL, *KNOWN_LABELS))),
    CorpusPart("eval_id", "eval", 50, tuple((label, 1.0) for label in (REAL, *KNOWN_LABELS))),
    CorpusPart("eval_ood", "eval", 50, tuple((label, 1.0) for label in UNSEEN_LABELS)),
    *folder_parts("ID_diff_config", "eval", 30, C3_ROWS + C4_ROWS),
    *folder_parts("ID_diff_source", "other", 40, [("NCSSD-mimi", 1, 1.0), ("NCSSD-snac", 6, 1.0)]),
    *folder_parts("OOD_diff_config", "eval", 40, [("wavtokenizer_small40", 7, 0.5)]),
    *folder_parts("OOD_diff_source", "other", 40, [("NCSSD_wavtokenizer", 7, 1.0)]),
    *folder_parts("ALM", "eval", 32, ALM_ROWS, "walk"),
    CorpusPart(LA19_FOLDER, "studio", 50, UNTOUCHED, "coded", "LA_E_1{number:06d}.flac"),
    CorpusPart(LA19_FOLDER, "studio", 50, UNTOUCHED, "vocoded", "LA_E_2{number:06d}.flac"),
    CorpusPart(ITW_FOLDER, "street", 50, UNTOUCHED, "coded", "1{number:04d}.wav"),
    CorpusPart(ITW_FOLDER, "street", 50, UNTOUCHED, "vocoded", "2{number:04d}.wav"),
    CorpusPart("ID_unseen_real/NCSSD", "other", 60, UNTOUCHED),
]
PARTS = [part._replace(number=number) for number, part in enumerate(PLAN)]


class Settings(NamedTuple):
    """All that decides the bytes of a corpus."""

    seed: int
    scale: float
    speech_dir: str | None
    codecs: tuple  # of classes 1, 2, ...: names for pool.load

    def parts(self):
        """PARTS at this scale, with the added classes in eval_ood."""
        added = tuple((label, 1.0) for label in range(UNSEEN_LABELS[-1] + 1, len(self.codecs) + 1))
        for part in PARTS:
            versions = part.versions + added if part.folder == "eval_ood" else part.versions
            yield part._replace(count=max(2, round(part.count * self.scale)), versions=versions)


@lru_cache
def speech_source(folder):
    """Where utterances come from: a folder of recordings, or espeak-ng. Made once in each process."""
    return Recordings(folder) if folder else Synthesised()


@lru_cache
def cached_codec(name):
    """A codec, loaded once in each process."""
    with torch.random.fork_rng(devices=[]):  # its construction draws weights, which must not shift a unit's noise
        return load_codec(name)


def code_speech(settings, waves, label, setting, numbers, rng):
    """`waves` [utterances, samples] through the codec of class `label`."""
    if label == REAL:
        return waves
    codec = cached_codec(settings.codecs[label - 1])
    return codec.speak(codec.tokens(waves, setting))


def walk_tokens(settings, waves, label, setting, numbers, rng):
    """Speech-like nonsense from the codec's own tokens: a surrogate for an audio language model.

    A Markov walk over the frames of all of `waves`: about every 120 ms it jumps to another frame with the same token,
    so that the codec decodes sequences of tokens that are in no recording.
    """
    codec = cached_codec(settings.codecs[label - 1])
    tokens = codec.tokens(waves, setting)
    length = tokens.shape[2]
    frames = tokens.transpose(0, 1).flatten(1)  # [d, utterances * length]
    states = codec.states(frames).numpy()
    places = {state: np.flatnonzero(states == state) for state in np.unique(states)}
    jump = waves.shape[1] / SAMPLE_RATE / length / 0.12  # probability at a frame
    copies = []
    for _ in waves:
        place = rng.integers(len(states))
        path = []
        for _ in range(length):
            path.append(place)
            last = (place + 1) % length == 0
            if last or rng.random() < jump:
                place = rng.choice(places[states[place]])
            place = (place + 1) % len(states)
        copies.append(codec.speak(frames[:, path][None])[0])
    return torch.stack(copies)


def vocode_speech(settings, waves, label, setting, numbers, rng):
    """`waves` through the classical vocoders, in turn: spoofs of no codec."""
    methods = [VOCODERS[vocoder_of(number)] for number in numbers]
    copies = [method(wave.numpy().astype(float), rng) for method, wave in zip(methods, waves, strict=True)]
    return torch.from_numpy(np.stack(copies)).float()


def vocoder_of(number):
    """The vocoder of an utterance."""
    return list(VOCODERS)[number % len(VOCODERS)]


MAKERS = {"coded": code_speech, "walk": walk_tokens, "vocoded": vocode_speech}


def file_name(part, number, label):
    """The name of one file of a part."""
    return part.name.format(number=number, label=label)


def units(settings):
    """(part, numbers of its utterances) of every unit of work."""
    for part in settings.parts():
        for first in range(0, part.count, UNIT):
            yield part, range(first, min(first + UNIT, part.count))


def unit_paths(root, part, numbers):
    """The files of a unit, in the order of their making."""
    return [Path(root, part.folder, file_name(part, number, label)) for label, _ in part.versions for number in numbers]


@torch.no_grad()
def make_unit(root, settings, part, numbers):
    """Write the files of a unit that do not exist yet, each in one step.

    Every version of an utterance gets the level, the long-term spectrum and the amount of dither of the original, and
    none has an offset: none of these numbers must show the class.
    """
    if all(path.exists() for path in unit_paths(root, part, numbers)):
        return
    seeds = [[settings.seed, part.number, number] for number in numbers]
    source = speech_source(settings.speech_dir)
    waves = np.stack([source.utterance(part.source, seed, LENGTH + 2 * MARGIN) for seed in seeds])
    inputs, _ = levelled(torch.from_numpy(waves).float())
    kept = slice(MARGIN, MARGIN + LENGTH)
    for label, setting in part.versions:
        key = [*seeds[0], label]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        rng = np.random.default_rng(key)
        copies = MAKERS[part.make](settings, inputs, label, setting, numbers, rng)[:, kept].numpy().astype(float)
        for number, wave, copy in zip(numbers, waves, copies, strict=True):
            copy = match_spectrum(copy, wave[kept]) + DITHER * rng.standard_normal(LENGTH)
            path = Path(root, part.folder, file_name(part, number, label))
            with replacing(path) as temporary:
                form = path.suffix[1:].upper()
                soundfile.write(temporary, copy.clip(-1, 1), SAMPLE_RATE, "PCM_16", format=form)


def match_spectrum(copy, wave):
    """`copy` [samples] with the level and the long-term spectrum of `wave` [samples], and nothing below 50 Hz."""
    spectrum, power = spectrum_and_trend(copy)
    spectrum = spectrum * np.sqrt(spectrum_and_trend(wave)[1] / power)
    spectrum[: 50 * len(wave) // SAMPLE_RATE] = 0
    copy = np.fft.irfft(spectrum, len(wave))
    return copy * rms(wave) / max(rms(copy), 1e-6)


def label_lines(settings, folder, labels):
    """`FILE real|fake CLASS` lines of the files of `folder` whose class is one of `labels`."""
    return [
        f"{file_name(part, number, label)} {'fake' if label else 'real'} {label}"
        for part in settings.parts()
        if part.folder == folder
        for label, _ in part.versions
        if label in labels
        for number in range(part.count)
    ]


def protocol_lines(settings, folder, template):
    """A line of `template` for each file of `folder`; it may use {file}, {name}, {speaker}, {method} and {spoof}."""
    for part in settings.parts():
        for number in range(part.count if part.folder == folder else 0):
            file = Path(file_name(part, number, REAL))
            spoof = part.make == "vocoded"
            method = vocoder_of(number) if spoof else "-"
            yield template(file=file.name, name=file.stem, speaker=f"S{number // 5:02d}", method=method, spoof=spoof)


def protocol_texts(settings):
    """{path in the corpus: text} of every label file and protocol, in the formats of the published corpora."""
    known = range(7)
    unseen = range(8, len(settings.codecs) + 1)
    texts = {f"label/{folder}.txt": label_lines(settings, folder, known) for folder in ("train", "dev", "eval_id")}
    texts["label/eval_ood7.txt"] = label_lines(settings, "eval_ood", [7])
    texts["label/eval_ood8-11.txt"] = label_lines(settings, "eval_ood", unseen)

    def asvspoof(speaker, name, method, spoof, **_):
        return f"{speaker} {name} - {method} {'spoof' if spoof else 'bonafide'}"

    def in_the_wild(file, speaker, spoof, **_):
        return f"{file},{speaker},{'spoof' if spoof else 'bona-fide'}"

    texts[LA19_PROTOCOL] = list(protocol_lines(settings, LA19_FOLDER, asvspoof))
    texts[f"{ITW_FOLDER}/meta.csv"] = ["file,speaker,label", *protocol_lines(settings, ITW_FOLDER, in_the_wild)]
    return {path: "\n".join(lines) + "\n" for path, lines in texts.items()}


def describe_corpus(settings):
    """What made the corpus, as a dict for manifest.json; `classes` names and describes every class."""
    classes = {"0": {"name": "real", "speech": settings.speech_dir or "espeak-ng in a simulated room"}}
    for label, name in enumerate(settings.codecs, 1):
        codec = cached_codec(name)
        classes[str(label)] = {"name": name, "bit_rate": round(codec.bit_rate()), **read_card(name)}
    parts = [
        {
            "folder": part.folder,
            "speech": part.source,
            "utterances": part.count,
            "made": part.make,
            "versions": [describe_version(settings, *each) for each in part.versions],
        }
        for part in settings.parts()
    ]
    files = sum(part.count * len(part.versions) for part in settings.parts())
    return {"settings": settings._asdict(), "files": files, "classes": classes, "parts": parts}


def describe_version(settings, label, setting):
    """One class of a part: which codec made it, and at what bit rate."""
    if label == REAL:
        return {"class": label, "codec": None}
    name = settings.codecs[label - 1]
    return {"class": label, "codec": name, "bit_rate": round(cached_codec(name).bit_rate(setting))}
