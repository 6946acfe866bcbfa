"""Reading a model's crop of 4.04 s from files of 10 s, against decoding and resampling the whole file.

    python benchmarks/decoding.py

The reference decodes every frame, resamples all of it with the same filter by scipy's polyphase resampler, and cuts;
waveforms agree within 1e-5. Then the clips a second that one loader worker gives.
"""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

from common import COMPARISON, alternate, arguments, comparison_row, report

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
    report("decoding", (*COMPARISON, "files/s a worker"), rows, metrics)


if __name__ == "__main__":
    main()
