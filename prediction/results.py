"""What tracing gives for each recording: a Prediction, or a Failure where it cannot be used.

All are frozen. to_dict() gives what predict.py writes into its JSON file.
"""

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from utils.files import replacing

if TYPE_CHECKING:
    from prediction.peaks import FileSpectrum
    from prediction.recordings import Recording

NOT_WRITTEN = ("spectrum", "recording")  # fields of a Prediction that to_dict() leaves out


@dataclass(frozen=True)
class Segment:
    """A stretch of the timeline with one source."""

    start: float  # seconds
    end: float  # seconds
    source: str  # as a verdict, or "silence"
    probability: float | None = None  # mean over the windows that decide it; None where the source is no class


@dataclass(frozen=True)
class Peak:
    """A narrow maximum of a fingerprint; see prediction/peaks.py."""

    hz: float
    height: float  # above the median of its surroundings, in units of the fingerprint
    frame_rates: list[float]  # rates of decoders, in Hz, that it is a multiple of


@dataclass(frozen=True)
class Failure:
    """A recording that cannot be used. It is false, so that `if result:` tells it from a Prediction."""

    file: str
    error: str  # why, in words

    def __bool__(self):
        return False

    def to_dict(self):
        """Both fields."""
        return asdict(self)


@dataclass(frozen=True)
class Prediction:
    """The result for one recording. Scores are higher for known sources."""

    file: str  # its name
    seconds: float  # its length
    sample_rate: int  # Hz, of the recording
    level_range: float  # dB above 3 kHz, see data.measures.high_level_range(); small in noise
    windows: int  # how many the model has read
    verdict: str  # a class of the model, an enrolled source, "unknown codec" or "cannot tell"
    reason: str  # of the verdict, in words
    probabilities: dict[str, float]  # of each class, calibrated: the mean over the windows
    detector: str  # of unknown codecs
    score: float  # of the detector
    threshold: float  # a lower score is an unknown codec
    percentile: float  # percentage of the development files whose score is not higher
    p_value: float  # conformal, among the development files
    agreement: float  # share of the audible windows that give the verdict; see agreement_with() in verdict.py
    timeline: list[Segment]  # which source is heard when
    taxonomy: dict[str, dict[str, float]]  # {"VQ": {class: probability}, ...} of taxonomy models; not calibrated
    codec: dict | None = None  # what the table of codecs says of the verdict: data.taxonomy.describe_codec(); not heard
    peaks: tuple[Peak, ...] = ()  # of a fingerprint, the highest first
    channel: int | None = None  # from 1; None for the mean of all
    channel_note: str = ""  # whether the mean is a fair mix of the channels, in words
    file_note: str = ""  # which of several sound tracks was read, and whether some sound is missing, in words
    spectrum: "FileSpectrum | None" = None  # the fingerprint, for the plot; not in to_dict()
    recording: "Recording | None" = None  # what was read, for the plot; not in to_dict()

    def to_dict(self):
        """All fields but `spectrum` and `recording`, of plain types, for a JSON file."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name not in NOT_WRITTEN}

    @classmethod
    def from_dict(cls, row):
        """The Prediction of to_dict(), without `spectrum` and `recording`."""
        timeline = [Segment(**segment) for segment in row["timeline"]]
        return cls(**{**row, "timeline": timeline, "peaks": tuple(Peak(**peak) for peak in row["peaks"])})

    def plot(self, output):
        """Draw waveform, spectrogram, timeline and fingerprint as PNG into `output`, a path or an open file.

        The recording is read again. Raises InputError when it is gone, or the picture cannot be written.
        """
        from prediction.plots import draw_prediction  # slow to import

        if hasattr(output, "write"):
            draw_prediction(self, output)
            return
        with replacing(output) as temporary:
            draw_prediction(self, temporary)


def plain(value):
    """`value` with dicts in place of Segments and Peaks."""
    if isinstance(value, (list, tuple)):
        return [asdict(item) for item in value]
    return value


def result_from_dict(row):
    """The Prediction or Failure whose to_dict() is `row`."""
    return Failure(**row) if "error" in row else Prediction.from_dict(row)
