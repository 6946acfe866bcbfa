"""From audio files to verdicts: windows over the whole file, what the model says of each, and what that adds up to.

Used by predict.py and app.py. A file is cut into windows of the model's length, half a window apart unless told
otherwise; a shorter file is repeated from its start, as in training. Of each window the model gives calibrated
probabilities of the known classes, and a detector's score of how well it fits them; source_of() turns both into a
source. The file's probabilities are the mean over its windows, its score is their median. A development file is one
window, so for a longer file, whose median varies less, percentile and p-value err towards known.

At each moment the timeline follows, of the windows over it, the one that names a source with the highest score. A
moment is of an unknown codec only when every window over it is.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import models
from config import Config
from data.audio import SAMPLE_RATE, SAMPLES
from engine.inference import make_accelerator
from evaluation import calibration
from ood_detectors import Outputs
from prediction.windows import infer_windows

UNKNOWN, UNSURE, SILENCE = "unknown codec", "cannot tell", "silence"
NO_SOURCE = (UNKNOWN, UNSURE, SILENCE)
MEDIANS = {"scores": np.median}  # how a file's windows are pooled; the others by their mean
LEAST = SAMPLE_RATE // 2  # samples of a file that is judged
SHORTEST = SAMPLES // 4  # of a segment of the timeline, in samples
TASKS = ("vq", "aux", "dec")  # of the taxonomy, as they are shown


@dataclass(frozen=True)
class Prediction:
    """What is said of one file. Scores are higher for known sources; percentile and p-value are among dev files."""

    file: str
    seconds: float
    windows: int
    verdict: str  # a class of the model, an enrolled source, UNKNOWN or UNSURE
    reason: str  # in words
    probabilities: dict  # {class: mean over the windows}
    detector: str
    score: float
    threshold: float
    percentile: float
    p_value: float
    agreement: float  # share of the windows that are not silent and say the same: the verdict, or what most say
    timeline: list  # [{"start", "end" in seconds, "source", "probability" or None}]
    taxonomy: dict  # {"VQ": {class: mean over the windows}, ...}; not calibrated

    def as_dict(self):
        return asdict(self)


def source_of(probabilities, scores, names, threshold, min_probability):
    """The source of each row, [n] text: the most probable class, UNSURE below `min_probability`, UNKNOWN below
    `threshold`."""
    source = np.array(names, object)[probabilities.argmax(axis=1)]
    source[probabilities.max(axis=1) < min_probability] = UNSURE
    source[scores < threshold] = UNKNOWN
    return source


def moments(start, stop, sources, scores):
    """Edges [cells + 1] of the stretches of time that the same windows [n] cover, and the window [cells] that decides
    each: one that names a source goes before one that does not, then the higher score counts."""
    edges = np.unique(np.concatenate((start, stop)))
    first = np.searchsorted(stop, edges[:-1], side="right")
    last = np.searchsorted(start, edges[:-1], side="right")
    named = [source not in NO_SOURCE for source in sources]
    rank = np.empty(len(start), int)
    rank[np.lexsort((scores, named))] = np.arange(len(start))
    return edges, [low + int(rank[low:high].argmax()) for low, high in zip(first, last, strict=True)]


def timeline(table, sources, names):
    """Segments [{"start", "end" in seconds, "source", "probability"}] of the windows in `table`, merged where equal.

    `names` are the classes; other sources have no probability. See moments(). What is shorter than SHORTEST, which
    no window of four seconds can tell, joins what is before it.
    """
    scores = np.where(table["audible"], table["scores"], -np.inf)
    edges, deciding = moments(table["start"], table["stop"], sources, scores)
    column = {name: number for number, name in enumerate(names)}
    runs = []  # [first edge, last edge, source, windows]
    for cell, window in enumerate(deciding):
        if not runs or runs[-1][2] != sources[window]:
            runs.append([edges[cell], edges[cell], sources[window], []])
        runs[-1][1] = edges[cell + 1]
        runs[-1][3].append(window)
    segments = []
    for begin, end, source, held in runs:
        if segments and (end - begin < SHORTEST or segments[-1][2] == source):
            segments[-1][1] = end
        elif segments and segments[-1][1] - segments[-1][0] < SHORTEST:  # the first one, too short by itself
            segments[-1][1:] = end, source, held
        else:
            segments.append([begin, end, source, held])
    return [
        {"start": float(begin / SAMPLE_RATE), "end": float(end / SAMPLE_RATE), "source": source}
        | {"probability": float(table["probabilities"][held, column[source]].mean()) if source in column else None}
        for begin, end, source, held in segments
    ]


def share_of(source, sources):
    """Share of the window `sources` [n] that are `source`; of UNSURE, the largest share that any source has."""
    counts = Counter(sources.tolist())
    return (counts[source] if source != UNSURE else max(counts.values(), default=0)) / max(len(sources), 1)


def explain(source, others, probabilities, p_value, percentile, agreement, config):
    """(verdict, reason in words) of a file whose windows add up to `source`; `others` are in its timeline as well."""
    best, share = max(probabilities.items(), key=lambda row: row[1])
    if (source == UNSURE and len(others) > 1) or (agreement < config.min_agreement and others):
        return UNSURE, "several sources seem to follow one another: see the timeline"
    if source == UNSURE:
        return UNSURE, f"no source is probable enough: {best} has {share:.0%}, below {config.min_probability:.0%}"
    if agreement < config.min_agreement:
        return UNSURE, f"the windows disagree: {agreement:.0%} of them say {source}"
    if source == UNKNOWN:
        reason = (
            f"fits the known sources worse than {100 - percentile:.1f} % of the development files do"
            f" (p = {p_value:.3g}): an unknown codec, or a recording unlike those of training"
        )
    elif source in probabilities:
        reason = f"of the known sources it is most like {source}, {probabilities[source]:.1%}"
    else:
        reason = f"it lies within the limit of {source}, an enrolled source"
    return source, reason + (f"; the timeline names {', '.join(others)}, too" if others else "")


def load_model(config):
    """The Calibration and the model in --model_folder, on the device of the Accelerator that comes third."""
    calibrated = calibration.read(config.model_folder)
    settings = Config(SSL_path=config.SSL_path, num_classes=len(calibrated.class_names))
    accelerator = make_accelerator(config)
    return calibrated, models.load(config.model_folder, settings).to(accelerator.device), accelerator


class Tracer:
    """A trained and calibrated model, and what else a TraceConfig asks for, ready for any number of files.

    Raises InputError when something is missing, damaged or does not fit together.
    """

    def __init__(self, config):
        self.config = config
        self.calibration, self.model, self.accelerator = load_model(config)
        self.detector = config.ood_detector_name or calibration.DEFAULT
        self.threshold = self.calibration.threshold(self.detector)
        self.registry = self._registry()
        self.taxonomy = [self._taxonomy(path) for path in config.taxonomy_model]

    def _registry(self):
        if not self.config.registry:
            return None
        from prediction import enrolment

        return enrolment.read(self.config.registry, self.config.model_folder)

    def _taxonomy(self, path):
        from config_taxonomy import TaxonomyConfig
        from models import taxonomy_weights  # slow to import

        return taxonomy_weights.load(path, TaxonomyConfig()).to(self.accelerator.device)

    def _measure(self, features, logits):
        """What is kept of a batch of windows: arrays [batch, ...]."""
        table = {
            "probabilities": self.calibration.probabilities(logits),
            "scores": self.calibration.score(self.detector, Outputs(features, logits, None)),
        }
        if self.registry:
            table["margins"] = self.registry.margins(features)
        return table

    def settings(self):
        """What decided the figures, for a JSON file."""
        made = self.calibration.description
        return {
            "model_folder": str(self.config.model_folder),
            **{name: made[name] for name in ("checkpoint_sha256", "temperature", "tpr")},
            **{name: getattr(self.config, name) for name in ("hop", "min_probability", "min_agreement")},
            "registry": str(self.config.registry) if self.registry else None,
            "taxonomy_model": [str(path) for path in self.config.taxonomy_model],
        }

    def trace(self, files):
        """(Prediction or None, message) of each of `files`, in order; a file that cannot be used has a message."""
        paths = [Path(file) for file in files]
        tables = infer_windows(self.model, SAMPLES, paths, self.config, self.accelerator, self._measure)
        described = [{} for _ in paths]
        for model in self.taxonomy:
            parts = infer_windows(model, model.samples, paths, self.config, self.accelerator, taxonomy_shares)
            for row, (table, _) in zip(described, parts, strict=True):
                row |= describe_taxonomy(table) if table else {}
        return [
            (self._predict(file, table, taxonomy) if table else None, message)
            for file, (table, message), taxonomy in zip(files, tables, described, strict=True)
        ]

    def _sources(self, table):
        """The source of each window [n] of `table`, silence apart."""
        names, config = self.calibration.class_names, self.config
        sources = source_of(table["probabilities"], table["scores"], names, self.threshold, config.min_probability)
        return self.registry.recognise(table["margins"], sources) if self.registry else sources

    def _predict(self, file, table, taxonomy):
        """The Prediction of a file from the table of its windows."""
        names, audible = self.calibration.class_names, table["audible"]
        sources = np.where(audible, self._sources(table), SILENCE)
        whole = pooled(table)
        source, score = self._sources(whole)[0], whole["scores"]
        probabilities = dict(zip(names, whole["probabilities"][0].tolist(), strict=True))
        percentile = float(self.calibration.percentile(self.detector, score)[0])
        p_value = float(self.calibration.p_value(self.detector, score)[0])
        segments = timeline(table, sources, names)
        agreement = share_of(source, sources[audible])
        verdict, reason = UNSURE, "too little sound: half of every window is silent"
        if table["stop"][-1] < LEAST:
            reason = f"it is too short: {table['stop'][-1] / SAMPLE_RATE:.2f} s"
        elif audible.any():
            others = sorted({segment["source"] for segment in segments} - {source, UNSURE, SILENCE})
            verdict, reason = explain(source, others, probabilities, p_value, percentile, agreement, self.config)
        return Prediction(
            file=str(file),
            seconds=float(table["stop"][-1] / SAMPLE_RATE),
            windows=len(sources),
            verdict=verdict,
            reason=reason,
            probabilities=probabilities,
            detector=self.detector,
            score=float(score[0]),
            threshold=self.threshold,
            percentile=percentile,
            p_value=p_value,
            agreement=agreement,
            timeline=segments,
            taxonomy=taxonomy,
        )


def pooled(table):
    """The table of one row that stands for a file's windows, or for those that are not silent where there are any."""
    heard = table["audible"] if table["audible"].any() else ~table["audible"]
    return {name: MEDIANS.get(name, np.mean)(array[heard], axis=0, keepdims=True) for name, array in table.items()}


def taxonomy_shares(_, logits):
    """{task: probabilities [batch, classes]} of what a taxonomy model gives; spoof detection is left out."""
    return {task: rows.softmax(dim=1).numpy() for task, rows in logits.items() if task in TASKS}


def describe_taxonomy(table):
    """{"VQ": {class: mean over the windows that are not silent}, ...} of taxonomy_shares of a file's windows."""
    from data.taxonomy import CLASSES

    means = {task: rows[0].tolist() for task, rows in pooled(table).items() if task in TASKS}
    return {task.upper(): dict(zip(CLASSES[task], row, strict=True)) for task, row in means.items()}
