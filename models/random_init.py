"""Initial weights of a random front end whose outputs differ between clips, so that a network can learn from them."""

import torch
from torch.nn.functional import interpolate


def coloured_noise(rows=8, samples=8000):
    """Noise [rows, samples] of unit variance, whose level and spectral tilt vary as those of speech do."""
    spectrum = torch.fft.rfft(torch.randn(rows, samples))
    spectrum[:, 1:] *= torch.linspace(0, 1, spectrum.shape[1])[1:] ** -(1.5 * torch.rand(rows, 1))
    level = interpolate(torch.rand(rows, 1, 20), samples, mode="linear")[:, 0]
    noise = torch.fft.irfft(spectrum, samples) * level
    return noise / noise.std(dim=1, keepdim=True)


@torch.no_grad()
def standardise(model, wave):
    """Set the layer norms of a wav2vec 2.0 `model` so that each channel has mean 0 and variance 1 for `wave`.

    Without this, the features become more alike with each layer: more than half of the variance of the hidden states
    is then the same for every clip and frame.
    """
    norms = [layer.layer_norm for layer in model.feature_extractor.conv_layers]
    for norm in (*norms, model.feature_projection.layer_norm, model.encoder.layer_norm):
        outputs = []
        with norm.register_forward_hook(lambda _, __, output, outputs=outputs: outputs.append(output)):
            model(wave)
        deviation, mean = torch.std_mean(outputs[0].flatten(0, -2), dim=0)
        norm.weight.div_(deviation)
        norm.bias.sub_(mean).div_(deviation)
