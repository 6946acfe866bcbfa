"""Balanced training, development and test lists of CoRS, in the published format."""

from collections import Counter, defaultdict
from itertools import groupby

import numpy as np

from data.protocols import folder_names
from data.taxonomy import CODEC_TAXONOMY, find_codec
from data.taxonomy_protocols import AUDIO_SUFFIXES, LIST_NAMES, codec_of
from utils.errors import InputError
from utils.files import write_text


def pair_up(names, codecs=CODEC_TAXONOMY, place="the audio folder"):
    """{bona fide utterance: its codecs} among CoRS names, both in name order.

    Raises InputError for a codec that is not in the taxonomy, and when there is no pair.
    """
    coded = defaultdict(list)
    for name in sorted(names):
        codec = codec_of(name)
        if codec:
            find_codec(codec, f"{place}, file {name},", codecs)
            coded[name.removesuffix(f"_{codec}")].append(codec)
    pairs = {utterance: coded[utterance] for utterance in sorted(names) if utterance in coded}
    if not pairs:
        raise InputError(f"{place} holds no utterance SPEAKER_NUMBER with a coded SPEAKER_NUMBER_CODEC beside it")
    return pairs


def speaker_of(utterance):
    """The speaker in a CoRS name, SPEAKER_NUMBER."""
    return utterance.partition("_")[0]


def split_speakers(pairs, dev_speakers, test_speakers, place="the audio folder"):
    """{"train", "dev" and "test": the entries of `pairs` whose speaker is in this part}, by the lists of speakers.

    Raises InputError for a speaker of two parts, and for a part without any utterance.
    """
    both = set(dev_speakers) & set(test_speakers)
    if both:
        raise InputError(f"--dev_speakers and --test_speakers share {min(both)}: the parts must differ in speakers")
    part_of = dict.fromkeys(dev_speakers, "dev") | dict.fromkeys(test_speakers, "test")
    parts = {"train": {}, "dev": {}, "test": {}}
    for utterance, codecs in pairs.items():
        parts[part_of.get(speaker_of(utterance), "train")][utterance] = codecs
    empty = [part for part, members in parts.items() if not members]
    if empty:
        speakers = sorted({speaker_of(utterance) for utterance in pairs})
        raise InputError(
            f"{place}: the {empty[0]} part has no utterance; the speakers there are {' '.join(speakers[:8])}"
            f"{' ...' * (len(speakers) > 8)}: set --dev_speakers and --test_speakers"
        )
    return parts


def sample_balanced(pairs, task, rng, codecs=CODEC_TAXONOMY, spoofs=1):
    """[(utterance, codec)] of every bona fide utterance of `pairs`, in their order, balanced over a task's classes.

    Each utterance draws `spoofs` codecs, uniformly among those left whose class has been used least so far. With one
    spoof the classes never differ by more than 1 where every utterance has all of them. Source: derived from the
    published lists of one spoof, which show the rule but not the seed.
    """
    used = Counter()
    chosen = []
    for utterance, options in pairs.items():
        left = {codec: getattr(find_codec(codec, utterance, codecs), task) for codec in options}
        for _ in range(min(spoofs, len(left))):
            least = min(used[name] for name in left.values())
            candidates = [codec for codec, name in left.items() if used[name] == least]
            codec = candidates[rng.integers(len(candidates))]
            used[left.pop(codec)] += 1
            chosen.append((utterance, codec))
    return chosen


def list_text(chosen, codecs=CODEC_TAXONOMY):
    """The lines of a list in the published format: each bona fide utterance, and after it its spoofs."""
    lines = []
    for utterance, spoofs in groupby(chosen, key=lambda pair: pair[0]):
        speaker = speaker_of(utterance)
        lines.append(f"{speaker} {utterance} - REAL REAL REAL bonafide\n")
        for _, codec in spoofs:
            row = find_codec(codec, utterance, codecs)
            lines.append(f"{speaker} {utterance}_{codec} - {row.aux} {row.dec} {row.vq} spoof\n")
    return "".join(lines)


def shuffle_entries(pairs, rng):
    """`pairs` in random order."""
    members = list(pairs.items())
    return dict(members[position] for position in rng.permutation(len(members)))


def write_lists(base_dir, list_dir, codecs, *, dev_speakers, test_speakers, spoofs=1, seed=0):
    """Write the nine lists of LIST_NAMES, of train, dev and test, for the CoRS audio in the folder `base_dir`.

    `codecs` is {name: row of the taxonomy}. The same arguments give the same lists. Prints a line a list. Raises
    InputError as pair_up() and split_speakers() do, before anything is written.
    """
    files = folder_names(base_dir)
    names = {file.removesuffix(suffix) for file in files for suffix in AUDIO_SUFFIXES if file.endswith(suffix)}
    parts = split_speakers(pair_up(names, codecs, base_dir), dev_speakers, test_speakers, base_dir)
    for part_number, (part, pairs) in enumerate(parts.items()):
        shuffled = shuffle_entries(pairs, np.random.default_rng((seed, part_number)))  # the same in every strategy
        for number, (strategy, name) in enumerate(LIST_NAMES.items()):
            rng = np.random.default_rng((seed, part_number, number))
            chosen = sample_balanced(shuffled, strategy.lower(), rng, codecs, spoofs)
            path = list_dir / name.format(part)
            write_text(path, list_text(chosen, codecs))
            print(f"wrote {path} ({len(pairs)} bona fide, {len(chosen)} spoofs)")
