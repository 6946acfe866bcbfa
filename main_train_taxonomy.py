"""Train a model of the taxonomy system: W2V2AASIST in one of nine forms, or SASTNet for one task.

    python main_train_taxonomy.py --data_root codecfake_plus --model_type M1 --sampling_strategy VQ -o models/m1
    python main_train_taxonomy.py --data_root codecfake_plus --model SASTNet --task AUX -o models/sast_aux
    python main_train_taxonomy.py --data_root codecfake_plus --model_type M1 --sampling_strategy VQ -o models/m1 \\
        --continue_training                                                             # after an interruption

The defaults are the papers' recipes: Adam at 1e-6, batches of 8, 20 epochs; for SASTNet AdamW at 1e-5 with a cosine
schedule, batches of 12, 40 epochs; RawBoost 5 on the training data, seed 1234. Reads the training and development
lists of --sampling_strategy, never a test list. Writes under --out_fold, after every epoch, what main_train.py does;
anti-spoofing_feat_model.pt is the epoch of the lowest development loss.
"""

from dataclasses import replace

from config_taxonomy import CORPUS, Lists, TaxonomyConfig, TaxonomyNetwork, TaxonomyTraining
from utils.errors import run
from utils.flags import parse_flags
from utils.settings import Compute

SHOWN = (*CORPUS, Lists, "out_fold", TaxonomyNetwork, TaxonomyTraining, Compute)


def complete(config):
    """`config` with --model_type or --task, left out, set to the task of --sampling_strategy."""
    return replace(
        config,
        model_type=config.model_type or f"S_{config.sampling_strategy}",
        task=config.task or config.sampling_strategy,
    )


def w2v2_aasist_recipe(config, model, objective):
    """The optimizer of arXiv 2505.12994 and its schedule, a factor on the rate from the epochs done."""
    import torch

    trained = [weight for weight in (*model.parameters(), *objective.parameters()) if weight.requires_grad]
    return torch.optim.Adam(trained, lr=config.lr, weight_decay=config.weight_decay), lambda done: config.lr_decay**done


def sastnet_recipe(config, model, objective):
    """The optimizer of arXiv 2506.07294 and its schedule; the weights of the losses have a rate of their own."""
    import math

    import torch

    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": trained, "lr": config.lr, "weight_decay": config.weight_decay},
        {"params": [*objective.parameters()], "lr": 1e-3, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups), lambda epochs_done: (1 + math.cos(math.pi * epochs_done / config.num_epochs)) / 2


RECIPES = {"W2V2AASIST": w2v2_aasist_recipe, "SASTNet": sastnet_recipe}


def make_measure(objective):
    """The development figures, in the form that fit() asks for: the loss, and the accuracy of each task."""
    import torch

    from data.taxonomy import Labels
    from evaluation.metrics import accuracy

    def measure(outputs, labels):
        labels = Labels(*map(torch.tensor, zip(*labels, strict=True)))
        targets, (_, logits) = objective.targets(labels), outputs
        figures = {"dev_loss": objective.development(outputs, labels).item()}
        for task in objective.tasks:
            figures[f"dev_accuracy_{task}"] = accuracy(getattr(targets, task), logits[task].argmax(dim=1))
        return figures

    return measure


def train_model(config, description, train, dev):
    """Train one model on the clips `train`, from its seed alone."""
    import torch

    from data.augmentation import AugmentedClips
    from data.dataset import Clips
    from engine.inference import make_accelerator
    from engine.training import fit
    from models.taxonomy_building import build_taxonomy_loss, build_taxonomy_model

    accelerator = make_accelerator(config)
    torch.manual_seed(config.seed)
    model = build_taxonomy_model(config)
    objective = build_taxonomy_loss(config)
    optimizer, schedule = RECIPES[config.model](config, model, objective)
    augmentation = f"rawboost{config.algo}" if config.augment == "rawboost" else config.augment
    augmented = (model.samples, augmentation, config.seed)
    data = (
        AugmentedClips(train, *augmented),
        AugmentedClips(dev, *augmented) if config.augment_dev else Clips(dev, model.samples),
    )
    what = config.model_type if config.model == "W2V2AASIST" else config.task
    print(f"{config.model} {what}: {len(train)} training and {len(dev)} development clips, writing {config.out_fold}")
    fit(config, description, model, objective, optimizer, schedule, *data, make_measure(objective), accelerator)
    accelerator.end_training()


def main(argv=None):
    config = complete(parse_flags(__doc__, argv, TaxonomyConfig, *SHOWN))
    from data.taxonomy import read_codecs
    from data.taxonomy_protocols import LIST_NAMES, read_list, with_audio
    from engine.training import check_out_fold, describe_run
    from utils.locks import lock_folders

    codecs = read_codecs(config.codec_table)
    lists = [config.list_dir / LIST_NAMES[config.sampling_strategy].format(part) for part in ("train", "dev")]
    train, dev = (with_audio(read_list(path, "CoRS", config.base_dir, codecs)) for path in lists)
    description = describe_run(config, lists)
    with lock_folders(config.out_fold):
        check_out_fold(config, description)
        train_model(config, description, train, dev)


if __name__ == "__main__":
    run(main)
