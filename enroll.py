"""Enrol a new source from a few of its clips, without training: predict.py --registry then names it.

    python enroll.py new-codec clips/*.wav --model_folder models/w2v --registry registry.safetensors
    python predict.py clip.wav --model_folder models/w2v --registry registry.safetensors

The model must have been calibrated (calibrate.py). Refused, with the reason: fewer than 5 clips, the same recording
twice, clips that are mixed, and sources too near to a known class or to one that was enrolled before. What is written
holds embeddings, names and hashes of the clips, no audio. --replace enrols a name anew.
"""

from pathlib import Path

from config_predict import EnrolConfig
from utils.errors import InputError, run
from utils.flags import parse_flags


def clip_embeddings(model, space, files, config, accelerator):
    """Embeddings [clips, d]: each the mean of its windows. Raises InputError for a clip that cannot be used."""
    import numpy as np

    from data.audio import SAMPLES
    from prediction.verdict import pooled
    from prediction.windows import infer_windows

    paths = [Path(file) for file in files]

    def measure(features, _):
        return {"embeddings": space.embed(features)}

    tables = infer_windows(model, SAMPLES, paths, config, accelerator, measure)
    for path, (table, message) in zip(paths, tables, strict=True):
        if message or not table["audible"].any():
            raise InputError(message or f"{path} is silent: leave it out")
    return np.concatenate([pooled(table)["embeddings"] for table, _ in tables])


def enrol(config, files):
    """Add the source of the clips `files` to --registry."""
    from prediction import enrolment
    from prediction.verdict import NO_SOURCE, load_model

    rows = enrolment.describe_clips(config.name, files)
    calibration, model, accelerator = load_model(config)
    if config.registry.exists():
        registry = enrolment.read(config.registry, config.model_folder)
    else:
        space = enrolment.Space.fit(calibration.train)
        registry = enrolment.Registry(space, calibration.description["checkpoint_sha256"])
    others = [source for source in registry.sources if source.name != config.name]
    if config.name in (*calibration.class_names, *NO_SOURCE):
        raise InputError(f"{config.name} is a name that verdicts have already: choose another")
    if len(others) < len(registry.sources) and not config.replace:
        raise InputError(f"{config.registry} has {config.name} already: choose another name, or pass --replace")
    groups = enrolment.groups_of(registry.space, calibration.train, calibration.class_names, others)
    clips = clip_embeddings(model, registry.space, files, config, accelerator)
    source = enrolment.enrol(registry.space, groups, config.name, clips, rows)
    updated = enrolment.Registry(registry.space, registry.checkpoint, registry.version + 1, [*others, source])
    updated.write(config.registry)
    print(f"{source.name}: {len(clips)} clips, {source.recognised:.0%} of them recognised when left out in turn")
    print(f"wrote {config.registry}, version {updated.version} ({len(updated.sources)} sources)")


def main(argv=None):
    config = parse_flags(__doc__, argv, EnrolConfig)
    from prediction.windows import audio_files
    from utils.locks import lock_folders

    files = audio_files(config.clips)
    with lock_folders(config.registry.absolute().parent):  # or what another enrolment adds meanwhile would be lost
        enrol(config, files)


if __name__ == "__main__":
    run(main)
