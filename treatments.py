"""A model on treated speech: what audit_shortcuts.py and evaluate_laundering.py share."""

import hashlib
import json
from dataclasses import replace

import numpy as np

import models
from config_checks import TreatConfig
from data.conditions import CONDITIONS
from data.laundering import Treated
from data.protocols import check_audio
from errors import InputError
from features import read_features, write_features
from files import check_writable, replacing
from tracing import describe_outputs, infer, make_accelerator


def chosen_treatments(config: TreatConfig, table):
    """The rows of `table` that --treatment selects; the first one, untreated speech, is always among them."""
    unknown = set(config.treatment) - {"all", *table}
    if unknown:
        raise InputError(f"--treatment {' '.join(sorted(unknown))}: expected all or some of {', '.join(table)}")
    wanted = table if "all" in config.treatment else [next(iter(table)), *config.treatment]
    return {name: table[name] for name in table if name in wanted}


def test_clips(config):
    """The clips of the closed-set test, with --max_clips so many of each class, drawn by --seed."""
    condition = next(row for row in CONDITIONS if row.suite == "id")
    clips = condition.clips(config)
    check_audio(clips)
    order, kept = np.random.default_rng(config.seed).permutation(len(clips)), []
    for label in {clip.label for clip in clips}:
        members = [position for position in order.tolist() if clips[position].label == label]
        kept += members[: config.max_clips or len(members)]
    return [clips[position] for position in sorted(kept)]


def treated_outputs(config, table, clips):
    """(name, Outputs) of `clips` after each treatment of `table`.

    They are kept in save_feats/treated/: what another run with the same model, clips and flags has left is read.
    """
    check_writable(config.save_feats)
    config = models.run_config(config.model_folder, config)
    accelerator = make_accelerator(config)
    model = models.load(config.model_folder, config).to(accelerator.device)
    described = describe_outputs(model, Treated(clips, None, config.seed), replace(config, batch_size=1))
    labels, names = [clip.label for clip in clips], [clip.name for clip in clips]
    import torch

    for name, treatment in table.items():
        key = hashlib.sha256(json.dumps([described, name, config.seed, config.batch_size]).encode()).hexdigest()[:12]
        path = config.save_feats / "treated" / f"{name.replace(' ', '-')}-{key}.pt"
        if not path.is_file():
            data = Treated(clips, treatment, config.seed)
            features, logits = infer(model, data, config, accelerator, name)
            if accelerator.is_main_process:
                write_features(path, features, logits, torch.tensor(labels), names)
            accelerator.wait_for_everyone()
        yield name, read_features(path, script="this script")


def draw(path, rows, figures, title):
    """Bars of {label: key of a row's figure in %} over the treatments of `rows`, with intervals, to the file `path`."""
    from matplotlib.figure import Figure

    from prediction_figure import COLOURS

    canvas = Figure(figsize=(7, 1 + 0.16 * len(rows) * (1 + len(figures))), layout="constrained")
    axes, thick = canvas.subplots(), 0.8 / len(figures)
    for place, (label, name) in enumerate(figures.items()):
        values = np.array([row[name] for row in rows])
        ends = np.array(
            [row.get(f"{name}_interval") or [value, value] for row, value in zip(rows, values, strict=True)]
        )
        error = np.abs(ends.T - values)
        where = np.arange(len(rows)) + place * thick
        axes.barh(where, values, thick, xerr=error, color=COLOURS[place], label=label, error_kw={"linewidth": 0.8})
    axes.set_yticks(np.arange(len(rows)) + 0.4 - thick / 2, [row["treatment"] for row in rows])
    axes.set(xlim=(0, 100), xlabel="%", title=title)
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="lower right")
    with replacing(path) as temporary:
        canvas.savefig(temporary, format=path.suffix.removeprefix(".") or "png", dpi=120)
    print(f"wrote {path}")
