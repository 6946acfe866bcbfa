"""The formulas of the detectors that see features: distances and hybrids, each against its definition."""

import numpy as np
import pytest
import torch
from helpers.detectors import assert_scores, clustered_sets, fit_detector
from scipy.stats import spearmanr
from torch.nn.functional import normalize

from evaluation.metrics import auc
from ood_detectors import DETECTORS, Outputs
from ood_detectors.base import in_float64
from ood_detectors.hybrids import last_layer
from utils.errors import InputError


@pytest.fixture(scope="module")
def sets():
    return clustered_sets()


# ---- formulas: distances ----


def test_knn_ranks_as_distance_to_the_kth_neighbour(sets):
    train, known, _ = sets
    distances = torch.cdist(normalize(known.features.double()), normalize(train.features.double()))
    kth = distances.kthvalue(7, dim=1).values
    assert_scores(fit_detector("knn", train).score(known), 1 - kth**2 / 2, rtol=1e-5)
    assert spearmanr(fit_detector("knn", train, k=1).score(known), -distances.amin(1)).statistic > 0.9999


@pytest.mark.parametrize("name", ("knn", "nnguide"))
@pytest.mark.parametrize("k", (0, 701))
def test_neighbours_that_do_not_exist_are_refused(name, k, sets):
    with pytest.raises(InputError, match=f"k = {k} nearest neighbours of 700 training clips"):
        fit_detector(name, sets[0], k=k)


def squared_distances(x, train_x, labels, precision):
    centres = [train_x[labels == c].mean(0) for c in labels.unique()]
    return torch.stack([((x - m) @ precision * (x - m)).sum(1) for m in centres], dim=1)


def within_covariance(x, labels):
    centred = torch.cat([x[labels == c] - x[labels == c].mean(0) for c in labels.unique()])
    return centred.T @ centred / len(x)


def test_mahalanobis_family_equals_its_definition(sets):
    train, known, _ = sets
    z, x, labels = train.features.double(), known.features.double(), train.labels
    one = torch.zeros_like(labels)
    u, v = normalize(z), normalize(x)
    pooled = squared_distances(v, u, labels, within_covariance(u, labels).inverse()).amin(1)
    assert_scores(fit_detector("mahalanobis++", train).score(known), -pooled)
    covariances = [within_covariance(u[labels == c], one[labels == c]) for c in range(7)]
    balanced = squared_distances(v, u, labels, torch.stack(covariances).mean(0).inverse()).amin(1)
    assert_scores(fit_detector("mahalanobis", train).score(known), (-balanced / 4096).exp())
    assert (pooled - balanced).abs().max() > 0.1  # the two differ: this set is not balanced
    single = squared_distances(v, u, one, within_covariance(u, one).inverse())[:, 0]
    assert_scores(fit_detector("ssd", train).score(known), (-single / 4096).exp())
    raw = squared_distances(x, z, labels, within_covariance(z, labels).inverse()).amin(1)
    background = squared_distances(x, z, one, within_covariance(z, one).inverse())[:, 0]
    assert_scores(fit_detector("rmds", train).score(known), background - raw)


def test_ssd_is_mahalanobis_with_one_class(sets):
    train, known, _ = sets
    one = train._replace(labels=torch.full_like(train.labels, 3))
    assert_scores(fit_detector("ssd", train).score(known), fit_detector("mahalanobis", one).score(known))


