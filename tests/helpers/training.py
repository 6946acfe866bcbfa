"""What tests of training share: flags, and how weights are compared."""

import torch


def flags(corpus, out, *more, model="mellcnn"):
    base = ["--data_root", corpus, "-o", out, "--model", model, "--batch_size", "7", "--num_workers", "0"]
    return [str(part) for part in (*base, *more)]


def weights(path):
    return torch.load(path, weights_only=True)


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
