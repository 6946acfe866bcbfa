"""An epoch of W2V-AASIST's training from --cache_features, against one that runs the front end.

    python benchmarks/cache.py

The front end has XLS-R's size and random weights. Two references: the published computation, all 24 layers of the
front end with every hidden state kept, and ours without a cache, the 5 layers that are used. In eval mode the loss
from the cache is within 1e-3 of that without.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from common import COMPARISON, alternate, arguments, comparison_row, report

TOLERANCE = 1e-3


def write_clips(folder, count):
    """`count` clips of noise, of 7 classes."""
    import numpy as np
    import soundfile

    from data.protocols import Clip

    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.wav" for number in range(count)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(70_000), 16_000)
    return [Clip(path.name, path, number % 7, "") for number, path in enumerate(paths)]


def plain_front_end(layer):
    """All 24 layers, every hidden state kept, as the released code runs them: wave -> hidden state `layer`."""
    import torch
    from transformers import Wav2Vec2Model

    from models.xlsr import FULL, XlsrFrontEnd, random_weights

    structure, state = random_weights(FULL)
    model = Wav2Vec2Model(XlsrFrontEnd.configuration(structure, structure["num_hidden_layers"]))
    model.eval().requires_grad_(False).load_state_dict(state)

    class Plain(torch.nn.Module):
        hidden_size = structure["hidden_size"]

        def forward(self, wave):
            variance, mean = torch.var_mean(wave, 1, correction=0, keepdim=True)
            wave = (wave - mean) / torch.sqrt(variance + 1e-7)
            with torch.no_grad():
                return model(wave, output_hidden_states=True).hidden_states[layer]

    return Plain()


def main(argv=None):
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--clips", type=int, default=12, help="training clips (default: 12)")
    parser.add_argument("--batch_size", type=int, default=6, help="clips a step (default: 6)")
    options = parser.parse_args(argv)
    import torch
    from torch.nn.functional import cross_entropy

    from config import Config
    from data.dataset import Clips
    from engine.cached_features import cached_features
    from engine.inference import infer, make_accelerator
    from engine.training import epoch_loader, train_epoch
    from models.building import build_model

    torch.set_num_threads(options.threads)

    def objective(outputs, labels):
        return cross_entropy(outputs[1], labels)

    rows = []
    measured = {}
    with TemporaryDirectory() as folder:
        config = Config(
            SSL_path="random", batch_size=options.batch_size, num_workers=0, cache_features=Path(folder) / "cache"
        )
        accelerator = make_accelerator(config)
        clips = Clips(write_clips(Path(folder), options.clips))
        place, data = cached_features(config, accelerator, {"train": clips})
        sides = {"cached": (build_model(config, place), data["train"]), "5 layers": (build_model(config), clips)}
        sides["24 layers, all kept"] = build_model(config, plain_front_end(config.ssl_layer)), clips
        labels = torch.tensor([clip.label for clip in clips.clips])
        losses = {}
        for name, (model, dataset) in sides.items():
            model.w2vaasist.load_state_dict(sides["cached"][0].w2vaasist.state_dict())
            _, logits = infer(model.to(accelerator.device), dataset, config, accelerator, name)
            losses[name] = cross_entropy(logits, labels).item()
        assert max(losses.values()) - min(losses.values()) < TOLERANCE, losses

        def epoch(name):
            model, dataset = sides[name]
            optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=0.0)
            return train_epoch(
                model, objective, optimizer, epoch_loader(dataset, config, 1, accelerator), accelerator, name
            )

        for name in ("5 layers", "24 layers, all kept"):
            timings = alternate(lambda name=name: epoch(name), lambda: epoch("cached"), options.runs)
            rows.append(comparison_row(f"epoch of {options.clips} clips against {name}", timings))
            measured[name] = timings | {"losses": losses}
    report("cache", COMPARISON, rows, measured)


if __name__ == "__main__":
    main()
