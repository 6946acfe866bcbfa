"""Train the demo corpus's neural codecs: at most four CPU-minutes each, on synthesised speech.

    python -m demo.train_codecs                      # all of demo/zoo.py, half an hour on one core
    python -m demo.train_codecs --codec larch --weights my_weights

Writes WEIGHTS/NAME.safetensors (float16) and the card WEIGHTS/NAME.json: architecture, bit rate, taxonomy, and the
quality that the stored weights reach on speech they have not seen.
"""

import argparse
import json
import math
import time
from pathlib import Path

from demo.zoo import CODECS, WEIGHTS
from utils.errors import InputError, run
from utils.files import replacing, write_text

UTTERANCES, BATCH, SEGMENT, RATE = 300, 16, 4800, 1e-3  # of training: Adam's step size last


def spectral_loss(copy, wave):
    """Distance of two waves [batch, samples] over three resolutions: log mel, log power, and complex spectrum."""
    import torch
    from torchaudio.functional import melscale_fbanks

    total = 0
    for size, mels in ((256, 24), (512, 48), (1024, 80)):
        window = torch.hann_window(size) / size**0.5
        x, y = (torch.stft(w, size, size // 4, window=window, return_complex=True) for w in (wave, copy))
        bank = melscale_fbanks(size // 2 + 1, 0.0, 8000.0, mels, 16_000)
        power = [z.real.square() + z.imag.square() + 1e-9 for z in (x, y)]
        mel = [(p.transpose(1, 2) @ bank + 1e-6).log() for p in power]
        log = [(p + 1e-6).log() for p in power]
        difference = x - y
        distance = (difference.real.square() + difference.imag.square() + 1e-9).sqrt()
        level = power[0].mean((1, 2), keepdim=True).sqrt()
        total = total + 0.5 * (mel[0] - mel[1]).abs().mean() + 0.125 * (log[0] - log[1]).abs().mean()
        total = total + (distance / level).mean()
    return total / 3


def parameter_groups(codec):
    """Optimiser groups: what starts in closed form learns at a fifth of the rate."""
    linear = [*codec.project.parameters(), *codec.expand.parameters()]
    known = {id(p) for p in linear}
    return [{"params": linear, "lr": RATE / 5}, {"params": [p for p in codec.parameters() if id(p) not in known]}]


def train(codec, speech, steps):
    """Train `codec` on `speech` [utterances, samples] for `steps` steps."""
    import torch

    segment = SEGMENT // codec.hop * codec.hop
    optimizer = torch.optim.AdamW(parameter_groups(codec), RATE, betas=(0.9, 0.99), weight_decay=1e-3)

    def factor(step):
        return min(1, (step + 1) / 50) * (0.5 * (1 + math.cos(math.pi * step / steps)) + 0.02)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for _ in range(steps):
        rows = torch.randint(len(speech), (BATCH,)).tolist()
        starts = torch.randint(speech.shape[1] - segment, (BATCH,)).tolist()
        wave = torch.stack([speech[row, start : start + segment] for row, start in zip(rows, starts, strict=True)])
        wave = wave * (0.6 + 0.8 * torch.rand(BATCH, 1))
        copy, loss = codec(wave)
        optimizer.zero_grad()
        (loss + spectral_loss(copy, wave)).backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    return codec.eval()


def make(row, speech, folder, steps):
    """Train one row of the zoo and write its weights and card into `folder`; the card as a dict."""
    import torch
    from safetensors.torch import save_file

    from demo.codec import measure
    from demo.pool import build, load

    torch.manual_seed(row.label)
    started = time.process_time()
    codec = build(row)
    codec.initialise(speech[:100, : speech.shape[1] // codec.hop * codec.hop])
    train(codec, speech, steps)
    seconds = time.process_time() - started
    state = {key: value.half().contiguous() for key, value in codec.state_dict().items()}
    with replacing(folder / f"{row.name}.safetensors") as temporary:
        save_file(state, temporary)
    card = {
        "name": row.name,
        "class": row.label,
        "VQ": row.vq,
        "AUX": row.aux,
        "DEC": row.dec,
        "architecture": row.describe(),
        "bit_rate": round(codec.bit_rate()),
        "parameters": sum(value.numel() for value in state.values()),
        "training": f"{steps} steps of {BATCH} segments of {SEGMENT} samples from {UTTERANCES} synthesised utterances",
        **measure(load(row.name, folder)),
    }
    write_text(folder / f"{row.name}.json", json.dumps(card, indent=2) + "\n")
    print(f"{row.name:8} {card['bit_rate']:5} bit/s  {card['si_sdr_db']:5} dB  {seconds:4.0f} CPU-seconds", flush=True)
    return card


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", nargs="+", default=list(CODECS), choices=list(CODECS), help="train these alone")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder to write (default: demo/weights)")
    parser.add_argument("--steps", type=int, help="steps of training, for a quick look (default: the row's own)")
    arguments = parser.parse_args(argv)
    if arguments.steps is not None and arguments.steps < 1:
        raise InputError(f"--steps is {arguments.steps}, expected at least 1")
    return arguments


def main(argv=None):
    arguments = parse(argv)
    import torch

    from demo.codec import training_speech

    torch.set_num_threads(1)  # sums in one order: the same weights from every run
    speech = training_speech(UTTERANCES)
    for name in arguments.codec:
        row = CODECS[name]
        make(row, speech, arguments.weights, arguments.steps or row.steps)


if __name__ == "__main__":
    run(main)
