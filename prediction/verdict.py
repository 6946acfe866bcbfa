"""From the windows of a file to its verdict: the source of each window, and the words of the reason."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from data.audio import SAMPLE_RATE
from data.classes import CLASSES, OTHER_CODEC, REAL
from utils.console import percent

UNKNOWN = "unknown codec"
UNSURE = "cannot tell"
SILENCE = "silence"
# Where a model of the fingerprint gives no verdict; measured with pretrained/real-codecs
HIDING = "opus"  # a compression that hides the traces of a codec
SPEECH_CODECS = ("amr", "gsm")  # part of the name of a compression after which half of real speech is an unknown codec
SHORTEST_UNKNOWN = 2  # seconds; of shorter real speech, up to 15 % would be an unknown codec
NARROW_LIMIT = 0.7  # smallest probability of a codec in a file below 16 kHz; wrong names had less
NO_SOURCE = (UNKNOWN, UNSURE, SILENCE)


class Limits(NamedTuple):
    """What the probabilities and the score of a window are compared with."""

    threshold: float  # of the detector: a lower score is an unknown codec
    codec: float  # smallest probability of a codec that is named
    real: float  # smallest probability of real speech that is named
    not_real: float = 0  # the probability of real speech up to which the window is of some codec
    level_range: float = 0  # dB: real speech is named only where the level above 3 kHz varies at least so much


def name_sources(probabilities, scores, level_ranges, names, limits):
    """The source of each window, text [n], from `probabilities` [n, classes] of `names` and detector `scores` [n].

    It is the most probable class. UNSURE where that is below its limit; then UNKNOWN where real speech is too
    improbable. UNKNOWN also where the score is below the threshold. Real speech is UNSURE in noise, which hides the
    traces of a codec: where `level_ranges` [n], in dB, are below their limit.
    """
    names = np.array(names, object)
    real = names == CLASSES[REAL]
    sources = names[probabilities.argmax(axis=1)]
    sources[probabilities.max(axis=1) < np.where(sources == CLASSES[REAL], limits.real, limits.codec)] = UNSURE
    sources[(sources == CLASSES[REAL]) & (level_ranges < limits.level_range)] = UNSURE
    if real.any():
        sources[(sources == UNSURE) & (probabilities[:, real].max(axis=1) <= limits.not_real)] = UNKNOWN
    sources[(sources == OTHER_CODEC) | (scores < limits.threshold)] = UNKNOWN
    return sources


def agreement_with(source, sources, whole=False):
    """Share of the window `sources` [n] that are `source`; for UNSURE, the share of the most frequent source.

    Where a model has read the `whole` file at once, which is easier than to read a window, a window that is UNSURE
    contradicts nothing, and one that is UNKNOWN contradicts no codec; without another window, all agree.
    """
    if whole and source != UNSURE:
        silent = (UNSURE,) if source in (CLASSES[REAL], UNKNOWN) else (UNSURE, UNKNOWN)
        sources = np.array([other for other in sources if other not in silent] or [source], object)
    counts = Counter(sources.tolist())
    agreeing = max(counts.values(), default=0) if source == UNSURE else counts[source]
    return agreeing / max(len(sources), 1)


def decide_verdict(source, others, probabilities, p_value, percentile, agreement, level_range, limits, min_agreement):
    """(verdict, reason in words) of a file whose windows together give `source`.

    `others` are further sources in its timeline, `probabilities` is {class: mean over the windows}, `agreement` is what
    agreement_with() gives, `level_range` is in dB, `limits` are Limits.
    """
    best, share = max(probabilities.items(), key=lambda row: row[1])
    limit = limits.real if best == CLASSES[REAL] else limits.codec
    if (source == UNSURE and len(others) > 1) or (agreement < min_agreement and others):
        return UNSURE, "the recording seems to contain several sources, one after the other: see the timeline"
    if source == UNSURE and best == CLASSES[REAL] and share >= limit and level_range < limits.level_range:
        return (
            UNSURE,
            f"{best} has {percent(share)}, but the recording is noisy, and noise hides the traces of a codec: above"
            f" 3 kHz its level varies by {level_range:.0f} dB, at least {limits.level_range:.0f} dB are needed",
        )
    if source == UNSURE:
        return UNSURE, f"no source is probable enough: {best} has {share:.0%}, the limit is {limit:.0%}"
    if agreement < min_agreement:
        return UNSURE, f"the windows disagree: only {agreement:.0%} of them give {source}"
    if source == UNKNOWN:
        reason = describe_unknown(probabilities, p_value, percentile, limits)
    elif source in probabilities:
        reason = f"{source} is the most probable of the known sources, with {percent(probabilities[source])}"
    else:
        reason = f"the recording is within the limit of the enrolled source {source}"
    return source, reason + (f"; the timeline also contains {', '.join(others)}" if others else "")


def why_withheld(verdict, probabilities, about, seconds):
    """Why a model of the fingerprint cannot give `verdict` for such a recording, in words; "" where it can.

    `about` is the About of the recording, `seconds` its length. An enrolled source is what the user made it of.
    """
    if verdict not in (UNKNOWN, *probabilities):
        return ""
    for name in SPEECH_CODECS:
        if name in about.compression:
            return f"the file is compressed with {name.upper()}, whose traces look like those of other codecs"
    if verdict == CLASSES[REAL]:
        hidden = HIDING in about.compression
        return f"the file is compressed with {HIDING}, which hides the traces of a codec" if hidden else ""
    if verdict == UNKNOWN and seconds < SHORTEST_UNKNOWN:
        return f"in less than {SHORTEST_UNKNOWN} s, real speech is often taken for an unknown codec: give a longer part"
    if about.rate < SAMPLE_RATE and probabilities.get(verdict, 0) < NARROW_LIMIT:
        return (
            "in a file with few samples a second, real speech is often taken for a codec, so the limit there is"
            f" {NARROW_LIMIT:.0%}"
        )
    return ""


def describe_shortcomings(about):
    """What a user should know of a recording besides its verdict, as the end of the reason, from its About."""
    notes = []
    if about.rate < SAMPLE_RATE:
        limit = about.rate / 2000
        notes.append(f"the file has {about.rate} samples a second, so it holds nothing above {limit:g} kHz to look at")
    notes += filter(None, (about.channel_note, about.file_note))
    return "".join(f"; {note}" for note in notes)


def describe_unknown(probabilities, p_value, percentile, limits):
    """The reason of the verdict UNKNOWN, in words; see decide_verdict() for the parameters."""
    real = probabilities.get(CLASSES[REAL], 1)
    codecs = {name: share for name, share in probabilities.items() if name not in (CLASSES[REAL], OTHER_CODEC)}
    nearest = max(codecs, key=codecs.get, default=None)
    if nearest and real <= limits.not_real and codecs[nearest] < limits.codec:
        return (
            f"it does not sound like real speech, which has {real:.1%}, and no known codec is probable enough:"
            f" {nearest} has {codecs[nearest]:.0%}, the limit is {limits.codec:.0%}"
        )
    return (
        f"{100 - percentile:.1f} % of the development files fit the known sources better (p = {p_value:.3g});"
        " the codec is unknown, or the recording differs from the training data"
    )
