"""From the windows of a file to its verdict: the source of each window, and the words of the reason."""

from collections import Counter

import numpy as np

UNKNOWN = "unknown codec"
UNSURE = "cannot tell"
SILENCE = "silence"
NO_SOURCE = (UNKNOWN, UNSURE, SILENCE)


def name_sources(probabilities, scores, names, threshold, min_probability):
    """The source of each window, text [n], from `probabilities` [n, classes] and detector `scores` [n].

    It is the most probable class, UNSURE when its probability is below `min_probability`, UNKNOWN when the score is
    below `threshold`.
    """
    sources = np.array(names, object)[probabilities.argmax(axis=1)]
    sources[probabilities.max(axis=1) < min_probability] = UNSURE
    sources[scores < threshold] = UNKNOWN
    return sources


def agreement_with(source, sources):
    """Share of the window `sources` [n] that are `source`; for UNSURE, the share of the most frequent source."""
    counts = Counter(sources.tolist())
    agreeing = max(counts.values(), default=0) if source == UNSURE else counts[source]
    return agreeing / max(len(sources), 1)


def decide_verdict(source, others, probabilities, p_value, percentile, agreement, config):
    """(verdict, reason in words) of a file whose windows together give `source`.

    `others` are further sources in its timeline, `probabilities` is {class: mean over the windows}, `agreement` is the
    share of windows that give `source`. A TraceConfig as `config` has the limits.
    """
    best, share = max(probabilities.items(), key=lambda row: row[1])
    if (source == UNSURE and len(others) > 1) or (agreement < config.min_agreement and others):
        return UNSURE, "the recording seems to contain several sources, one after the other: see the timeline"
    if source == UNSURE:
        return (
            UNSURE,
            f"no source is probable enough: {best} has {share:.0%}, the limit is {config.min_probability:.0%}",
        )
    if agreement < config.min_agreement:
        return UNSURE, f"the windows disagree: only {agreement:.0%} of them give {source}"
    if source == UNKNOWN:
        reason = (
            f"{100 - percentile:.1f} % of the development files fit the known sources better (p = {p_value:.3g});"
            " the codec is unknown, or the recording differs from the training data"
        )
    elif source in probabilities:
        reason = f"{source} is the most probable of the known sources, with {probabilities[source]:.1%}"
    else:
        reason = f"the recording is within the limit of the enrolled source {source}"
    return source, reason + (f"; the timeline also contains {', '.join(others)}" if others else "")
