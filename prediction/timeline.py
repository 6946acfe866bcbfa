"""The timeline of a file: which source is heard when, from windows that overlap.

At each moment, several windows overlap. Of those that name a source, the one with the highest score decides. A moment
has an unknown codec only when every window over it has one.
"""

import numpy as np

from data.audio import SAMPLE_RATE, SAMPLES
from prediction.results import Segment
from prediction.verdict import NO_SOURCE

SHORTEST_SEGMENT = SAMPLES // 4  # samples; a window of four seconds cannot resolve less


def deciding_windows(start, stop, sources, scores):
    """Edges [cells + 1] of the cells of time that the same windows [n] cover, and the deciding window of each [cells].

    A window that names a source goes before one that does not; then the higher score decides.
    """
    edges = np.unique(np.concatenate((start, stop)))
    first = np.searchsorted(stop, edges[:-1], side="right")
    last = np.searchsorted(start, edges[:-1], side="right")
    named = [source not in NO_SOURCE for source in sources]
    rank = np.empty(len(start), int)
    rank[np.lexsort((scores, named))] = np.arange(len(start))
    return edges, [low + int(rank[low:high].argmax()) for low, high in zip(first, last, strict=True)]


def merge_cells(edges, deciding, sources):
    """Runs [[begin, end, source, windows]] of neighbouring cells with one source; begin and end in samples."""
    runs = []
    for cell, window in enumerate(deciding):
        if not runs or runs[-1][2] != sources[window]:
            runs.append([edges[cell], edges[cell], sources[window], []])
        runs[-1][1] = edges[cell + 1]
        runs[-1][3].append(window)
    return runs


def absorb_short(runs):
    """`runs` without those below SHORTEST_SEGMENT: each joins the run before it, a short first one the next run."""
    kept = []
    for begin, end, source, windows in runs:
        if kept and (end - begin < SHORTEST_SEGMENT or kept[-1][2] == source):
            kept[-1][1] = end
        elif kept and kept[-1][1] - kept[-1][0] < SHORTEST_SEGMENT:
            kept[-1][1:] = end, source, windows
        else:
            kept.append([begin, end, source, windows])
    return kept


def make_timeline(table, sources, names):
    """The Segments of the windows in `table` (see infer_files), whose `sources` [windows] are text.

    A source that is not one of the classes `names` has no probability.
    """
    scores = np.where(table["audible"], table["scores"], -np.inf)
    edges, deciding = deciding_windows(table["start"], table["stop"], sources, scores)
    column = {name: number for number, name in enumerate(names)}
    segments = []
    for begin, end, source, windows in absorb_short(merge_cells(edges, deciding, sources)):
        probability = None
        if source in column:
            probability = float(table["probabilities"][windows, column[source]].mean())
        segments.append(Segment(float(begin / SAMPLE_RATE), float(end / SAMPLE_RATE), source, probability))
    return segments
