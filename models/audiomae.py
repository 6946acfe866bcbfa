"""AudioMAE, a masked autoencoder of time-frequency images, with one decoder a class as SASTNet uses it.

Source: Huang et al., NeurIPS 2022 (arXiv 2207.06405), after He et al., CVPR 2022; the decoders per class are those of
Chen et al., arXiv 2506.07294. Attributes are named as in the released weights. An image is [batch, time, band], its
patches are numbered row by row: time * columns + band.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

PATCH = 16  # side of a patch
GRID = (16, 8)  # patches in time and in frequency
PATCHES = GRID[0] * GRID[1]
PIXELS = PATCH * PATCH


class MaeSize(NamedTuple):
    """The dimensions of an autoencoder."""

    dim: int = 768
    depth: int = 12
    heads: int = 12
    decoder_dim: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16


def fixed_positions(dim):
    """Sine and cosine codes of the class token, zeros, and of every patch: [1, 1 + patches, dim].

    The first half of the features codes the frequency, the second the time; in each, sines come before cosines.
    """
    rates = 10_000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))

    def codes(count):
        angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
        return torch.cat((angles.sin(), angles.cos()), dim=1)

    times, bands = GRID
    patches = torch.cat((codes(bands).repeat(times, 1), codes(times).repeat_interleave(bands, dim=0)), dim=1)
    return torch.cat((torch.zeros(1, dim), patches.float()))[None]


def image_patches(image):
    """The patches of `image` [batch, 256, 128], row by row: [batch, patches, pixels]."""
    rows = image.unflatten(2, (GRID[1], PATCH)).unflatten(1, (GRID[0], PATCH))  # [batch, times, 16, bands, 16]
    return rows.transpose(2, 3).flatten(1, 2).flatten(2)


def kept_patches(noise_time, noise_band, mask_ratio):
    """The patches that a two-dimensional mask leaves, ascending: [batch, kept].

    Whole columns and rows of the grid are hidden, those of the largest numbers in `noise_time` [batch, 16] and
    `noise_band` [batch, 8], half of `mask_ratio` in each direction. The share hidden goes in steps: 0.4 hides 56 of
    128 patches, and so does 0.5. Source: AudioMAE, section 3.1.
    """

    def kept(noise):
        count = int(noise.shape[1] * (1 - mask_ratio / 2))
        return noise.argsort(dim=1, stable=True)[:, :count].sort(dim=1).values

    return (kept(noise_time)[:, :, None] * GRID[1] + kept(noise_band)[:, None]).flatten(1)


def initialise(module):
    """Initial weights of a transformer in AudioMAE: Xavier for matrices, zero for biases."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def initial_token(dim):
    return nn.Parameter(nn.init.normal_(torch.empty(1, 1, dim), std=0.02))


def gather_rows(rows, index):
    """Rows `index` [batch, k] of `rows` [batch or 1, n, dim]: [batch, k, dim]."""
    return rows.expand(len(index), -1, -1).gather(1, index[:, :, None].expand(-1, -1, rows.shape[2]))


class Attention(nn.Module):
    """Self-attention: [batch, tokens, dim] -> the same."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(gelu(self.fc1(x)))


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer: [batch, tokens, dim] -> the same (Dosovitskiy et al., ICLR 2021)."""

    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Conv2d(1, dim, PATCH, PATCH)
        nn.init.xavier_uniform_(self.proj.weight.flatten(1))

    def forward(self, image):
        return self.proj(image[:, None]).flatten(2).transpose(1, 2)


class MaeEncoder(nn.Module):
    """Tokens [batch, 1 + kept, dim] of the class token and of the patches `kept` [batch, kept], in that order."""

    def __init__(self, size):
        super().__init__()
        self.cls_token = initial_token(size.dim)
        self.register_buffer("pos_embed", fixed_positions(size.dim))
        self.patch_embed = PatchEmbed(size.dim)
        self.blocks = nn.Sequential(*(TransformerLayer(size.dim, size.heads) for _ in range(size.depth)))
        self.norm = nn.LayerNorm(size.dim, eps=1e-6)

    def forward(self, image, kept):
        patches = self.patch_embed(image) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(image), -1, -1)
        return self.norm(self.blocks(torch.cat((first, gather_rows(patches, kept)), dim=1)))


class MaeDecoder(nn.Module):
    """Pixels [batch, patches, pixels] of the whole image, from the encoder's tokens of the patches `kept`."""

    def __init__(self, size):
        super().__init__()
        self.decoder_embed = nn.Linear(size.dim, size.decoder_dim)
        self.mask_token = initial_token(size.decoder_dim)
        self.register_buffer("decoder_pos_embed", fixed_positions(size.decoder_dim))
        blocks = (TransformerLayer(size.decoder_dim, size.decoder_heads) for _ in range(size.decoder_depth))
        self.decoder_blocks = nn.Sequential(*blocks)
        self.decoder_norm = nn.LayerNorm(size.decoder_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(size.decoder_dim, PIXELS)

    def forward(self, tokens, kept):
        tokens = self.decoder_embed(tokens)
        hidden = self.mask_token.to(tokens.dtype).expand(len(tokens), PATCHES, -1)
        patches = hidden.scatter(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]), tokens[:, 1:])
        x = torch.cat((tokens[:, :1], patches), dim=1) + self.decoder_pos_embed
        return self.decoder_pred(self.decoder_norm(self.decoder_blocks(x)))[:, 1:]


class AudioMae(nn.Module):
    """Image [batch, 256, 128] -> tokens [batch, 1 + kept, dim] and predictions [batch, decoders, patches, pixels].

    The tokens are those of the encoder after they have attended to the patches that all decoders predict.
    """

    def __init__(self, decoders, size=MaeSize(), heads=16):  # noqa: B008
        super().__init__()
        self.encoder = MaeEncoder(size)
        self.all_decoders = nn.ModuleList(MaeDecoder(size) for _ in range(decoders))
        self.proj_k = nn.Linear(PIXELS, size.dim)
        self.proj_v = nn.Linear(PIXELS, size.dim)
        self.apply(initialise)
        self.attn = nn.MultiheadAttention(size.dim, heads, batch_first=True)

    def forward(self, image, kept):
        tokens = self.encoder(image, kept)
        predicted = torch.stack([decode(tokens, kept) for decode in self.all_decoders], dim=1)
        memory = predicted.transpose(1, 2).flatten(1, 2)  # of each patch, what every decoder says
        tokens, _ = self.attn(tokens, self.proj_k(memory), self.proj_v(memory), need_weights=False)
        return tokens, predicted


def reconstruction_errors(image, predicted, kept):
    """Mean squared error of each decoder over the hidden patches: [batch, decoders]."""
    errors = (predicted.float() - image_patches(image.float())[:, None]).square().mean(dim=3)
    hidden = torch.ones_like(errors[:, 0]).scatter(1, kept, 0)
    return (errors * hidden[:, None]).sum(dim=2) / hidden.sum(dim=1, keepdim=True)


def reconstruction_loss(errors, classes, margin=0.1):
    """Mean over clips of the error of the true class's decoder, plus a penalty for the decoders of the other classes.

    The penalty is by how much each other error is below the own one plus `margin`, on average.
    `errors` [batch, decoders], `classes` [batch]; a single decoder serves all classes. Source: arXiv 2506.07294.
    """
    if errors.shape[1] == 1:
        return errors.mean()
    own = errors.gather(1, classes[:, None])
    excess = (margin + own - errors).relu()
    excess = excess.scatter(1, classes[:, None], 0).sum(dim=1) / (errors.shape[1] - 1)
    return (own.squeeze(1) + excess).mean()
