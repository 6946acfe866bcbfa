"""Tracing many short files by the model that comes with the project: files a second, and the share of decoding.

    python benchmarks/many_files.py --files 480

All numbers of loader workers take turns; a ratio is the time without workers, divided by that with them, of one turn.
Answers are the same for all of them. Decoding is what workers do: reading, resampling, cutting into windows, and the
measures of windows.
"""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from common import arguments, report, timed

KINDS = (("wav", 16_000), ("flac", 16_000), ("flac", 48_000), ("mp3", 44_100))


def write_files(folder, suffix, rate, count):
    """`count` mono files of noise with pauses, half a second to four seconds long, and their Recordings."""
    import numpy as np
    import soundfile

    from prediction.recordings import as_recordings

    rng = np.random.default_rng(0)
    paths = [folder / f"{rate}-{number}.{suffix}" for number in range(count)]
    for path in paths:
        loudness = np.repeat(rng.uniform(0, 0.1, rng.integers(5, 40)), rate // 10)
        soundfile.write(path, loudness * rng.standard_normal(len(loudness)), rate)
    return as_recordings(paths)


def decode(tracer, recordings):
    """What the workers do, here in this process."""
    from data.audio import SAMPLES
    from prediction.windows import WindowBatches, file_blocks, hop_samples

    size = tracer.config.batch_size
    blocks = file_blocks(len(recordings), size)
    for _ in WindowBatches(recordings, blocks, hop_samples(None, SAMPLES, reads_views=True), SAMPLES, size):
        pass


def take_turn(tracers, recordings):
    """Seconds of each Tracer for all `recordings`, and of decoding them."""
    sides = [lambda tracer=tracer: list(tracer.trace_each(recordings)) for tracer in tracers]
    return [timed(side)[1] for side in (*sides, lambda: decode(tracers[0], recordings))]


def main(argv=None):
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--files", type=int, default=480, help="files of each kind (default: 480)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers (default: 1 2)")
    options = parser.parse_args(argv)
    import torch

    from prediction import Tracer

    torch.set_num_threads(options.threads)
    tracers = [Tracer.load(num_workers=workers) for workers in (0, *options.workers)]
    rows = []
    figures = {}
    with TemporaryDirectory() as folder:
        for suffix, rate in KINDS:
            recordings = write_files(Path(folder), suffix, rate, options.files)
            answers = [[result.to_dict() for result in tracer.trace_each(recordings)] for tracer in tracers]
            assert all(answer == answers[0] for answer in answers)
            turns = [take_turn(tracers, recordings) for _ in range(options.runs)]
            plain, *others, decoding = zip(*turns, strict=True)
            ratios = [statistics.median(a / b for a, b in zip(plain, other, strict=True)) for other in others]
            share = statistics.median(a / b for a, b in zip(decoding, plain, strict=True))
            name = f"{suffix} {rate / 1000:g} kHz"
            figures[name] = {"seconds": turns, "ratios": ratios, "decoding": share}
            rows.append((name, f"{options.files / min(plain):.0f}", *(f"{r:.2f}" for r in ratios), f"{share:.0%}"))
    header = ("files", "files/s, no worker", *(f"ratio, {n} workers" for n in options.workers), "decoding")
    report("many_files", header, rows, figures)


if __name__ == "__main__":
    main()
