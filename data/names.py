"""Speaker and utterance, as file names of the corpora say them: to resample whole speakers, and to compare splits."""

import re

# Patterns of file names without folder and suffix. A prefix names the codec.
NAME_PATTERNS = (
    re.compile(r"(?:^|_)(?P<speaker>SSB\d{4})(?P<utterance>\d{4})(?:_|$)"),  # AISHELL-3: mimi_SSB00050001
    re.compile(r"(?:^|_)(?P<speaker>[ps]\d{1,3})_(?P<utterance>\d{3})(?:_|$)"),  # VCTK: p225_001, p225_001_bigcodec
    re.compile(r"(?:^|_)(?P<speaker>R-[A-Z]{2}_\d+_\d+)_(?P<utterance>d\d+)$"),  # NCSSD: a conversation, not a speaker
    re.compile(r"^(?P<speaker>\d{4})(?P<utterance>)_\d{1,2}$"),  # demo corpus: a voice and a room of its own each
)


def cluster_of(name, kind):
    """The cluster that the file called `name` belongs to, for clusters of `kind` speaker, utterance or none.

    A speaker is a str, an utterance (speaker, number). None: the name does not say it, or `kind` is none.
    """
    if kind == "none":
        return None
    stem = re.sub(r"\.\w+$", "", name.rpartition("/")[2])
    match = next(filter(None, (pattern.search(stem) for pattern in NAME_PATTERNS)), None)
    if match is None:
        return None
    return match["speaker"] if kind == "speaker" else (match["speaker"], match["utterance"])
