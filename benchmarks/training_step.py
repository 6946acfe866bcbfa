"""A training step of RawAASIST and of mel-LCNN against the plain layers: seconds and peak memory.

    python benchmarks/training_step.py --models mellcnn --batch_size 24

The reference has the same weights in torch's own layers, builds RawAASIST's sinc filters in each step, and computes
the normalisation of blocks 2-6 that the released code throws away. Each measurement has a process of its own: one
step to warm up, then --steps of them. The gradients are first compared, in double precision and without dropout.
"""

import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from common import COMPARISON, arguments, comparison_row, report, status

RELATIVE = 1e-9  # largest difference of a gradient, against the largest one of its tensor, in double precision
ROUNDING = 1e-12  # of the largest gradient of all: a bias before a norm has no more than that, and should have none


def make_plain(model):
    """Turn a model's layers into those of torch, in place; a tensor's name and value stay."""
    from torch import nn
    from torch.nn.functional import selu

    from models.aasist import RawAasist, ResidualBlock, sinc_bank
    from models.cpu_layers import CPU_LAYERS
    from models.lcnn import MaxFeatureMap

    class PlainBlock(ResidualBlock):
        def forward(self, x):
            if x.shape[1] > 1:
                selu(self.thrown_away(x))
            out = self.conv2(selu(self.bn2(self.conv1(x))))
            return self.pool(out + self.conv_downsample(x))

    class PlainRawAasist(RawAasist):
        def forward(self, wave):
            self.band_pass = sinc_bank().to(wave)
            return super().forward(wave)

    kinds = {cpu_layer: plain_layer for plain_layer, (cpu_layer, _) in CPU_LAYERS.items()}
    kinds |= {ResidualBlock: PlainBlock, RawAasist: PlainRawAasist}
    for layer in list(model.modules()):
        layer.__class__ = kinds.get(type(layer), type(layer))
        if isinstance(layer, nn.Sequential):  # mel-LCNN's pooling, after the max-feature-map as released
            for place in range(len(layer) - 1):
                if isinstance(layer[place], nn.MaxPool2d) and isinstance(layer[place + 1], MaxFeatureMap):
                    layer[place], layer[place + 1] = layer[place + 1], layer[place]
        if isinstance(layer, PlainBlock):
            layer.thrown_away = nn.BatchNorm2d(layer.conv1.in_channels).requires_grad_(False)


def seeded_model(name, plain):
    """A model of MODELS with the weights of seed 0, in train mode; plain or ours."""
    import torch

    from models.building import build_network

    torch.manual_seed(0)
    model = build_network(name, 7).train()
    if plain:
        make_plain(model)
    return model


def step(model, wave, labels):
    from torch.nn.functional import cross_entropy

    model.zero_grad()
    cross_entropy(model(wave)[1], labels).backward()


def check(name, samples):
    """Assert that the gradients of both sides are equal; the largest difference, relative to its tensor's largest."""
    import torch

    wave = 0.1 * torch.randn(2, samples).double()
    labels = torch.tensor([0, 3])
    sides = []
    for plain in (True, False):
        model = seeded_model(name, plain).double()
        for layer in model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        step(model, wave, labels)
        sides.append({key: weight.grad for key, weight in model.named_parameters() if weight.grad is not None})
    largest = [{key: grad.abs().max() for key, grad in side.items()} for side in sides]
    rounding = ROUNDING * max(largest[0].values())
    exact = [key for key in largest[0] if max(side[key] for side in largest) > rounding]
    errors = [(sides[1][key] - sides[0][key]).abs().max() / largest[0][key] for key in exact]
    assert sides[0].keys() == sides[1].keys() and max(errors) < RELATIVE, (name, max(errors))
    return max(errors).item()


def measure(name, plain, options):
    """(CPU seconds of a step, the median; peak bytes beyond what was held before the first one)."""
    import torch

    from engine.batches import keep_freed_memory

    torch.set_num_threads(options.threads)
    if options.allocator == "ours" or (options.allocator == "each" and not plain):
        keep_freed_memory()
    model = seeded_model(name, plain)
    wave = 0.1 * torch.randn(options.batch_size, 64600)
    labels = torch.randint(7, (options.batch_size,))
    held = status("VmRSS")
    taken = []
    for _ in range(1 + options.steps):
        start = time.process_time()
        step(model, wave, labels)
        taken.append(time.process_time() - start)
    return statistics.median(taken[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held


def apart(function, *arguments):
    """What a function gives in a new process; an error when that process is killed, such as for lack of memory."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main(argv=None):
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--models", nargs="+", default=["Rawaasist", "mellcnn"], help="only these")
    parser.add_argument("--batch_size", type=int, default=8, help="clips a step (default: 8)")
    parser.add_argument("--steps", type=int, default=2, help="steps of a measurement (default: 2)")
    parser.add_argument(
        "--allocator",
        choices=("each", "ours"),
        default="each",
        help="keep freed memory, as training does, on both sides (ours), or only on our side (each, the default)",
    )
    options = parser.parse_args(argv)
    import torch

    measured = {}
    for name in options.models:
        error = apart(check, name, 64600 if name == "mellcnn" else 16000)
        turns = [[apart(measure, name, plain, options) for plain in (True, False)] for _ in range(options.runs)]
        ratios = [reference[0] / ours[0] for reference, ours in turns]
        measured[name] = {"ratio": statistics.median(ratios), "ratio_range": [min(ratios), max(ratios)]}
        measured[name] |= {"gradient_error": error, "batch_size": options.batch_size, "allocator": options.allocator}
        for side, column in zip(("reference", "ours"), zip(*turns, strict=True), strict=True):
            seconds, peaks = zip(*column, strict=True)
            measured[name] |= {f"{side}_s": statistics.median(seconds), f"{side}_peak": max(peaks)}
    torch.set_num_threads(options.threads)  # what report() states
    report("training_step", COMPARISON, [comparison_row(*item) for item in measured.items()], measured)


if __name__ == "__main__":
    main()
