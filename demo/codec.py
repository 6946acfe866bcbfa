"""A small neural codec whose taxonomy is known by construction: quantiser x auxiliary objective x decoder domain.

Waves are float32 [batch, samples] at 16 kHz; latents [batch, d, frames], one frame every `hop` samples. The analysis
is a fixed MDCT (Princen, Johnson and Bradley, 1987), so that closed-form initialisation (principal components,
k-means, least squares) already gives a codec; training then sharpens it in minutes on one CPU core.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from data.audio import SAMPLE_RATE
from demo.quantisers import QUANTISERS, k_means, nearest_rows
from demo.speech import Synthesised


def mdct_basis(size):
    """MDCT filters with a sine window, [size, 1, 2 size]."""
    n, k = torch.arange(2 * size) + 0.5, torch.arange(size)[:, None] + 0.5
    basis = torch.sin(math.pi * n / (2 * size)) * torch.cos(math.pi / size * (n + size / 2) * k)
    return (basis * (2 / size) ** 0.5)[:, None]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [batch, channels, frames]."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ConvNeXtBlock(nn.Module):
    """Residual block of a depthwise and two pointwise convolutions (ConvNeXt, Liu et al., 2022)."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = ChannelNorm(width)
        self.expand = nn.Conv1d(width, 2 * width, 1)
        self.shrink = nn.Conv1d(2 * width, width, 1)
        self.scale = nn.Parameter(torch.full((width, 1), 0.3))

    def forward(self, x):
        return x + self.scale * self.shrink(F.gelu(self.expand(self.norm(self.depthwise(x)))))


def residual_network(inputs, width, blocks):
    """[batch, inputs, frames] -> [batch, width, frames]."""
    return nn.Sequential(
        nn.Conv1d(inputs, width, 3, padding=1), *[ConvNeXtBlock(width) for _ in range(blocks)], ChannelNorm(width)
    )


def scaled_down(layer, weight, bias):
    """`layer` with its random weights scaled by `weight` and a constant `bias`: training starts from almost nothing."""
    layer.weight.data.mul_(weight)
    layer.bias.data.fill_(bias)
    return layer


class TimeDecoder(nn.Module):
    """Frames of samples, then a residual network at the full sample rate."""

    def __init__(self, hop):
        super().__init__()
        self.hop = self.rows = self.noise_rows = hop
        self.first = nn.Conv1d(1, 8, 15, padding=7)
        self.dilated = nn.ModuleList(nn.Conv1d(8, 8, 3, padding=d, dilation=d) for d in (1, 3, 9))
        self.last = scaled_down(nn.Conv1d(8, 1, 15, padding=7), 0.05, 0)

    def target(self, wave):
        """What the rows should be for a perfect copy of `wave`, [batch, rows, frames]."""
        frames = wave.shape[1] // self.hop
        return wave[:, : frames * self.hop].view(len(wave), frames, self.hop).transpose(1, 2)

    def forward(self, rows, envelope):
        wave = rows + envelope * torch.randn(rows.shape)
        wave = wave.transpose(1, 2).reshape(len(rows), -1)
        hidden = self.first(wave[:, None] * 10)
        for layer in self.dilated:
            hidden = hidden + layer(F.elu(hidden))
        return wave + self.last(F.elu(hidden))[:, 0] * 0.1


