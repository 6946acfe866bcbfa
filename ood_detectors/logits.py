"""Detectors that see only the logits."""

import torch

from ood_detectors.base import Detector, energy


class Msp(Detector):
    """Hendrycks and Gimpel, ICLR 2017, maximum softmax probability:  s = p_y."""

    def score_rows(self, test):
        return test.logits.softmax(dim=1).amax(dim=1)


class MspLog(Detector):
    """MSP as log-odds:  s = log p_y - log(1 - p_y) = f_y - log sum_(c != y) exp f_c.

    It ranks as MSP does, but keeps apart the confident clips that MSP rounds to 1.
    """

    def score_rows(self, test):
        top, predicted = test.logits.max(dim=1, keepdim=True)
        return top[:, 0] - energy(test.logits.scatter(1, predicted, -torch.inf))


class MaxLogit(Detector):
    """Hendrycks et al., ICML 2022:  s = f_y. Adding a constant to all logits changes it."""

    def score_rows(self, test):
        return test.logits.amax(dim=1)


class Energy(Detector):
    """Liu et al., NeurIPS 2020:  s = E. Adding a constant to all logits changes it."""

    def score_rows(self, test):
        return energy(test.logits)


class KlUniform(Detector):
    """Cross entropy of the softmax against the uniform distribution:  s = E - mean_c f_c = KL(uniform | p) + log C.

    The `kl` of NNGuide's code; not the KL matching of `klm`.
    """

    def score_rows(self, test):
        return energy(test.logits) - test.logits.mean(dim=1)


class Gen(Detector):
    """Liu et al., CVPR 2023, generalised entropy:  s = - sum of (p_c (1 - p_c))^gamma over the `top` largest p_c."""

    def __init__(self, gamma=0.1, top=100):
        self.gamma = gamma
        self.top = top

    def score_rows(self, test):
        f = test.logits
        log_p = f.log_softmax(dim=1)
        # log(1 - p_c) from the other logits: 1 - p itself cancels to 0 for a confident clip
        others = [energy(torch.cat((f[:, :c], f[:, c + 1 :]), dim=1)) for c in range(f.shape[1])]
        log_rest = torch.stack(others, dim=1) - energy(f)[:, None]
        log_p, best = log_p.topk(min(self.top, f.shape[1]), dim=1)
        return -(self.gamma * (log_p + log_rest.gather(1, best))).exp().sum(dim=1)


class KlMatching(Detector):
    """Hendrycks et al., ICML 2022, KL matching:  s = - min_c KL(p | d_c).

    d_c is the mean softmax of the training clips predicted c (the authors use a validation set); a class that is never
    predicted has no d_c.
    """

    def fit_rows(self, train):
        p = train.logits.softmax(dim=1)
        predicted = p.argmax(dim=1)
        templates = torch.stack([p[predicted == c].mean(dim=0) for c in predicted.unique()])
        self.log_templates = templates.clamp_min(torch.finfo(p.dtype).tiny).log()

    def score_rows(self, test):
        log_p = test.logits.log_softmax(dim=1)
        p = log_p.exp()
        return ((p @ self.log_templates.T) - (p * log_p).sum(dim=1, keepdim=True)).amax(dim=1)
