"""The spectral fingerprint of windows of 4.04 s, against the same steps with the ready-made functions of torch.

    python benchmarks/fingerprint.py --runs 15

The reference takes the magnitude by abs(), smooths by pooling, adds frames by fold, and has the whole batch in memory
at once. Fingerprints agree within 1e-4 in double precision.

Then whole files: decoding, and the network on windows without overlap. Hours are of audio, for each hour of a core.
They come from the fastest run, in CPU seconds, because other work on the machine makes some runs slow.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from common import COMPARISON, alternate, arguments, comparison_row, report

BATCHES = (1, 8, 24)
FILE_KINDS = (("wav", 16_000), ("flac", 16_000), ("flac", 48_000))
FILE_MINUTES = 10
TOLERANCE = 1e-4


def pooled_mean(x, width):
    """The reference's moving mean of `x` [..., n]."""
    from torch.nn.functional import avg_pool1d

    from models.fingerprint import mirrored

    return avg_pool1d(mirrored(x, width).flatten(0, -2)[:, None], width, stride=1).view(x.shape)


def folded_whitening(wave, size, smooth):
    """The reference's whitened `wave` [batch, samples]."""
    import torch
    from torch.nn.functional import fold, pad

    from models.fingerprint import POWER_FLOOR, spectra

    window = torch.hann_window(size, dtype=wave.dtype)
    spectrum = spectra(pad(wave, (size, 2 * size)), size, window)
    flat = spectrum / (pooled_mean(spectrum.abs().square(), smooth) + POWER_FLOOR).sqrt()
    frames = (torch.fft.irfft(flat) * window).transpose(1, 2)
    samples = size + (frames.shape[2] - 1) * (size // 4)
    whole = fold(frames, (1, samples), (1, size), stride=(1, size // 4)).flatten(1)
    return whole[:, size : size + wave.shape[1]]


def reference_views(wave):
    """The reference's fingerprints of `wave` [batch, samples]."""
    from models import fingerprint

    replaced = {
        "CPU_CLIPS": len(wave),
        "moving_mean": pooled_mean,
        "power_of": lambda spectrum: spectrum.abs().square(),
        "whiten": folded_whitening,
    }
    with mock.patch.multiple(fingerprint, **replaced):
        return fingerprint.fingerprint_views(wave)


def least_cpu_seconds(function, runs):
    """CPU seconds of the fastest of `runs` calls."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def write_noise(path, rate):
    """A mono file of coloured noise whose level rises and falls, as that of speech does."""
    import numpy as np
    import soundfile

    noise = np.random.default_rng(0).standard_normal(FILE_MINUTES * 60 * rate + 31)
    envelope = 0.05 + np.abs(np.sin(np.arange(FILE_MINUTES * 60 * rate) / rate * 5))
    soundfile.write(path, 0.05 * np.convolve(noise, 0.8 ** np.arange(32), "valid") * envelope, rate)


def compare_batches(runs):
    """{batch size: alternate()'s metrics, and the hours of audio that an hour of a core takes}."""
    import torch

    from data.audio import SAMPLE_RATE, SAMPLES
    from models.fingerprint import fingerprint_views

    metrics = {}
    for batch in BATCHES:
        wave = 0.05 * torch.randn(batch, SAMPLES, generator=torch.Generator().manual_seed(0))
        exact = wave.double()
        torch.testing.assert_close(fingerprint_views(exact), reference_views(exact), atol=TOLERANCE, rtol=0)
        sides = [lambda wave=wave, views=views: views(wave) for views in (reference_views, fingerprint_views)]
        metrics[batch] = alternate(*sides, runs)
        seconds = batch * SAMPLES / SAMPLE_RATE
        metrics[batch]["hours_an_hour"] = seconds / least_cpu_seconds(sides[1], runs)
    return metrics


def measure_file(path, network, runs):
    """Least CPU seconds of decoding a file, least CPU seconds of the network on its windows."""
    import numpy as np
    import torch

    from data.audio import SAMPLES, stream_wave, windows

    def decode():
        return [wave for _, _, wave in windows(stream_wave(path), SAMPLES)]

    batches = torch.from_numpy(np.stack(decode())).split(BATCHES[-1])
    return least_cpu_seconds(decode, runs), least_cpu_seconds(lambda: [network(batch) for batch in batches], runs)


def main(argv=None):
    options = arguments(__doc__, runs=15).parse_args(argv)
    import torch

    from engine.batches import keep_freed_memory
    from models.building import build_network

    keep_freed_memory()  # as tracing does, for both sides
    torch.set_num_threads(options.threads)
    with torch.inference_mode(), TemporaryDirectory() as folder:
        metrics = {f"batch {batch}": timings for batch, timings in compare_batches(options.runs).items()}
        rows = [(*comparison_row(name, part), f"{part['hours_an_hour']:.0f}") for name, part in metrics.items()]
        network = build_network("fingerprint", 7).eval()
        for suffix, rate in FILE_KINDS:
            path = Path(folder) / f"{rate}.{suffix}"
            write_noise(path, rate)
            decoding, reading = measure_file(path, network, options.runs)
            hours = FILE_MINUTES * 60 / (decoding + reading)
            name = f"{suffix} {rate / 1000:g} kHz"
            metrics[name] = {"decoding_s": decoding, "network_s": reading, "hours_an_hour": hours}
            rows.append((f"{name}: decoding {decoding:.2f} s", "", f"{reading:.3f}", "", "", "", f"{hours:.0f}"))
    report("fingerprint", (*COMPARISON, "hours/h"), rows, metrics)


if __name__ == "__main__":
    main()
