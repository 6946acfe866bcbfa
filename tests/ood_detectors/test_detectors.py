"""Every detector keeps one contract, equals the released code where that has it, and equals its formula elsewhere."""

import json

import numpy as np
import pytest
import torch
from helpers import FIXTURES
from scipy.stats import spearmanr
from torch.nn.functional import cross_entropy, normalize

from evaluation.metrics import auc, equal_error_rate, fpr95
from ood_detectors import DETECTORS, PUBLISHED, Outputs
from ood_detectors.base import in_float64
from ood_detectors.hybrids import last_layer
from utils.errors import InputError

RELEASED = json.loads((FIXTURES / "ood/ood_metrics.json").read_text())["detectors"]


def load(name):
    """Training, known and unknown Outputs of a stored set."""
    saved = torch.load(FIXTURES / "ood" / name, weights_only=True)
    parts = ("train", "eval_id", "eval_ood")
    return [Outputs(*(saved[f"{part}.{key}"] for key in ("feas", "logits", "labels"))) for part in parts]


@pytest.fixture(scope="module")
def released():
    return load("ood_data.pt")


@pytest.fixture(scope="module")
def sets():
    """700 training clips in unequal clusters around the head's directions, 200 like them, 200 between them."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(7, 40, generator=generator), torch.randn(7, generator=generator)

    def draw(n, scale):
        labels = torch.randint(7, (n,), generator=generator) * torch.randint(2, (n,), generator=generator)
        features = scale * 2 * weight[labels] + torch.randn(n, 40, generator=generator)
        return Outputs(features, (features @ weight.T + bias) / 10, labels)

    return draw(700, 1), draw(200, 1), draw(200, 0)


def fit(name, train, **options):
    return DETECTORS[name](**options).fit(train)


def shifted(outputs, by):
    return outputs._replace(logits=outputs.logits + by)


def close(found, expected, rtol=1e-6):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=rtol, atol=1e-9)


# ---- the contract of all ----


@pytest.mark.parametrize("name", DETECTORS)
def test_known_clips_score_above_unknown_ones(name, sets):
    train, known, unknown = sets
    detector = fit(name, train)
    a, b = detector.score(known), detector.score(unknown)
    assert a.shape == (200,) and a.dtype == torch.float64 and a.isfinite().all() and b.isfinite().all()
    assert auc(a, b) > 0.9


@pytest.mark.parametrize("name", DETECTORS)
def test_input_is_left_alone(name, sets):
    copies = [Outputs(*(None if part is None else part.clone() for part in outputs)) for outputs in sets]
    doubles = [o._replace(features=o.features.double(), logits=o.logits.double()) for o in sets]
    fit(name, copies[0]).score(copies[1])
    fit(name, doubles[0]).score(doubles[1])  # float64 needs no copy: nothing may work in place
    for given, outputs in ((copies, sets), (doubles, sets)):
        for part in ("features", "logits", "labels"):
            assert torch.equal(getattr(given[0], part), getattr(outputs[0], part).to(getattr(given[0], part).dtype))
            assert torch.equal(getattr(given[1], part), getattr(outputs[1], part).to(getattr(given[1], part).dtype))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_score_does_not_depend_on_the_other_clips(name, sets):
    train, known, _ = sets
    detector = fit(name, train)
    whole = detector.score(known)
    detector.rows = 7
    torch.testing.assert_close(detector.score(known), whole, rtol=1e-5, atol=1e-6)
    alone = Outputs(known.features[:1], known.logits[:1], None)
    torch.testing.assert_close(detector.score(alone), whole[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("part", ("features", "logits"))
def test_what_is_not_finite_is_refused(name, part, sets):
    train, known, _ = sets
    broken = getattr(known, part).clone()
    broken[3, 2] = torch.nan
    broken[5, 0] = torch.inf
    bad = known._replace(**{part: broken}, names=[f"{number}.wav" for number in range(200)])
    expected = rf"row 3 of the {part} \(3.wav\) is not finite, like 2 of 200: check those clips and trace again"
    with pytest.raises(InputError, match=expected):
        fit(name, train).score(bad)
    with pytest.raises(InputError, match=expected):
        fit(name, bad)


@pytest.mark.parametrize("name", DETECTORS)
def test_another_models_output_is_refused(name, sets):
    detector = fit(name, sets[0])
    with pytest.raises(InputError, match="39 features and 7 classes, the training set 40 and 7"):
        detector.score(sets[1]._replace(features=sets[1].features[:, :39]))


def test_shapes_that_do_not_fit_are_refused(sets):
    with pytest.raises(InputError, match=r"\[700, 40\] and logits \[3, 7\]"):
        fit("msp", sets[0]._replace(logits=sets[0].logits[:3]))
    with pytest.raises(InputError, match=r"\[0, 40\] and logits \[0, 7\]"):
        fit("msp", Outputs(torch.zeros(0, 40), torch.zeros(0, 7), torch.zeros(0)))


# ---- the released code ----


@pytest.mark.parametrize("name", [name for name in RELEASED if name not in ("vim", "vim_d512")])
def test_scores_and_figures_equal_the_released_codes(name, released):
    train, known, unknown = released
    detector = fit(name, train)
    a, b = detector.score(known), detector.score(unknown)
    expected = torch.load(FIXTURES / "ood/ood_scores.pt", weights_only=True)[name].double()
    gaussian = name in ("mahalanobis", "ssd")
    torch.testing.assert_close(torch.cat((a, b)), expected, rtol=1e-5, atol=1e-6 if gaussian else 0)
    figures = (auc(a, b), fpr95(a, b), equal_error_rate(a, b)[0])
    assert figures == pytest.approx([RELEASED[name][key] for key in ("auc", "fpr95", "eer")], abs=1e-6)


def test_vim_equals_the_released_code_where_that_has_a_residual():
    train, known, unknown = load("ood_data_d512.pt")
    detector = fit("vim", train, dim=500)
    expected = torch.load(FIXTURES / "ood/ood_scores.pt", weights_only=True)["vim_d512"].double()
    torch.testing.assert_close(torch.cat((detector.score(known), detector.score(unknown))), expected, rtol=1e-3, atol=0)


def test_published_figures_name_detectors_and_conditions_that_exist():
    from data.conditions import CONDITIONS

    conditions = {row.name for row in CONDITIONS if row.suite == "ood"}
    assert PUBLISHED.keys() < DETECTORS.keys()
    of_the_paper = {"single7", "multi8", "voc", "diff_config", "diff_source"}  # a condition of one's own has no values
    assert (
        all(of_condition.keys() == of_the_paper for of_condition in PUBLISHED.values()) and of_the_paper <= conditions
    )
    assert all(row.keys() == {"auc", "fpr95", "eer"} for rows in PUBLISHED.values() for row in rows.values())


# ---- formulas: logits ----


def test_kl_is_the_cross_entropy_against_uniform(sets):
    logits = sets[1].logits.double()
    uniform = torch.full_like(logits, 1 / 7)
    close(fit("kl", sets[0]).score(sets[1]), cross_entropy(logits, uniform, reduction="none"))


def test_msp_log_ranks_like_msp_and_does_not_saturate(released):
    train, known, _ = released
    a, b = fit("msp", train).score(known), fit("msp_log", train).score(known)
    close(b, (a / (1 - a)).log(), rtol=1e-4)
    sure = Outputs(torch.zeros(2, 160), torch.tensor([[50.0] + 6 * [0.0], [60.0] + 6 * [0.0]]), None)
    assert len(fit("msp", train).score(sure).unique()) == 1
    close(fit("msp_log", train).score(sure), [50 - np.log(6), 60 - np.log(6)])


def test_gen_equals_its_definition_and_survives_confident_logits(sets):
    train, known, _ = sets
    p = known.logits.double().softmax(1).sort(1, descending=True).values
    close(fit("gen", train).score(known), -((p * (1 - p)) ** 0.1).sum(1))
    close(fit("gen", train, top=3, gamma=0.5).score(known), -((p * (1 - p)) ** 0.5)[:, :3].sum(1))
    sure = Outputs(known.features[:2], torch.tensor([[200.0] + 6 * [0.0], [300.0] + 6 * [0.0]]), None)
    close(fit("gen", train).score(sure), [-(6 + 6**0.1) * np.exp(-x / 10) for x in (200, 300)])


def test_klm_equals_its_definition(sets):
    train, known, _ = sets
    p, q = (o.logits.double().softmax(1) for o in (train, known))
    means = [p[p.argmax(1) == c].mean(0) for c in range(7)]
    distances = torch.stack([(q * (q / mean).log()).sum(1) for mean in means])
    close(fit("klm", train).score(known), -distances.min(0).values)


@pytest.mark.parametrize("name", ("msp", "msp_log", "kl", "gen", "klm", "knn", "mahalanobis", "relation", "fdbd"))
def test_scores_of_probabilities_ignore_a_constant_on_all_logits(name, sets):
    train, known, _ = sets
    expected = fit(name, train).score(known)
    found = fit(name, shifted(train, 5)).score(shifted(known, 5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ("energy", "maxlogit", "NSD", "nnguide", "neco"))
def test_scores_of_magnitude_do_not(name, sets):
    train, known, _ = sets
    found, expected = fit(name, shifted(train, 5)).score(shifted(known, 5)), fit(name, train).score(known)
    assert (found - expected).abs().min() > 1e-3


# ---- formulas: distances ----


def test_knn_ranks_as_distance_to_the_kth_neighbour(sets):
    train, known, _ = sets
    distances = torch.cdist(normalize(known.features.double()), normalize(train.features.double()))
    kth = distances.kthvalue(7, dim=1).values
    close(fit("knn", train).score(known), 1 - kth**2 / 2, rtol=1e-5)
    assert spearmanr(fit("knn", train, k=1).score(known), -distances.amin(1)).statistic > 0.9999


@pytest.mark.parametrize("name", ("knn", "nnguide"))
@pytest.mark.parametrize("k", (0, 701))
def test_neighbours_that_do_not_exist_are_refused(name, k, sets):
    with pytest.raises(InputError, match=f"k = {k} nearest neighbours of 700 training clips"):
        fit(name, sets[0], k=k)


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
    close(fit("mahalanobis++", train).score(known), -pooled)
    covariances = [within_covariance(u[labels == c], one[labels == c]) for c in range(7)]
    balanced = squared_distances(v, u, labels, torch.stack(covariances).mean(0).inverse()).amin(1)
    close(fit("mahalanobis", train).score(known), (-balanced / 4096).exp())
    assert (pooled - balanced).abs().max() > 0.1  # the two differ: this set is not balanced
    single = squared_distances(v, u, one, within_covariance(u, one).inverse())[:, 0]
    close(fit("ssd", train).score(known), (-single / 4096).exp())
    raw = squared_distances(x, z, labels, within_covariance(z, labels).inverse()).amin(1)
    background = squared_distances(x, z, one, within_covariance(z, one).inverse())[:, 0]
    close(fit("rmds", train).score(known), background - raw)


def test_ssd_is_mahalanobis_with_one_class(sets):
    train, known, _ = sets
    one = train._replace(labels=torch.full_like(train.labels, 3))
    close(fit("ssd", train).score(known), fit("mahalanobis", one).score(known))


def test_relative_mahalanobis_ignores_an_affine_map_of_the_features(sets):
    train, known, _ = sets
    matrix = torch.randn(40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = [o._replace(features=o.features.double() @ matrix + 3) for o in (train, known)]
    close(fit("rmds", moved[0]).score(moved[1]), fit("rmds", train).score(known), rtol=1e-5)


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
    detector = fit(name, train)
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
    detector = fit(name, low_rank[0])
    assert all(detector.score(outputs).isfinite().all() for outputs in low_rank[1:])


@pytest.mark.parametrize("name", ("mahalanobis", "mahalanobis++", "ssd", "rmds", "vim", "fdbd", "neco"))
@pytest.mark.parametrize("noise", (0, 1e-7))
def test_features_that_do_not_vary_are_refused(name, noise, sets):
    constant = sets[0]._replace(features=1 + noise * sets[0].features.tanh())
    with pytest.raises(InputError, match="all training features are equal"):
        fit(name, constant)


# ---- formulas: hybrids ----


def energies(outputs):
    return outputs.logits.double().logsumexp(1)


def test_nsd_equals_its_definition_and_nnguide_of_all_neighbours(sets):
    train, known, _ = sets
    guided = normalize(train.features.double()) * energies(train)[:, None]
    similarities = normalize(known.features.double()) @ guided.T
    close(fit("NSD", train).score(known), energies(known) * similarities.mean(1))
    close(fit("nnguide", train).score(known), energies(known) * similarities.topk(7).values.mean(1), rtol=1e-5)
    found = fit("nnguide", train, k=700).score(known)
    torch.testing.assert_close(found, fit("NSD", train).score(known), rtol=1e-4, atol=1e-5)


def test_relation_equals_its_definition(sets):
    train, known, _ = sets
    cosines = normalize(known.features.double()) @ normalize(train.features.double()).T
    relations = cosines.clamp_min(0) * (known.logits.double().softmax(1) @ train.logits.double().softmax(1).T)
    assert (relations > 0.03).any(1).all() and not (relations > 0.03).all()
    for threshold in (0.03, 0.1):
        expected = torch.where(relations > threshold, relations, 0).sum(1)
        close(fit("relation", train, threshold=threshold).score(known), expected, rtol=1e-3)


def test_the_last_layer_is_saved_or_solved_for(sets):
    train, known, _ = sets
    weight, bias = last_layer(in_float64(train))
    torch.testing.assert_close(known.features.double() @ weight.T + bias, known.logits.double(), rtol=0, atol=5e-6)
    saved = train._replace(head=(weight.float(), bias.float()))
    for name, options in (("fdbd", {}), ("vim", {"origin": "head"})):
        solved, given = (fit(name, outputs, **options).score(known) for outputs in (train, saved))
        close(given, solved, rtol=1e-4)
    doubled = train._replace(head=(2 * weight, bias))
    close(fit("fdbd", doubled).score(known), fit("fdbd", train).score(known) / 2, rtol=1e-4)


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
    close(fit("vim", train, origin=origin).score(known), energies(known) - alpha * residual[1])


@pytest.mark.parametrize("dim", (0, 40, 500))
def test_vim_refuses_a_dimension_without_residual(dim, sets):
    with pytest.raises(InputError, match=f"ViM needs 0 < dim < 40, the rank of the training features; dim is {dim}"):
        fit("vim", sets[0], dim=dim)


def test_vim_counts_the_rank_not_the_width(low_rank):
    assert fit("vim", low_rank[0]).residual.shape == (256, 40)
    with pytest.raises(InputError, match="0 < dim < 80"):
        fit("vim", low_rank[0], dim=128)


def test_fdbd_equals_its_definition(sets):
    train, known, _ = sets
    weight, _ = last_layer(in_float64(train))
    distances = (known.features.double() - train.features.double().mean(0)).norm(dim=1)
    for row in range(20):
        f = known.logits[row].double()
        y = int(f.argmax())
        gaps = [(f[y] - f[c]) / (weight[y] - weight[c]).norm() for c in range(7) if c != y]
        close(fit("fdbd", train).score(known)[row], sum(gaps) / 6 / distances[row])


def test_neco_equals_principal_components_of_standardised_features(sets):
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    train, known, _ = sets
    scaler = StandardScaler().fit(train.features.double().numpy())
    scaled, x = (scaler.transform(o.features.double().numpy()) for o in (train, known))
    for dim in (None, 3):
        kept = PCA(dim or 7, svd_solver="full").fit(scaled).transform(x)
        ratio = np.linalg.norm(kept, axis=1) / np.linalg.norm(x, axis=1)
        close(fit("neco", train, dim=dim).score(known), ratio * known.logits.double().amax(1).numpy())


def test_she_equals_its_definition_and_allows_a_class_without_a_hit(sets):
    train, known, _ = sets
    predicted = train.logits.argmax(1)
    patterns = [train.features[(predicted == c) & (train.labels == c)].double().mean(0) for c in range(7)]
    expected = [known.features[row].double() @ patterns[y] for row, y in enumerate(known.logits.argmax(1).tolist())]
    close(fit("she", train).score(known), torch.stack(expected))
    missed = fit("she", train._replace(labels=torch.zeros_like(train.labels)))
    close(missed.patterns[3], train.features.double().mean(0))
