"""Files of ONNX: their size, and clips a second of onnxruntime against torch, on the CPU.

    python benchmarks/export.py
    python benchmarks/export.py --models fingerprint-kernel mellcnn

Clips of 64600 samples. The weights are random; W2VAASIST has XLS-R's full size and its layer 5. The reference is torch
as predict.py runs it; export_model() has asserted that both sides agree.
"""

import tempfile
from pathlib import Path

from common import COMPARISON, alternate, arguments, comparison_row, report


def measure(name, runs, threads, waves, folder):
    """The figures of --model `name`: those of alternate(), the size of the file and clips a second of both sides."""
    import torch

    from config import Config
    from models.building import build_model
    from prediction.onnx_export import ExportedModel, export_model, open_session

    torch.manual_seed(0)
    model = build_model(Config(model=name, num_classes=7, SSL_path="random")).eval()
    state = model.state_dict()
    path = folder / f"{name}.onnx"
    other = build_model(Config(model=name, num_classes=7, SSL_path="random")).eval()
    other.load_state_dict(state)
    export_model(ExportedModel(other, 1.0).eval(), {}, path)
    session = open_session(path, threads)

    def infer():
        with torch.inference_mode():
            return model(waves)

    figures = alternate(infer, lambda: session.run(None, {"wave": waves.numpy()}), runs)
    figures["megabytes"] = path.stat().st_size / 1e6
    return figures | {f"{side}_clips_s": len(waves) / figures[f"{side}_s"] for side in ("reference", "ours")}


def main(argv=None):
    from models import MODELS

    parser = arguments(__doc__, runs=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS), help="only these models")
    parser.add_argument("--batch_size", type=int, default=4, help="clips at once (default: 4)")
    options = parser.parse_args(argv)
    import torch

    from engine.batches import keep_freed_memory
    from prediction.onnx_export import example_waves

    keep_freed_memory()
    torch.set_num_threads(options.threads)
    waves = example_waves(options.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        measured = {name: measure(name, options.runs, options.threads, waves, Path(folder)) for name in options.models}
    rows = [
        (*comparison_row(name, row), f"{row['megabytes']:.1f}", *(f"{row[f'{side}_clips_s']:.1f}" for side in SIDES))
        for name, row in measured.items()
    ]
    report("export", (*COMPARISON, "file (MB)", "torch clips/s", "onnxruntime clips/s"), rows, measured)


SIDES = "reference", "ours"

if __name__ == "__main__":
    main()
