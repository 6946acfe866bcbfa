"""A model folder for predict.py from a table of clips, calibrated on clips of groups that its readers never heard."""

import json

import numpy as np

from config import Network
from engine.run_folder import describe_run
from evaluation.calibration import DEFAULT_DETECTOR, write_calibration
from models import SHARED_CHECKPOINT
from models.weights import trained_state
from prediction.verdict import UNKNOWN, UNSURE, Limits, name_sources
from utils.console import print_table
from utils.files import save_safetensors, write_text


def verdict_rates(judged, description):
    """How often predict.py would give each answer, in %: {kind of clips: {"clips": n, answer: %}}.

    `judged` are held-out clips, `description` is what calibrate_held_out() gives of them.
    """
    names = np.array(judged.names)
    probabilities = (judged.logits.double() / description["temperature"]).softmax(dim=1).numpy()
    threshold = description["detectors"][DEFAULT_DETECTOR]["threshold"]
    limits = Limits(threshold, **description["limits"])
    sources = name_sources(probabilities, judged.scores.numpy(), judged.names, limits)
    truth, unseen = names[judged.labels.numpy()], judged.unseen.numpy()
    real = names[0]
    answers = {
        "right": (sources == truth) & (truth != real) & ~unseen,
        "real": sources == real,
        UNKNOWN: sources == UNKNOWN,
        UNSURE: sources == UNSURE,
    }
    answers["wrong codec"] = ~np.any(list(answers.values()), axis=0)
    kinds = {"known codec": (truth != real) & ~unseen, "real": (truth == real) & ~unseen, "unseen codec": unseen}
    rates = {}
    for kind, chosen in kinds.items():
        if chosen.any():
            shares = {answer: 100 * float(given[chosen].mean()) for answer, given in answers.items()}
            rates[kind] = {"clips": int(chosen.sum())} | shares
    return rates


def print_verdict_rates(rates):
    """Print what verdict_rates() gives."""
    print("\nVerdicts at the operating point (%)")
    answers = list(next(iter(rates.values())))
    rows = [(kind, row["clips"], *(f"{row[answer]:.1f}" for answer in answers[1:])) for kind, row in rates.items()]
    print_table(("clips of", *answers), rows)


def save_model(config, names, reader, description, tensors):
    """Write the trained `reader` of the classes `names` and its calibration into config.save."""
    network = json.loads(Network(model="fingerprint", num_classes=len(names)).json_text())
    described = describe_run(config, [config.table], names)
    described["data"] = {config.table.name: described["data"][str(config.table)]}
    described["config"] |= {"table": config.table.name, "save": None, "json": None, **network}
    save_safetensors(config.save / SHARED_CHECKPOINT, trained_state(reader))
    write_text(config.save / "args.json", json.dumps(described, indent=2) + "\n")
    origin = {key: described[key] for key in ("versions", "data")}
    write_calibration(config.save, description, tensors, names, origin)
    print(f"wrote {config.save}")