def test_relative_mahalanobis_ignores_an_affine_map_of_the_features(sets):
    train, known, _ = sets
    matrix = torch.randn(40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = [o._replace(features=o.features.double() @ matrix + 3) for o in (train, known)]
    assert_scores(fit_detector("rmds", moved[0]).score(moved[1]), fit_detector("rmds", train).score(known), rtol=1e-5)


@pytest.fixture(scope="module")
def low_rank():
    """256 float32 features that are affine in 80, as mel-LCNN's; unknown clips are spread wider around the centres."""
    generator = torch.Generator().manual_seed(0)
    embed, head = torch.randn(80, 256, generator=generator) / 9, torch.randn(256, 7, generator=generator) / 16
    offset, centres = torch.randn(256, generator=generator) / 10, 2 * torch.randn(7, 80, generator=generator)

    def draw(n, spread):
        labels = torch.randint(7, (n,), generator=generator)
        hidden = centres[labels] + spread * torch.randn(n, 80, generator=generator)
        features = hidden @ embed + offset
        return Outputs(features, features @ head, labels)

    return draw(3000, 1), draw(500, 1), draw(500, 1.3)


@pytest.mark.parametrize("name", ("mahalanobis", "mahalanobis++", "ssd"))
def test_features_of_low_rank_do_not_break_whitening(name, low_rank):
    train, known, unknown = low_rank
    detector = fit_detector(name, train)
    assert detector.gaussians.whiten.shape == (256, 81)  # 80 affine directions, and one more after normalisation
    assert auc(detector.score(known), detector.score(unknown)) > 0.9
    # A pseudo-inverse that keeps all 256 directions, as released, amplifies rounding noise.
    u, v, w = (normalize(o.features.double()) for o in low_rank)
    one = torch.zeros_like(train.labels)
    noisy = torch.linalg.pinv(within_covariance(u, train.labels), rtol=1e-15, hermitian=True)
    naive = [-squared_distances(x, u, one, noisy)[:, 0] for x in (v, w)]
    assert auc(*naive) < auc(detector.score(known), detector.score(unknown)) - 0.05


@pytest.mark.parametrize("name", DETECTORS)
def test_features_of_low_rank_give_finite_scores(name, low_rank):
    detector = fit_detector(name, low_rank[0])
    assert all(detector.score(outputs).isfinite().all() for outputs in low_rank[1:])


@pytest.mark.parametrize("name", ("mahalanobis", "mahalanobis++", "ssd", "rmds", "vim", "fdbd", "neco"))
@pytest.mark.parametrize("noise", (0, 1e-7))
def test_features_that_do_not_vary_are_refused(name, noise, sets):
    constant = sets[0]._replace(features=1 + noise * sets[0].features.tanh())
    with pytest.raises(InputError, match="all training features are equal"):
        fit_detector(name, constant)


# ---- formulas: hybrids ----


def energies(outputs):
    return outputs.logits.double().logsumexp(1)


def test_nsd_equals_its_definition_and_nnguide_of_all_neighbours(sets):
    train, known, _ = sets
    guided = normalize(train.features.double()) * energies(train)[:, None]
    similarities = normalize(known.features.double()) @ guided.T
    assert_scores(fit_detector("NSD", train).score(known), energies(known) * similarities.mean(1))
    assert_scores(
        fit_detector("nnguide", train).score(known), energies(known) * similarities.topk(7).values.mean(1), rtol=1e-5
    )
    found = fit_detector("nnguide", train, k=700).score(known)
    torch.testing.assert_close(found, fit_detector("NSD", train).score(known), rtol=1e-4, atol=1e-5)


def test_relation_equals_its_definition(sets):
    train, known, _ = sets
    cosines = normalize(known.features.double()) @ normalize(train.features.double()).T
    relations = cosines.clamp_min(0) * (known.logits.double().softmax(1) @ train.logits.double().softmax(1).T)
    assert (relations > 0.03).any(1).all() and not (relations > 0.03).all()
    for threshold in (0.03, 0.1):
        expected = torch.where(relations > threshold, relations, 0).sum(1)
        assert_scores(fit_detector("relation", train, threshold=threshold).score(known), expected, rtol=1e-3)


def test_the_last_layer_is_saved_or_solved_for(sets):
    train, known, _ = sets
    weight, bias = last_layer(in_float64(train))
    torch.testing.assert_close(known.features.double() @ weight.T + bias, known.logits.double(), rtol=0, atol=5e-6)
    saved = train._replace(head=(weight.float(), bias.float()))
    for name, options in (("fdbd", {}), ("vim", {"origin": "head"})):
        solved, given = (fit_detector(name, outputs, **options).score(known) for outputs in (train, saved))
        assert_scores(given, solved, rtol=1e-4)
    doubled = train._replace(head=(2 * weight, bias))
    assert_scores(fit_detector("fdbd", doubled).score(known), fit_detector("fdbd", train).score(known) / 2, rtol=1e-4)


def test_the_last_layer_of_low_rank_features_is_that_of_least_norm(low_rank):
    train, known, _ = low_rank
    weight, bias = last_layer(in_float64(train))
    torch.testing.assert_close((known.features.double() @ weight.T + bias), known.logits.double(), rtol=0, atol=1e-4)
    x = train.features.double() - train.features.double().mean(0)
    least = (torch.linalg.pinv(x, rtol=1e-5) @ (train.logits.double() - train.logits.double().mean(0))).T
    torch.testing.assert_close(weight, least, rtol=0, atol=1e-5)


@pytest.mark.parametrize("origin", ("mean", "head"))
def test_vim_equals_its_definition(origin, sets):
    train, known, _ = sets
    z, x = train.features.double(), known.features.double()
    weight, bias = last_layer(in_float64(train))
    centre = z.mean(0) if origin == "mean" else -torch.linalg.pinv(weight) @ bias
    _, _, axes = torch.linalg.svd(z - centre, full_matrices=False)
    residual = [((features - centre) @ axes[20:].T).norm(dim=1) for features in (z, x)]
    alpha = train.logits.double().amax(1).mean() / residual[0].mean()
    assert_scores(fit_detector("vim", train, origin=origin).score(known), energies(known) - alpha * residual[1])


@pytest.mark.parametrize("dim", (0, 40, 500))
def test_vim_refuses_a_dimension_without_residual(dim, sets):
    with pytest.raises(InputError, match=f"ViM needs 0 < dim < 40, the rank of the training features; dim is {dim}"):
        fit_detector("vim", sets[0], dim=dim)


def test_vim_counts_the_rank_not_the_width(low_rank):
    assert fit_detector("vim", low_rank[0]).residual.shape == (256, 40)
    with pytest.raises(InputError, match="0 < dim < 80"):
        fit_detector("vim", low_rank[0], dim=128)


def test_fdbd_equals_its_definition(sets):
    train, known, _ = sets
    weight, _ = last_layer(in_float64(train))
    distances = (known.features.double() - train.features.double().mean(0)).norm(dim=1)
    for row in range(20):
        f = known.logits[row].double()
        y = int(f.argmax())
        gaps = [(f[y] - f[c]) / (weight[y] - weight[c]).norm() for c in range(7) if c != y]
        assert_scores(fit_detector("fdbd", train).score(known)[row], sum(gaps) / 6 / distances[row])


def test_neco_equals_principal_components_of_standardised_features(sets):
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    train, known, _ = sets
    scaler = StandardScaler().fit(train.features.double().numpy())
    scaled, x = (scaler.transform(o.features.double().numpy()) for o in (train, known))
    for dim in (None, 3):
        kept = PCA(dim or 7, svd_solver="full").fit(scaled).transform(x)
        ratio = np.linalg.norm(kept, axis=1) / np.linalg.norm(x, axis=1)
        assert_scores(fit_detector("neco", train, dim=dim).score(known), ratio * known.logits.double().amax(1).numpy())


def test_she_equals_its_definition_and_allows_a_class_without_a_hit(sets):
    train, known, _ = sets
    predicted = train.logits.argmax(1)
    patterns = [train.features[(predicted == c) & (train.labels == c)].double().mean(0) for c in range(7)]
    expected = [known.features[row].double() @ patterns[y] for row, y in enumerate(known.logits.argmax(1).tolist())]
    assert_scores(fit_detector("she", train).score(known), torch.stack(expected))
    missed = fit_detector("she", train._replace(labels=torch.zeros_like(train.labels)))
    assert_scores(missed.patterns[3], train.features.double().mean(0))
