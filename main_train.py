"""Train a source-tracing model: RawAASIST, W2V-AASIST, mel-LCNN or the spectral fingerprint.

    python main_train.py --data_root st-codecfake --model W2VAASIST -o models/w2v
    python main_train.py --train_list clips.csv --model mellcnn -o models/mine           # a corpus of your own
    python main_train.py --train_list clips.csv --init_from models/w2v -o models/mine    # from trained weights
    python main_train.py --data_root st-codecfake --finetune lora -o models/lora         # the front end learns, too
    torchrun --standalone --nproc_per_node 4 main_train.py --data_root st-codecfake -o models/w2v  # four GPUs
    python main_train.py --data_root st-codecfake -o models/w2v --continue_training      # after an interruption
    python main_train.py --data_root st-codecfake -o models/w2v --seeds 1 2 3            # models/w2v/seed-1 to -3

The defaults are the paper's recipe: Adam at 5e-4, halved every 10 epochs, batches of 24, 50 epochs, seed 688.
Writes under --out_fold, after every epoch: anti-spoofing_feat_model.pt (best epoch so far, see --best_by),
checkpoint/ (every epoch), last/ (all that --continue_training needs), args.json, log.jsonl and tensorboard/.
"""

from dataclasses import replace

from config import Augmenting, Config, Network, Training
from data.classes import CLASSES, REAL, known_class_names, number_of_classes
from models import MODELS
from utils.errors import InputError, run
from utils.flags import parse_flags
from utils.settings import Machine

LISTS = ("train_list", "dev_list", "dev_rows", "eval_rows", "label_column", "list_audio", "list_format", "class_names")
TUNING = ("finetune", "front_end_lr", "gradient_checkpointing")
SHOWN = ("data_root", *LISTS, "out_fold", Network, *TUNING, Training, "base_loss", "outliers", Augmenting, Machine)


def print_absent_classes(clips, names):
    """Print which of the classes `names` no training clip belongs to, and that none is real speech."""
    if CLASSES[REAL] not in names and not names[REAL].startswith("class"):
        print(f"no class is called {CLASSES[REAL]}: tables that show real speech show {names[REAL]} in its place")
    labels = {clip.label for clip in clips}
    absent = [f"{label} ({name})" for label, name in enumerate(names) if label not in labels]
    if absent:
        print(f"no training clip is of class {', '.join(absent)}: the model cannot learn to name it")


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *SHOWN)
    config = replace(config, num_classes=number_of_classes(config))
    import torch

    from data.augmentation import AugmentedClips, find_augmentation, recordings
    from data.clip_lists import list_of, print_shared_clips
    from data.conditions import CONDITIONS
    from data.dataset import Clips
    from data.outliers import read_outliers
    from data.protocols import check_audio
    from engine.cached_features import cached_features, check_cacheable
    from engine.losses import check_loss
    from engine.objectives import ClassObjective
    from engine.training import Setup, train_runs
    from evaluation.metrics import accuracy, macro_f1
    from models.building import build_model, check_network_flags, check_trained_by, start_from
    from models.fine_tuning import check_fine_tuning
    from models.front_end_costs import costs_in_words
    from models.front_ends import configured_front_end
    from prediction.verdict import NO_SOURCE
    from utils.hardware import is_first_process

    check_loss(config)
    train, dev = (row.clips(config) for row in CONDITIONS if row.suite in ("train", "dev"))
    check_audio(train + dev)
    classes = known_class_names(config)
    outliers = read_outliers(config, train + dev, classes)
    augmentation = find_augmentation(config, config.augment)
    check_cacheable(config, augmentation)
    check_trained_by(config, "main_train.py")
    check_network_flags(config)
    check_fine_tuning(config)
    if set(classes) & set(NO_SOURCE):
        name = min(set(classes) & set(NO_SOURCE))
        raise InputError(f"the label {name} is also a verdict of predict.py that names no class: rename it")
    if is_first_process():
        if MODELS[config.model].needs_front_end:
            print(costs_in_words(configured_front_end(config, outline=True)))
        print_absent_classes(train, classes)
        print_shared_clips(config)

    def set_up(run, accelerator):
        sets = {"train": AugmentedClips(train + outliers, augmentation, run.seed), "dev": Clips(dev)}
        front_end = None
        if run.cache_features:
            front_end, sets = cached_features(run, accelerator, sets)
        torch.manual_seed(run.seed)
        model = build_model(run, front_end)
        if run.init_from:
            accelerator.print(start_from(run.init_from, model, run, classes))
        objective = ClassObjective(run, {"macro_f1": macro_f1, "accuracy": accuracy})
        return Setup(run.model, model, objective, outliers=len(outliers), **sets)

    lists = [list_of(config, part) or getattr(config, f"{part}_label") for part in ("train", "dev")]
    others = filter(None, [config.outliers, *recordings(config)])
    train_runs(config, [*lists, *others], set_up, classes)


if __name__ == "__main__":
    run(main)
