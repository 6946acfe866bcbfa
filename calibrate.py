"""Find a trained model's operating point on development data, and write it beside the checkpoint.

    python calibrate.py --data_root st-codecfake --model_folder models/w2v
    python calibrate.py --data_root st-codecfake --model_folder models/w2v --tpr 0.99

Reads save_feats/traindict.pt and save_feats/devdict.pt (see source_tracing_ood.py). Writes calibration.json and
calibration.safetensors into --model_folder: the temperature that calibrates the probabilities and, for each detector,
the threshold that keeps --tpr of known clips.
"""

from dataclasses import replace

from config import Config, Detection
from utils.errors import run
from utils.flags import parse_flags
from utils.model_files import CALIBRATION_JSON


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, "data_root", "model_folder", "save_feats", Detection)
    from data.conditions import CONDITIONS
    from engine.feature_files import read_features
    from engine.run_folder import class_names_of_run, describe_run
    from evaluation.calibration import check_same_model, fit_calibration, write_calibration
    from evaluation.detection import chosen_detectors
    from models.weights import checkpoint_in
    from ood_detectors import DETECTORS
    from utils.hub import refuse_hub_model
    from utils.locks import lock_folders

    refuse_hub_model(config.model_folder, "model_folder")
    names = chosen_detectors(config.ood_detector_name, DETECTORS)
    rows = [row for row in CONDITIONS if row.suite in ("train", "dev")]
    train_file, dev_file = (config.save_feats / row.features for row in rows)
    with lock_folders(config.model_folder):  # two runs at once would mix thresholds and tensors
        train = read_features(train_file, condition=rows[0])
        check_same_model(train, checkpoint_in(config.model_folder), train_file)
        dev = read_features(dev_file, train, condition=rows[1])
        description, tensors = fit_calibration(train, dev, config.tpr, names)
        classes = train.logits.shape[1]
        class_names = class_names_of_run(replace(config, num_classes=classes))
        described = describe_run(config, [train_file, dev_file])
        origin = {key: described[key] for key in ("versions", "data")}
        write_calibration(config.model_folder, description, tensors, class_names, origin)

    dev = description["dev"]
    print(f"{dev['clips']} development clips, {100 * dev['accuracy']:.2f} % of them right")
    before, after = (100 * dev["ece"][when] for when in ("before", "after"))
    print(f"temperature {description['temperature']:.3f}: calibration error {before:.2f} % before, {after:.2f} % after")
    print(f"{len(names)} detectors with thresholds that keep {100 * config.tpr:g} % of known clips")
    print(f"wrote {config.model_folder / CALIBRATION_JSON}")


if __name__ == "__main__":
    run(main)