class FrequencyDecoder(nn.Module):
    """A short-time spectrum, real and imaginary parts, then its inverse transform (as Vocos, Siuzdak, 2023)."""

    def __init__(self, hop):
        super().__init__()
        self.hop = hop
        self.rows = 2 * (hop + 1)
        self.noise_rows = hop + 1
        self.register_buffer("window", torch.hann_window(2 * hop).sqrt(), persistent=False)

    def target(self, wave):
        """What the rows should be for a perfect copy of `wave`, [batch, rows, frames]."""
        padded = F.pad(wave, (self.hop // 2, self.hop // 2))
        spectrum = torch.stft(padded, 2 * self.hop, self.hop, window=self.window, center=False, return_complex=True)
        return torch.cat([spectrum.real, spectrum.imag], 1)

    def forward(self, rows, envelope):
        noise = torch.randn(rows.shape) * torch.cat([envelope, envelope], 1)
        spectrum = torch.complex(*(rows + noise).chunk(2, 1))
        frames = torch.fft.irfft(spectrum, 2 * self.hop, dim=1) * self.window[:, None]
        power = self.window.square()[None, :, None].expand_as(frames)
        shape = dict(
            output_size=(1, (rows.shape[2] + 1) * self.hop), kernel_size=(1, 2 * self.hop), stride=(1, self.hop)
        )
        wave = F.fold(frames, **shape) / F.fold(power, **shape).clamp(min=1e-2)
        return wave[:, 0, 0, self.hop // 2 : -(self.hop - self.hop // 2)]


CODEC_DECODERS = {"TIME": TimeDecoder, "FREQ": FrequencyDecoder}


class Plain(nn.Module):
    """No auxiliary objective: the latents have no utterance vector, and the loss gains nothing."""

    def __init__(self, latent):
        super().__init__()

    def split(self, latents):
        """(latents without their utterance vector, this vector [batch, d, 1])."""
        return latents, latents.new_zeros(())

    def join(self, latents, vector):
        return latents * vector.exp()

    def loss(self, first, wave, hop):
        """What the objective adds to the training loss, given the first codebook's vectors [batch, d, frames]."""
        return first.new_zeros(())


class Semantic(Plain):
    """Semantic distillation: a linear probe of the first codebook's vectors must predict a teacher's features.

    The teacher is no network but 12 smoothed cepstral coefficients, which carry what is said better than who says it;
    SpeechTokenizer and Mimi use a self-supervised model there.
    """

    def __init__(self, latent):
        super().__init__(latent)
        self.probe = nn.Conv1d(latent, 12, 5, padding=2)

    def loss(self, first, wave, hop):
        return 0.3 * F.mse_loss(self.probe(first / first.std()), cepstra(wave, hop)[..., : first.shape[2]])


class Disentangled(Plain):
    """An utterance vector apart from the frames' codes: the log deviation of each latent over time, in steps of 3 dB.

    Frames are instance-normalised before quantisation, so their codes cannot carry level and long-term colour, which
    the decoder gets back from the utterance's one vector (after FACodec's timbre vector, Ju et al., 2024).
    """

    STEP = math.log(10) * 3 / 20

    def split(self, latents):
        vector = (latents.std(2, keepdim=True) + 1e-5).log()
        vector = vector + ((vector / self.STEP).round() * self.STEP - vector).detach()
        return latents / vector.exp(), vector


AUXILIARIES = {"none": Plain, "SEM": Semantic, "Disent": Disentangled}


def cepstra(wave, hop):
    """Cepstral coefficients 1 to 12 of [batch, samples], smoothed over 60 ms, zero mean and unit variance over time."""
    power = torch.stft(wave, 512, hop, window=torch.hann_window(512), return_complex=True).abs().square()
    bands = F.adaptive_avg_pool1d(power.transpose(1, 2), 32).add(1e-7).log()
    k, n = torch.arange(1, 13)[:, None], torch.arange(32)
    coefficients = (bands @ torch.cos(math.pi / 32 * (n + 0.5) * k).T).transpose(1, 2)
    width = max(1, round(960 / hop)) | 1
    smooth = F.avg_pool1d(coefficients, width, 1, width // 2, count_include_pad=False)
    return (smooth - smooth.mean(2, keepdim=True)) / (smooth.std(2, keepdim=True) + 1e-3)


class DemoCodec(nn.Module):
    """wave [batch, samples] -> wave [batch, frames * hop]; `quantiser` holds the options of QUANTISERS[vq]."""

    def __init__(self, vq, aux, dec, hop, latent, width=128, blocks=1, **quantiser):
        super().__init__()
        self.hop = hop
        self.latent = latent
        self.register_buffer("analysis", mdct_basis(hop), persistent=False)
        self.register_buffer("scale", torch.ones(()))
        self.project = nn.Conv1d(hop, latent, 1)
        self.encoder = nn.Sequential(
            residual_network(hop, width, blocks), scaled_down(nn.Conv1d(width, latent, 1), 0.05, 0)
        )
        self.quantiser = QUANTISERS[vq](latent, **quantiser)
        self.auxiliary = AUXILIARIES[aux](latent)
        self.synthesis = CODEC_DECODERS[dec](hop)
        self.expand = nn.Conv1d(latent, self.synthesis.rows, 3, padding=1)
        self.decoder = residual_network(latent, width, blocks + 1)
        self.refine = scaled_down(nn.Conv1d(width, self.synthesis.rows, 1), 0.05, 0)
        self.noise = scaled_down(nn.Conv1d(width, self.synthesis.noise_rows, 1), 1, -3.5)

    def bit_rate(self, setting=1.0):
        """Bits per second of the frames' codes."""
        return self.quantiser.bits(setting) * SAMPLE_RATE / self.hop

    def mdct(self, wave):
        """[batch, hop, frames], scaled to unit variance."""
        padded = F.pad(wave, (self.hop // 2, self.hop - self.hop // 2))
        return F.conv1d(padded[:, None], self.analysis, stride=self.hop)[..., : wave.shape[1] // self.hop] / self.scale

    def encode(self, wave):
        """(latents [batch, d, frames] before quantisation, utterance vector)."""
        spectrum = self.mdct(wave)
        return self.auxiliary.split(self.project(spectrum) + self.encoder(spectrum))

    def speak(self, latents):
        """The wave of quantised latents that hold their utterance vector again.

        Its noise comes from torch's global generator.
        """
        hidden = self.decoder(latents)
        rows = (self.expand(latents) + self.refine(hidden)) * self.scale
        envelope = self.noise(hidden).clamp(-9, 2).exp() * self.scale
        return self.synthesis(rows, envelope)

    def quantised(self, wave, setting=1.0):
        """(quantised latents [batch, d, frames], sum of the losses of the quantiser and the auxiliary objective).

        `setting` is the part of the quantiser's codebooks, or dimensions, in use.
        """
        latents, vector = self.encode(wave)
        codes, first, commitment = self.quantiser(latents, setting)
        return self.auxiliary.join(codes, vector), commitment + self.auxiliary.loss(first, wave, self.hop)

    def forward(self, wave, setting=1.0):
        latents, loss = self.quantised(wave, setting)
        return self.speak(latents), loss

    def tokens(self, wave, setting=1.0):
        """What the decoder is given, [batch, d, frames]."""
        return self.quantised(wave, setting)[0]

    def states(self, latents):
        """A coarse token [frames] in 0 to 63 of each frame of quantised latents [d, frames]: nearest of 64 centres."""
        return nearest_rows(latents.T, k_means(latents.T, 64))

    @torch.no_grad()
    def initialise(self, wave):
        """Closed-form start from training speech: principal components, k-means, least squares."""
        self.scale.copy_(self.mdct(wave).std())
        spectrum = self.mdct(wave)
        rows = spectrum.transpose(1, 2).reshape(-1, self.hop)
        components = torch.linalg.eigh(rows.T @ rows)[1].flip(1)[:, : self.latent]
        self.project.weight.copy_(components.T[..., None])
        self.project.bias.zero_()
        latents, vector = self.auxiliary.split(self.project(spectrum))
        self.quantiser.initialise(latents.transpose(1, 2).reshape(-1, self.latent))
        codes = self.auxiliary.join(self.quantiser.eval()(latents)[0], vector)
        self.quantiser.train()
        target = self.synthesis.target(wave)[..., : codes.shape[2]] / self.scale
        frames = target.shape[2]
        context = (
            torch.cat([F.pad(codes, (1, 1))[..., i : i + frames] for i in range(3)], 1).transpose(1, 2).flatten(0, 1)
        )
        ridge = 1e-3 * len(context) * context.var() * torch.eye(context.shape[1])
        taps = torch.linalg.solve(context.T @ context + ridge, context.T @ target.transpose(1, 2).flatten(0, 1))
        self.expand.weight.copy_(taps.T.view(-1, 3, self.latent).transpose(1, 2))
        self.expand.bias.zero_()


SPEECH_LEVEL = 0.08  # root mean square of a wave that a codec of the zoo sees


def levelled(wave):
    """`wave` [..., samples] at SPEECH_LEVEL, and the factor that undoes it."""
    factor = wave.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6) / SPEECH_LEVEL
    return wave / factor, factor


@lru_cache
def training_speech(count, first=0, source="train"):
    """`count` utterances of 4 s for the codecs' training, at SPEECH_LEVEL: float32 [count, 64000]."""
    speaker = Synthesised()
    seeds = ([20_000, number] for number in range(first, first + count))  # apart from every seed of the corpus
    waves = np.stack([speaker.utterance(source, seed, 4 * SAMPLE_RATE) for seed in seeds])
    return levelled(torch.from_numpy(waves).float())[0]


@torch.no_grad()
def codec_quality(codec, count=16, setting=1.0):
    """{"si_sdr_db", "log_spectral_distance_db"} on `count` utterances of speakers that were not in training.

    SI-SDR: Le Roux et al., 2019. Log-spectral distance: root mean square over frequency of the difference of the log
    magnitudes (512-point frames, floor 60 dB below one), mean over frames.
    """
    wave = training_speech(count, 10_000, "eval")
    wave = wave[:, : wave.shape[1] // codec.hop * codec.hop]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        copy, _ = codec(wave, setting)
    target = (copy * wave).sum(1, keepdim=True) / wave.square().sum(1, keepdim=True) * wave
    ratio = 10 * (target.square().sum(1) / (copy - target).square().sum(1)).log10()
    spectra = (torch.stft(w, 512, 128, window=torch.hann_window(512), return_complex=True).abs() for w in (wave, copy))
    log = [20 * (spectrum + 1e-3).log10() for spectrum in spectra]
    distance = (log[0] - log[1]).square().mean(1).sqrt().mean()
    return {"si_sdr_db": round(ratio.mean().item(), 2), "log_spectral_distance_db": round(distance.item(), 2)}
