"""A Tracer turns audio files into Predictions.

A file is cut into windows of the model's length; the next one starts half a window later, or after --hop. A shorter
file is repeated from its start, as in training. For each window the model gives calibrated probabilities of the known
classes, and a detector gives a score: how well the window fits them. verdict.py turns both into a source. The
probabilities of a file are the mean over its windows, its score is their median. A development file is one window; the
median of a longer file varies less, so its percentile and p-value are closer to those of known sources. A model that
reads fingerprints judges a file by the mean of their fingerprints.
"""

from itertools import chain

import numpy as np

from config import Config
from config_taxonomy import TaxonomyConfig
from data.audio import SAMPLE_RATE, SAMPLES
from data.taxonomy import TAXONOMY_CLASSES, describe_codec
from engine.inference import make_accelerator
from evaluation.calibration import DEFAULT_DETECTOR, read_calibration
from models.building import load_model
from ood_detectors import Outputs
from prediction.peaks import compare_with_source
from prediction.recordings import as_recordings, split_channels
from prediction.registry import read_registry
from prediction.results import Failure, Prediction
from prediction.settings import TraceConfig
from prediction.timeline import make_timeline
from prediction.verdict import (
    SILENCE,
    UNKNOWN,
    UNSURE,
    Limits,
    agreement_with,
    decide_verdict,
    describe_shortcomings,
    name_sources,
    why_withheld,
)
from prediction.waveform import checked_waveform
from prediction.windows import embed_files, infer_files, with_progress
from utils.errors import InputError
from utils.flags import configured

SHORTEST_FILE = SAMPLE_RATE // 2  # samples; a shorter file gets no verdict
MIN_PROBABILITY = 0.5  # of a source that is named, where neither calibration nor a flag says otherwise
TAXONOMY_TASKS = ("vq", "aux", "dec")  # the tasks of a taxonomy model that are shown


def read_calibrated_model(folder, ssl_path):
    """(Calibration, model) of a model's folder, the model in eval mode on the CPU; `ssl_path` is --SSL_path.

    Raises InputError when the model or its calibration is missing, damaged, or does not fit the other.
    """
    calibrated = read_calibration(folder)
    return calibrated, load_model(folder, Config(SSL_path=ssl_path, num_classes=len(calibrated.class_names)))


def load_calibrated_model(config):
    """(Calibration, model, Accelerator) of --model_folder, the model on the Accelerator's device.

    Raises InputError as read_calibrated_model() does.
    """
    calibrated, model = read_calibrated_model(config.model_folder, config.SSL_path)
    accelerator = make_accelerator(config)
    return calibrated, model.to(accelerator.device), accelerator


