"""Training of the demo's codecs."""

import math
import time

import torch
from safetensors.torch import save_file
from torchaudio.functional import melscale_fbanks

from data.audio import SAMPLE_RATE
from demo.codec import codec_quality
from demo.pool import build_codec, load_codec
from utils.files import replacing, write_json

UTTERANCES = 300
BATCH = 16
SEGMENT = 4800  # samples
RATE = 1e-3  # Adam's step size


def spectral_loss(copy, wave):
    """Distance of two waves [batch, samples] over three resolutions: log mel, log power, and complex spectrum."""
    total = 0
    for size, mels in ((256, 24), (512, 48), (1024, 80)):
        window = torch.hann_window(size) / size**0.5
        x, y = (torch.stft(w, size, size // 4, window=window, return_complex=True) for w in (wave, copy))
        bank = melscale_fbanks(size // 2 + 1, 0.0, 8000.0, mels, SAMPLE_RATE)
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
    """Optimiser groups: the layers that start in closed form learn at a fifth of the rate."""
    linear = [*codec.project.parameters(), *codec.expand.parameters()]
    known = {id(p) for p in linear}
    return [{"params": linear, "lr": RATE / 5}, {"params": [p for p in codec.parameters() if id(p) not in known]}]


def train_codec(codec, speech, steps):
    """Train `codec` on `speech` [utterances, samples] for `steps` steps."""
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


def train_and_save(row, speech, folder, steps):
    """The card, a dict, of one row of the zoo after training; its weights and its card are written into `folder`."""
    torch.manual_seed(row.label)
    started = time.process_time()
    codec = build_codec(row)
    codec.initialise(speech[:100, : speech.shape[1] // codec.hop * codec.hop])
    train_codec(codec, speech, steps)
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
        **codec_quality(load_codec(row.name, folder)),
    }
    write_json(folder / f"{row.name}.json", card)
    print(f"{row.name:8} {card['bit_rate']:5} bit/s  {card['si_sdr_db']:5} dB  {seconds:4.0f} CPU-seconds", flush=True)
    return card
