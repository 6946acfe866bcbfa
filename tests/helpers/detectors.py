"""What the tests of the OOD detectors share: synthetic sets of clips, and short ways to fit and to compare."""

import torch

from ood_detectors import DETECTORS, Outputs


def clustered_sets():
    """700 training clips in unequal clusters around the head's directions, 200 like them, 200 between them."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(7, 40, generator=generator), torch.randn(7, generator=generator)

    def draw(n, scale):
        labels = torch.randint(7, (n,), generator=generator) * torch.randint(2, (n,), generator=generator)
        features = scale * 2 * weight[labels] + torch.randn(n, 40, generator=generator)
        return Outputs(features, (features @ weight.T + bias) / 10, labels)

    return draw(700, 1), draw(200, 1), draw(200, 0)


def fit_detector(name, train, **options):
    return DETECTORS[name](**options).fit(train)


def assert_scores(found, expected, rtol=1e-6):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=rtol, atol=1e-9)