class Tracer:
    """A trained and calibrated model, ready for any number of files; `config` is a TraceConfig.

    Raises InputError when a file of the model is missing or damaged, or when two of them do not fit each other.
    """

    @classmethod
    def load(cls, model_folder=None, **settings):
        """The Tracer of a model's folder; without one, of the model of real codecs that comes with this project.

        `settings` are the flags of predict.py by name, such as min_probability=0.8 or channel="each". num_workers is
        0 unless it is given, so that a script needs no `if __name__ == "__main__":`. Raises InputError as above, and
        for a setting that its flag would refuse.
        """
        if model_folder is not None:
            settings["model_folder"] = model_folder
        return cls(configured(TraceConfig, **{"num_workers": 0, **settings}))

    def __init__(self, config):
        self.config = config
        self.calibration, self.model, self.accelerator = load_calibrated_model(config)
        self.detector = config.ood_detector_name or DEFAULT_DETECTOR
        self.limits = self._find_limits()
        train = self.calibration.train
        self.registry = read_registry(config.registry, config.model_folder, train) if config.registry else None
        self.taxonomy_models = [self._load_taxonomy_model(path) for path in config.taxonomy_model]

    def _find_limits(self):
        """The Limits of verdicts: those that the model was calibrated with, or --min_probability where it is given."""
        found = {"codec": MIN_PROBABILITY, "real": MIN_PROBABILITY} | self.calibration.limits
        if self.config.min_probability is not None:
            found |= {"codec": self.config.min_probability, "real": self.config.min_probability}
        return Limits(self.calibration.threshold(self.detector), **found)

    def _load_taxonomy_model(self, path):
        from models.taxonomy_building import load_taxonomy_model  # slow to import

        return load_taxonomy_model(path, TaxonomyConfig()).to(self.accelerator.device)

    def settings_used(self):
        """The settings that the results depend on, for a JSON file."""
        made = self.calibration.description
        return {
            "model_folder": str(self.config.model_folder),
            **{name: made[name] for name in ("checkpoint_sha256", "temperature", "tpr")},
            **{name: getattr(self.config, name) for name in ("hop", "min_agreement")},
            "limits": self.limits._asdict(),
            "registry": str(self.config.registry) if self.registry else None,
            "taxonomy_model": [str(path) for path in self.config.taxonomy_model],
        }

    def trace(self, files):
        """[Prediction] of `files`, paths or Recordings, in their order; a Failure for one that cannot be used.

        A single path is also taken. With the setting channel="each", a file of several channels has a Prediction for
        each of them.
        """
        recordings = split_channels(as_recordings(files), self.config.channel)
        return list(with_progress(self.trace_each(recordings), len(recordings)))

    def trace_wave(self, array, rate, name="waveform"):
        """The Prediction of samples in memory, floats [n] from -1 to 1 at `rate` Hz.

        Raises InputError for samples that cannot be used; see checked_waveform().
        """
        [result] = self.trace_each([checked_waveform(array, rate, name)])
        if not result:
            raise InputError(result.error)
        return result

    def embed(self, files):
        """Embeddings of `files`, float32 [files, d]: the model's features, the mean over the windows of a file.

        A model that reads fingerprints gives those of the mean fingerprint. Of several channels, the mean is read.
        Raises InputError for a file that cannot be used, or that is silent.
        """
        return embed_files(self.model, files, self.config, self.accelerator, lambda features: features.numpy())

    def trace_each(self, recordings, blocks=None):
        """Generate the Prediction or Failure of each of `recordings`, in their order, as soon as it is known.

        What is held does not grow with their number. `blocks` are some of file_blocks(), where not all are wanted.
        """
        settings = recordings, self.config, self.accelerator
        streams = [infer_files(self.model, SAMPLES, *settings, self._measure, blocks)]
        for model in self.taxonomy_models:
            streams.append(infer_files(model, model.samples, *settings, taxonomy_probabilities, blocks))
        numbers = range(len(recordings)) if blocks is None else chain.from_iterable(blocks)
        for number, measured, *others in zip(numbers, *streams, strict=True):
            recording = recordings[number]
            if measured.message:
                yield Failure(recording.name, measured.message)
                continue
            taxonomy = {}
            for other in others:
                taxonomy |= describe_taxonomy(other.whole) if other.whole else {}
            yield self._predict(recording, measured, taxonomy)

    def _measure(self, features, logits):
        """The arrays [batch, ...] that are kept of a batch of windows."""
        table = {
            "probabilities": self.calibration.probabilities(logits),
            "scores": self.calibration.score(self.detector, Outputs(features, logits, None)),
        }
        if self.registry:
            table["margins"] = self.registry.margins(features)
        return table

    def _sources(self, table):
        """The source of each window of `table`, text [windows]; silence is not considered."""
        names = self.calibration.class_names
        measured = (table[name] for name in ("probabilities", "scores", "level_range"))
        sources = name_sources(*measured, names, self.limits)
        return self.registry.recognise(table["margins"], sources) if self.registry else sources

    def _predict(self, recording, found, taxonomy):
        """The Prediction of a Recording, from its Measured `found`."""
        table, whole, about, _ = found
        names = self.calibration.class_names
        score = whole["scores"]
        source = self._sources(whole)[0]
        sources = np.where(table["audible"], self._sources(table), SILENCE)
        segments = make_timeline(table, sources, names)
        measured = {
            "probabilities": dict(zip(names, whole["probabilities"][0].tolist(), strict=True)),
            "percentile": float(self.calibration.percentile(self.detector, score)[0]),
            "p_value": float(self.calibration.p_value(self.detector, score)[0]),
            "level_range": float(whole["level_range"][0]),
            "agreement": agreement_with(source, sources[table["audible"]], whole="views" in table),
        }
        verdict, reason = self._decide(table, source, segments, measured)
        seconds = float(table["stop"][-1] / SAMPLE_RATE)
        doubt = "views" in table and why_withheld(verdict, measured["probabilities"], about, seconds)
        if doubt:
            verdict, reason = UNSURE, doubt if verdict == UNKNOWN else f"{reason}, but {doubt}"
        reason += describe_shortcomings(about)
        spectrum, peaks = self._explain(table, whole, verdict, measured["probabilities"], about.rate)
        return Prediction(
            file=recording.name,
            channel=None if recording.channel is None else recording.channel + 1,
            channel_note=about.channel_note,
            file_note=about.file_note,
            seconds=seconds,
            sample_rate=about.rate,
            windows=len(sources),
            verdict=verdict,
            reason=reason,
            detector=self.detector,
            score=float(score[0]),
            threshold=self.limits.threshold,
            timeline=segments,
            taxonomy=taxonomy,
            codec=describe_codec(verdict),
            peaks=peaks,
            spectrum=spectrum,
            recording=recording,
            **measured,
        )

    def _explain(self, table, whole, verdict, probabilities, rate):
        """(FileSpectrum, Peaks) of the fingerprint of a file; (None, ()) for another model, or without enough sound."""
        if "views" not in whole or table["stop"][-1] < SHORTEST_FILE or not table["audible"].any():
            return None, ()
        references = self.calibration.fingerprints
        return compare_with_source(whole["views"][0, 0], verdict, probabilities, references, rate)

    def _decide(self, table, source, segments, measured):
        """(verdict, reason) of a file whose windows together give `source`."""
        length = table["stop"][-1]
        if length < SHORTEST_FILE:
            limit = SHORTEST_FILE / SAMPLE_RATE
            return (
                UNSURE,
                f"the file is too short: it has {length / SAMPLE_RATE:.2f} s, at least {limit:g} s are needed",
            )
        if not table["audible"].any():
            return UNSURE, "there is too little sound: more than half of every window is silent"
        others = sorted({segment.source for segment in segments} - {source, UNSURE, SILENCE})
        return decide_verdict(source, others, limits=self.limits, min_agreement=self.config.min_agreement, **measured)


def taxonomy_probabilities(_, logits):
    """{task: probabilities [batch, classes]} from {task: logits} of a taxonomy model, without spoof detection."""
    return {task: rows.softmax(dim=1).numpy() for task, rows in logits.items() if task in TAXONOMY_TASKS}


def describe_taxonomy(whole):
    """{"VQ": {class: mean over the audible windows}, ...} of a `whole` file; see taxonomy_probabilities."""
    means = {task: rows[0].tolist() for task, rows in whole.items() if task in TAXONOMY_TASKS}
    return {task.upper(): dict(zip(TAXONOMY_CLASSES[task], row, strict=True)) for task, row in means.items()}
