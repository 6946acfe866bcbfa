"""Every detector keeps one contract, equals the released code where that has it, and equals its formula elsewhere."""

import json

import numpy as np
import pytest
import torch
from helpers import FIXTURES
from helpers.detectors import assert_scores, clustered_sets, fit_detector
from torch.nn.functional import cross_entropy

from evaluation.metrics import auc, equal_error_rate, fpr95
from ood_detectors import DETECTORS, PUBLISHED, Outputs
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
    return clustered_sets()


def shifted(outputs, by):
    return outputs._replace(logits=outputs.logits + by)


# ---- the contract of all ----


@pytest.mark.parametrize("name", DETECTORS)
def test_known_clips_score_above_unknown_ones(name, sets):
    train, known, unknown = sets
    detector = fit_detector(name, train)
    a, b = detector.score(known), detector.score(unknown)
    assert a.shape == (200,) and a.dtype == torch.float64 and a.isfinite().all() and b.isfinite().all()
    assert auc(a, b) > 0.9


@pytest.mark.parametrize("name", DETECTORS)
def test_input_is_left_alone(name, sets):
    copies = [Outputs(*(None if part is None else part.clone() for part in outputs)) for outputs in sets]
    doubles = [o._replace(features=o.features.double(), logits=o.logits.double()) for o in sets]
    fit_detector(name, copies[0]).score(copies[1])
    fit_detector(name, doubles[0]).score(doubles[1])  # float64 needs no copy: nothing may work in place
    for given, outputs in ((copies, sets), (doubles, sets)):
        for part in ("features", "logits", "labels"):
            assert torch.equal(getattr(given[0], part), getattr(outputs[0], part).to(getattr(given[0], part).dtype))
            assert torch.equal(getattr(given[1], part), getattr(outputs[1], part).to(getattr(given[1], part).dtype))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_score_does_not_depend_on_the_other_clips(name, sets):
    train, known, _ = sets
    detector = fit_detector(name, train)
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
        fit_detector(name, train).score(bad)
    with pytest.raises(InputError, match=expected):
        fit_detector(name, bad)


@pytest.mark.parametrize("name", DETECTORS)
def test_another_models_output_is_refused(name, sets):
    detector = fit_detector(name, sets[0])
    with pytest.raises(InputError, match="39 features and 7 classes, the training set 40 and 7"):
        detector.score(sets[1]._replace(features=sets[1].features[:, :39]))


def test_shapes_that_do_not_fit_are_refused(sets):
    with pytest.raises(InputError, match=r"\[700, 40\] and logits \[3, 7\]"):
        fit_detector("msp", sets[0]._replace(logits=sets[0].logits[:3]))
    with pytest.raises(InputError, match=r"\[0, 40\] and logits \[0, 7\]"):
        fit_detector("msp", Outputs(torch.zeros(0, 40), torch.zeros(0, 7), torch.zeros(0)))


# ---- the released code ----


@pytest.mark.parametrize("name", [name for name in RELEASED if name not in ("vim", "vim_d512")])
def test_scores_and_figures_equal_the_released_codes(name, released):
    train, known, unknown = released
    detector = fit_detector(name, train)
    a, b = detector.score(known), detector.score(unknown)
    expected = torch.load(FIXTURES / "ood/ood_scores.pt", weights_only=True)[name].double()
    gaussian = name in ("mahalanobis", "ssd")
    torch.testing.assert_close(torch.cat((a, b)), expected, rtol=1e-5, atol=1e-6 if gaussian else 0)
    figures = (auc(a, b), fpr95(a, b), equal_error_rate(a, b)[0])
    assert figures == pytest.approx([RELEASED[name][key] for key in ("auc", "fpr95", "eer")], abs=1e-6)


def test_vim_equals_the_released_code_where_that_has_a_residual():
    train, known, unknown = load("ood_data_d512.pt")
    detector = fit_detector("vim", train, dim=500)
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
    assert_scores(fit_detector("kl", sets[0]).score(sets[1]), cross_entropy(logits, uniform, reduction="none"))


def test_msp_log_ranks_like_msp_and_does_not_saturate(released):
    train, known, _ = released
    a, b = fit_detector("msp", train).score(known), fit_detector("msp_log", train).score(known)
    assert_scores(b, (a / (1 - a)).log(), rtol=1e-4)
    sure = Outputs(torch.zeros(2, 160), torch.tensor([[50.0] + 6 * [0.0], [60.0] + 6 * [0.0]]), None)
    assert len(fit_detector("msp", train).score(sure).unique()) == 1
    assert_scores(fit_detector("msp_log", train).score(sure), [50 - np.log(6), 60 - np.log(6)])


def test_gen_equals_its_definition_and_survives_confident_logits(sets):
    train, known, _ = sets
    p = known.logits.double().softmax(1).sort(1, descending=True).values
    assert_scores(fit_detector("gen", train).score(known), -((p * (1 - p)) ** 0.1).sum(1))
    assert_scores(fit_detector("gen", train, top=3, gamma=0.5).score(known), -((p * (1 - p)) ** 0.5)[:, :3].sum(1))
    sure = Outputs(known.features[:2], torch.tensor([[200.0] + 6 * [0.0], [300.0] + 6 * [0.0]]), None)
    assert_scores(fit_detector("gen", train).score(sure), [-(6 + 6**0.1) * np.exp(-x / 10) for x in (200, 300)])


def test_klm_equals_its_definition(sets):
    train, known, _ = sets
    p, q = (o.logits.double().softmax(1) for o in (train, known))
    means = [p[p.argmax(1) == c].mean(0) for c in range(7)]
    distances = torch.stack([(q * (q / mean).log()).sum(1) for mean in means])
    assert_scores(fit_detector("klm", train).score(known), -distances.min(0).values)


@pytest.mark.parametrize("name", ("msp", "msp_log", "kl", "gen", "klm", "knn", "mahalanobis", "relation", "fdbd"))
def test_scores_of_probabilities_ignore_a_constant_on_all_logits(name, sets):
    train, known, _ = sets
    expected = fit_detector(name, train).score(known)
    found = fit_detector(name, shifted(train, 5)).score(shifted(known, 5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ("energy", "maxlogit", "NSD", "nnguide", "neco"))
def test_scores_of_magnitude_do_not(name, sets):
    train, known, _ = sets
    found = fit_detector(name, shifted(train, 5)).score(shifted(known, 5))
    expected = fit_detector(name, train).score(known)
    assert (found - expected).abs().min() > 1e-3
