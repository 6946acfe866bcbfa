"""Audio files of the formats that PyAV writes."""

from fractions import Fraction

import av
import numpy as np

from data.audio import mono_blocks, opened


def samples_of(path):
    """(sample rate, channels, mono waveform at that rate) of a file."""
    with opened(path) as file:
        return file.samplerate, file.channels, np.concatenate(list(mono_blocks(file, 4_099)))


def speech_like(frames, rate, channels=1, seed=0):
    """Tones, one a channel, over a little noise, float32 [frames, channels]."""
    time = np.arange(frames)[:, None] / rate
    noise = np.random.default_rng(seed).standard_normal((frames, channels))
    return (0.3 * np.sin(2 * np.pi * (300 + 100 * np.arange(channels)) * time) + 0.01 * noise).astype(np.float32)


def encode(
    path,
    codec,
    wave,
    rate,
    options=None,
    codec_options=None,
    bit_rate=None,
    video=False,
    sample_format=None,
    container=None,
):
    """Write `wave`, float32 [frames, channels], with a codec of FFmpeg into the `container`, or that of the suffix.

    `options` are those of the container; with `video`, it also gets a film of 64 x 64 points. Returns `path`.
    """
    with av.open(str(path), "w", options=options or {}, format=container) as out:
        stream = out.add_stream(codec, rate=rate, options=codec_options or {})
        stream.layout = {1: "mono", 2: "stereo"}[wave.shape[1]]
        stream.format = sample_format or stream.codec_context.codec.audio_formats[0].name
        if bit_rate:
            stream.bit_rate = bit_rate
        film = add_film(out) if video else None
        out.start_encoding()
        write_sound(out, stream, wave, rate, stream.codec_context.frame_size or 1024)
        if film:
            write_film(out, film, seconds=len(wave) / rate)
    return path


def write_sound(out, stream, wave, rate, size):
    """Write `wave` into `stream` in frames of `size` samples."""
    layout = stream.layout.name
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T), format="fltp", layout=layout)
    frame.sample_rate = rate
    frame.pts = 0
    frame.time_base = Fraction(1, rate)
    resampler = av.AudioResampler(stream.format.name, layout, rate, size)
    for part in (frame, None):
        for converted in resampler.resample(part):
            out.mux(stream.encode(converted))
    out.mux(stream.encode(None))


def add_film(out):
    film = out.add_stream("mpeg4", rate=10)
    film.width = film.height = 64
    film.pix_fmt = "yuv420p"
    return film


def write_film(out, film, seconds):
    for number in range(int(10 * seconds) + 1):
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * number % 256, np.uint8), format="rgb24")
        out.mux(film.encode(picture))
    out.mux(film.encode(None))


def film_without_sound(path):
    with av.open(str(path), "w") as out:
        write_film(out, add_film(out), 1)
    return path


def vbr_mp3(path, wave, rate, xing):
    """An MP3 of variable bit rate: the bit rate follows the signal. Returns `path`."""
    with av.open(str(path), "w", options={"write_xing": str(int(xing))}) as out:
        stream = out.add_stream("libmp3lame", rate=rate)
        stream.layout = "mono"
        stream.format = "fltp"
        stream.codec_context.qscale = True
        stream.codec_context.options = {"global_quality": str(4 * 118)}  # 118: FFmpeg's unit of quality
        write_sound(out, stream, wave, rate, 576 if rate < 32_000 else 1152)
    return path
