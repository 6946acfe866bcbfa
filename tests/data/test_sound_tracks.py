"""Files with several sound tracks, as films in two languages: the one that players begin with is read, and named."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from data.audio import opened, read_mono
from prediction.recordings import Recording
from prediction.verdict import describe_shortcomings

RATE = 48_000


def film(path, *tracks):
    """A file with a tone for each track, (language, disposition): 300 Hz, 600 Hz, ... Returns `path`."""
    time = np.arange(RATE) / RATE
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("aac", rate=RATE, layout="mono") for _ in tracks]
        for stream, (language, disposition) in zip(streams, tracks, strict=True):
            stream.metadata["language"] = language
            stream.disposition = disposition
        for number, stream in enumerate(streams, 1):
            wave = 0.3 * np.sin(2 * np.pi * 300 * number * time)
            frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = RATE
            frame.time_base = Fraction(1, RATE)
            frame.pts = 0
            for part in (frame, None):
                out.mux(stream.encode(part))
    return path


def tone_of(path):
    """The number of the track that is read, from 1."""
    with opened(path) as file:
        return round(np.abs(np.fft.rfft(read_mono(file, RATE // 2))).argmax() * 2 / 300)


NONE, DEFAULT, COMMENT = Disposition(0), Disposition.default, Disposition.comment | Disposition.default


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize(
    ("tracks", "number"),
    [
        ([("eng", DEFAULT), ("deu", NONE)], 1),
        ([("eng", NONE), ("deu", DEFAULT)], 2),
        ([("eng", DEFAULT), ("deu", DEFAULT)], 1),
    ],
)
def test_the_default_track_is_read_and_named(suffix, tracks, number, tmp_path):
    path = film(tmp_path / f"a.{suffix}", *tracks)
    assert tone_of(path) == number
    told = []
    list(Recording(path, "name").stream(told.append))
    assert describe_shortcomings(told[0]) == (
        f"; the file has 2 sound tracks, of which this is track {number} ({tracks[number - 1][0]}). For another one:"
        f" ffmpeg -i IN -map 0:a:{2 - number} OUT.wav"
    )


def test_a_comment_on_the_film_is_not_what_is_read(tmp_path):
    assert tone_of(film(tmp_path / "a.mkv", ("eng", COMMENT), ("eng", NONE))) == 2


def test_one_track_needs_no_word(tmp_path):
    with opened(film(tmp_path / "a.mp4", ("eng", DEFAULT))) as file:
        assert file.note == ""
