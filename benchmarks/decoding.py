"""Reading a model's crop of 4.04 s from files of 10 s, against decoding and resampling the whole file.

    python benchmarks/decoding.py

The reference decodes every frame, resamples all of it with the same filter by scipy's polyphase resampler, and cuts;
waveforms agree within 1e-5. Then the clips a second that one loader worker gives.

Last, whole files of a minute, by how many times faster than real time they are read. They come from the fastest
run, because other work on the machine makes some runs slow.
"""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

from common import COMPARISON, alternate, arguments, comparison_row, report

# Of whole files: name -> (FFmpeg's codec, sample rate)
WHOLE_FILES = {
    "wav 16 kHz": ("pcm_s16le", 16_000),
    "flac 44.1 kHz": ("flac", 44_100),
    "mp3 16 kHz": ("libmp3lame", 16_000),
    "mp3 44.1 kHz": ("libmp3lame", 44_100),
    "m4a 16 kHz": ("aac", 16_000),
    "m4a 44.1 kHz": ("aac", 44_100),
}
WHOLE_SECONDS = 60
FILE_KINDS = (("wav", 16_000), ("flac", 16_000), ("flac", 24_000), ("flac", 44_100), ("wav", 48_000), ("mp3", 44_100))
CLIP_SECONDS = 10
TOLERANCE = 1e-5


def write_files(folder, suffix, rate, count):
    """`count` files of noise and harmonics, stereo, and their paths."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    time = np.arange(CLIP_SECONDS * rate) / rate
    paths = [folder / f"{rate}_{number}.{suffix}" for number in range(count)]
    for path in paths:
        tone = sum(np.sin(2 * np.pi * rng.uniform(80, 300) * n * time) / n for n in range(1, 20))
        soundfile.write(path, 0.1 * tone[:, None] + 0.01 * rng.standard_normal((len(time), 2)), rate)
    return paths


def whole_file(path):
    """The reference: every frame decoded, averaged and resampled, then cut."""
    import soundfile

    from data.audio import SAMPLE_RATE, SAMPLES, fit_length, polyphase

    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = wave.mean(axis=1)
    common = math.gcd(rate, SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        if rate not in FILTERS:
            FILTERS[rate] = polyphase(rate // common, SAMPLE_RATE // common)
        wave = FILTERS[rate](wave)
    return fit_length(wave, SAMPLES)


FILTERS = {}  # of whole_file(), made once as those of load_wave() are


def clips_a_second(paths, workers):
    """How many clips a second a DataLoader of `workers` gives, after its first batch."""
    import time

    from data.dataset import Clips
    from data.protocols import Clip
    from engine.batches import keep_freed_memory, make_loader

    keep_freed_memory()  # as every script does
    clips = [Clip(path.name, path, 0, "") for path in paths] * 8
    batches = [range(start, start + 8) for start in range(0, len(clips), 8)]
    loader = iter(make_loader(Clips(clips), batches, workers))
    next(loader)
    start = time.perf_counter()
    count = sum(len(wave) for _, wave, _ in loader)
    return count / (time.perf_counter() - start)


def times_real_time(folder, runs):
    """{kind of WHOLE_FILES: how many times faster than real time a file of it is read}."""
    import time

    import av
    import numpy as np

    from data.audio import load_wave

    factors = {}
    for name, (codec, rate) in WHOLE_FILES.items():
        path = folder / f"whole.{name.split()[0]}"
        wave = 0.1 * np.random.default_rng(0).standard_normal((1, WHOLE_SECONDS * rate)).astype(np.float32)
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = rate
            size = stream.codec_context.frame_size or 1024
            resample = av.AudioResampler(stream.codec_context.codec.audio_formats[0].name, "mono", rate, size)
            for part in (*resample.resample(frame), *resample.resample(None), None):
                out.mux(stream.encode(part))
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            load_wave(path)
            seconds.append(time.perf_counter() - start)
        factors[name] = WHOLE_SECONDS / min(seconds)
    return factors


def main(argv=None):
    parser = arguments(__doc__)
    parser.add_argument("--files", type=int, default=16, help="files of each kind (default: 16)")
    options = parser.parse_args(argv)
    import numpy as np
    import torch

    from data.audio import SAMPLES, fit_length, load_wave

    torch.set_num_threads(options.threads)
    rows = []
    metrics = {}
    with TemporaryDirectory() as folder:
        for suffix, rate in FILE_KINDS:
            paths = write_files(Path(folder), suffix, rate, options.files)
            for path in paths:
                np.testing.assert_allclose(fit_length(load_wave(path, SAMPLES)), whole_file(path), atol=TOLERANCE)
            timings = alternate(
                lambda paths=paths: [whole_file(path) for path in paths],
                lambda paths=paths: [fit_length(load_wave(path, SAMPLES)) for path in paths],
                options.runs,
            )
            timings["files_a_second_a_worker"] = clips_a_second(paths, 1)
            name = f"{suffix} {rate / 1000:g} kHz"
            metrics[name] = timings
            rows.append((*comparison_row(name, timings), f"{timings['files_a_second_a_worker']:.0f}"))
        metrics["times_real_time"] = times_real_time(Path(folder), options.runs)
    for name, factor in metrics["times_real_time"].items():
        print(f"{name}: {factor:.0f} times real time")
    report("decoding", (*COMPARISON, "files/s a worker"), rows, metrics)


if __name__ == "__main__":
    main()
