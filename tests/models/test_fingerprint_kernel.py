"""The kernel machine over fingerprints: its formula, and its fit against a plain solution in numpy."""

import numpy as np
import torch

from engine import kernel_fitting
from engine.kernel_fitting import balance_real, fit_kernel
from models.fingerprint import BINS, VIEWS, Fingerprint
from models.fingerprint_kernel import KernelFingerprint, KernelReader


def some_fingerprints(clips, copies=1, classes=3):
    """Fingerprints [copies, clips, views, bins] with lines of the class, and the classes [clips]."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(clips) % classes
    views = torch.randn(copies, clips, len(VIEWS), BINS, generator=generator)
    for label in range(1, classes):
        views[:, targets == label, :, 100 * label :: 250] += 6
    return views, targets


def fitted(clips=30, copies=1):
    views, targets = some_fingerprints(clips, copies)
    reader = KernelReader(3)
    torch.manual_seed(0)
    weights = balance_real(torch.full((clips,), 1 / clips, dtype=torch.float64), targets == 0)
    fit_kernel(reader, views, targets, weights)
    return reader, views, targets, weights


def test_the_fit_is_the_ridge_regression_of_numpy():
    reader, views, targets, weights = fitted()
    x = (views[0].flatten(1) - reader.mean).double().numpy() @ reader.projection.double().numpy()
    centres = reader.centres[:30].double().numpy()
    similar = np.exp(-np.square(x[:, None] - centres).sum(axis=2) / reader.width.item())
    between = np.exp(-np.square(centres[:, None] - centres).sum(axis=2) / reader.width.item())
    answers = 2 * np.eye(3)[targets] - 1
    share = len(targets) * weights.numpy()
    mean = weights.numpy() @ answers
    gram = similar.T @ (share[:, None] * similar) + kernel_fitting.RIDGE * between + 1e-6 * np.eye(30)
    weight = np.linalg.solve(gram, similar.T @ (share[:, None] * (answers - mean)))
    np.testing.assert_allclose(reader(views[0]).numpy(), similar @ weight + mean, atol=1e-3)


def test_it_names_the_class_of_other_clips_with_the_same_lines():
    reader, *_ = fitted(copies=2)
    views, targets = some_fingerprints(60)
    assert (reader(views[0][30:]).argmax(dim=1) == targets[30:]).all()


def test_real_speech_has_half_of_the_weight():
    weights = balance_real(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64), torch.tensor([True] + 3 * [False]))
    torch.testing.assert_close(weights, torch.tensor([0.5, 1 / 9, 1 / 6, 2 / 9], dtype=torch.float64))
    weights = balance_real(torch.tensor([1.0, 3.0]), torch.tensor([False, False]))
    assert weights.tolist() == [0.25, 0.75]


def test_both_readers_have_the_same_say():
    model = KernelFingerprint(3).eval()
    model.kernel.load_state_dict(fitted()[0].state_dict())
    views = some_fingerprints(5)[0][0]
    features, logits = model.read(views)
    torch.testing.assert_close(features, model.kernel.project(views))
    convolutions = Fingerprint.read(model, views)[1].softmax(dim=1)
    kernel = (5 * model.kernel(views)).softmax(dim=1)
    torch.testing.assert_close(logits.softmax(dim=1), (convolutions + kernel) / 2)
