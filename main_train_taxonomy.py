"""Train a model of the taxonomy system: W2V2AASIST in one of nine forms, or SASTNet for one task.

    python main_train_taxonomy.py --data_root codecfake_plus --model_type M1 --sampling_strategy VQ -o models/m1
    python main_train_taxonomy.py --data_root codecfake_plus --model SASTNet --task AUX -o models/sast_aux
    python main_train_taxonomy.py --data_root codecfake_plus --model_type M1 --sampling_strategy VQ -o models/m1 \\
        --continue_training                                                             # after an interruption
    python main_train_taxonomy.py --data_root codecfake_plus -o models/s_aux --seeds 1 2 3  # models/s_aux/seed-1 to -3

The defaults are the papers' recipes: Adam at 1e-6, batches of 8, 20 epochs; for SASTNet AdamW at 1e-5 with a cosine
schedule, batches of 12, 40 epochs; RawBoost 5 on the training data, seed 1234. Reads the training and development
lists of --sampling_strategy, never a test list. Writes under --out_fold, after every epoch, what main_train.py does;
anti-spoofing_feat_model.pt is the epoch of the lowest development loss.
"""

from dataclasses import replace

from config_taxonomy import CORPUS, Lists, TaxonomyConfig, TaxonomyNetwork, TaxonomyTraining
from utils.errors import InputError, run
from utils.flags import parse_flags
from utils.settings import Compute

SHOWN = (*CORPUS, Lists, "out_fold", TaxonomyNetwork, TaxonomyTraining, Compute)


def complete(config):
    """`config` where --model_type and --task, if they are left out, are those of --sampling_strategy."""
    return replace(
        config,
        model_type=config.model_type or f"S_{config.sampling_strategy}",
        task=config.task or config.sampling_strategy,
    )


def main(argv=None):
    config = complete(parse_flags(__doc__, argv, TaxonomyConfig, *SHOWN))
    import torch

    from data.augmentation import AugmentedClips, find_augmentation, recordings
    from data.outliers import read_outliers
    from data.taxonomy import OUTLIER_LABELS, read_codecs
    from data.taxonomy_protocols import LIST_NAMES, codec_of, read_list, with_audio
    from engine.objectives import TaskObjective
    from engine.training import Setup, train_runs
    from evaluation.metrics import accuracy
    from models.front_end_costs import costs_in_words
    from models.front_ends import front_end_in
    from models.taxonomy_building import build_taxonomy_loss, build_taxonomy_model

    codecs = read_codecs(config.codec_table)
    lists = [config.list_dir / LIST_NAMES[config.sampling_strategy].format(part) for part in ("train", "dev")]
    train, dev = (with_audio(read_list(path, "CoRS", config.base_dir, codecs)) for path in lists)

    codec_names = {codec_of(clip.name) for clip in train} - {""}
    outliers = read_outliers(config, train + dev, codec_names, OUTLIER_LABELS)
    only_bin = config.task == "Bin" if config.model == "SASTNet" else config.model_type == "S_BIN"
    if outliers and only_bin:
        raise InputError("--outliers is only for the tasks VQ, AUX and DEC: leave it out, or give another task")
    name = f"rawboost:{config.algo}" if config.augment == "rawboost" else config.augment
    augmentation = find_augmentation(config, [name])

    def set_up(run, accelerator):
        torch.manual_seed(run.seed)
        model = build_taxonomy_model(run)
        front_end = front_end_in(model)
        if front_end:
            accelerator.print(costs_in_words(front_end))
        objective = TaskObjective(build_taxonomy_loss(run), {"accuracy": accuracy})
        train_set = AugmentedClips(train + outliers, augmentation, run.seed, model.samples)
        dev_set = AugmentedClips(dev, augmentation if run.augment_dev else None, run.seed, model.samples)
        detail = run.model_type if run.model == "W2V2AASIST" else run.task
        return Setup(f"{run.model} {detail}", model, objective, train_set, dev_set, len(outliers))

    others = filter(None, [config.outliers, *recordings(config)])
    train_runs(config, [*lists, *others], set_up)


if __name__ == "__main__":
    run(main)
