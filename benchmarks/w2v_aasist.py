"""W2V-AASIST's inference against the plain computation: 24 layers of XLS-R, every hidden state kept.

    python benchmarks/w2v_aasist.py
    python benchmarks/w2v_aasist.py --batch_size 48 --runs 20     # on a GPU

XLS-R's full size, random weights, 64600 samples a clip. The reference is transformers' own Wav2Vec2Model, from which
hidden state 5 is taken. Before the timing, logits in float32 are asserted to agree within 1e-5; the change that bf16
makes to ours is measured, on a GPU with its time. Multiply-accumulates are counted in matrix products and convolutions.
"""

from cache import plain_front_end
from common import COMPARISON, alternate, arguments, comparison_row, report

TOLERANCE = 1e-5
SAMPLES = 64600


def multiply_accumulates(model, wave):
    """Multiply-accumulates of `model` for `wave`, a clip."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.requires_grad_(False)(wave)
    return counter.get_total_flops() // 2


def main(argv=None):
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--batch_size", type=int, default=2, help="clips at once (default: 2)")
    options = parser.parse_args(argv)
    import torch

    from config import Config
    from engine.batches import keep_freed_memory
    from models.building import build_model

    keep_freed_memory()  # as tracing does, for both sides

    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = Config(SSL_path="random")
    torch.manual_seed(0)
    ours = build_model(config).eval().to(device)
    plain = build_model(config, plain_front_end(config.ssl_layer)).eval().to(device)
    plain.w2vaasist.load_state_dict(ours.w2vaasist.state_dict())
    wave = 0.1 * torch.randn(options.batch_size, SAMPLES, device=device)

    def infer(model, dtype=torch.float32):
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=dtype != torch.float32):
            return model(wave)[1].float()

    expected = infer(plain)
    logits = infer(ours)
    half = infer(ours, torch.bfloat16)
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)
    counts = {name: multiply_accumulates(side, wave[:1]) for name, side in (("reference", plain), ("ours", ours))}
    changes = {"float32": (logits - expected).abs().max().item(), "bf16": (half - expected).abs().max().item()}
    measured = {"logit_change": changes, "largest_logit": expected.abs().max().item(), "multiply_accumulates": counts}
    sides = {"float32": torch.float32} | ({"bf16": torch.bfloat16} if device == "cuda" else {})
    for name, dtype in sides.items():
        measured[name] = alternate(lambda: infer(plain), lambda dtype=dtype: infer(ours, dtype), options.runs)
    print(
        f"multiply-accumulates of a clip: {counts['reference'] / 1e9:.1f} G and {counts['ours'] / 1e9:.1f} G,"
        f" {counts['reference'] / counts['ours']:.2f} times fewer; largest change of a logit: {changes['float32']:.1e},"
        f" in bf16 {changes['bf16']:.1e} of {measured['largest_logit']:.2f}"
    )
    rows = [comparison_row(f"{options.batch_size} clips, {name}", measured[name]) for name in sides]
    report("w2v_aasist", COMPARISON, rows, measured)


if __name__ == "__main__":
    main()
