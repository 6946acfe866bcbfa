"""Train a source-tracing model: RawAASIST, W2V-AASIST or mel-LCNN.

    python main_train.py --data_root st-codecfake --model W2VAASIST -o models/w2v
    torchrun --nproc_per_node 4 main_train.py --data_root st-codecfake -o models/w2v     # four GPUs
    python main_train.py --data_root st-codecfake -o models/w2v --continue_training      # after an interruption
    python main_train.py --data_root st-codecfake -o models/w2v --seeds 1 2 3            # models/w2v/seed-1 to -3

The defaults are the paper's recipe: Adam at 5e-4, halved every 10 epochs, batches of 24, 50 epochs, seed 688.
Writes under --out_fold, after every epoch: anti-spoofing_feat_model.pt (lowest development loss so far),
checkpoint/ (every epoch), last/ (all that --continue_training needs), args.json, log.jsonl and tensorboard/.
"""

from dataclasses import replace

from config import Config, Network, Training
from data.classes import number_of_classes
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags
from utils.settings import Compute

SHOWN = ("data_root", *path_flags("train", "dev"), "out_fold", Network, Training, Compute)


def losses():
    """{--base_loss: function of logits [batch, classes] and classes [batch]}."""
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

    def one_against_rest(logits, labels):
        return binary_cross_entropy_with_logits(logits, one_hot(labels, logits.shape[1]).to(logits.dtype))

    return {"ce": cross_entropy, "bce": one_against_rest}


def make_objective(name):
    """The training loss and the development figures of --base_loss `name`, in the form that fit() asks for."""
    import torch

    from evaluation.metrics import accuracy, macro_f1

    loss = losses()[name]

    class Objective(torch.nn.Module):
        def forward(self, outputs, labels):
            _, logits = outputs
            return loss(logits, labels)

    def measure(outputs, labels):
        _, logits = outputs
        predicted = logits.argmax(dim=1).numpy()
        return {
            # Over clips, not over batches: the published mean gives a small last batch the weight of a full one.
            "dev_loss": loss(logits, torch.tensor(labels)).item(),
            "dev_macro_f1": macro_f1(labels, predicted),
            "dev_accuracy": accuracy(labels, predicted),
        }

    return Objective(), measure


def of_each_seed(config):
    """The configurations of the runs of --seeds, each in a folder of its own; without it, that of the one run."""
    folders = {seed: config.out_fold / f"seed-{seed}" for seed in config.seeds}
    begun = {seed: config.continue_training and (folder / "last/state.pt").exists() for seed, folder in folders.items()}
    return [
        replace(config, seed=seed, seeds=(), out_fold=folder, continue_training=begun[seed])
        for seed, folder in folders.items()
    ] or [config]


def train_model(config, description, train, dev):
    """Train one model on the clips `train`, from its seed alone; the accelerator is left open for the next one."""
    import torch

    from data.dataset import Clips
    from engine.cached_features import cached_features
    from engine.inference import make_accelerator
    from engine.training import fit
    from models.building import build_model

    accelerator = make_accelerator(config)
    data, front_end = {"train": Clips(train), "dev": Clips(dev)}, None
    if config.cache_features:
        front_end, data = cached_features(config, accelerator, data)
    torch.manual_seed(config.seed)
    model = build_model(config, front_end)
    optimizer = torch.optim.Adam(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=config.lr,
        betas=(config.beta_1, config.beta_2),
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
    objective, measure = make_objective(config.base_loss)

    def schedule(epochs_done):
        return config.lr_decay ** (epochs_done // config.interval)

    accelerator.print(
        f"{config.model}: {len(train)} training and {len(dev)} development clips, writing {config.out_fold}"
    )
    absent = sorted(set(range(config.num_classes)) - {clip.label for clip in train})
    if absent:
        accelerator.print(f"no training clip is of class {', '.join(map(str, absent))}: the model will not name it")
    fit(config, description, model, objective, optimizer, schedule, *data.values(), measure, accelerator)
    return accelerator


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *SHOWN)
    config = replace(config, num_classes=number_of_classes(config))
    from data.protocols import check_audio, label_file
    from engine.cached_features import check_cacheable
    from engine.training import check_out_fold, describe_run
    from utils.locks import lock_folders

    train, dev = (label_file(f"{part}_wav", f"{part}_label")(config) for part in ("train", "dev"))
    check_audio(train + dev)
    runs = [(each, describe_run(each, [config.train_label, config.dev_label])) for each in of_each_seed(config)]
    with lock_folders(*(each.out_fold for each, _ in runs)):
        for each, description in runs:
            check_out_fold(each, description)
        check_cacheable(config)
        for each, description in runs:
            accelerator = train_model(each, description, train, dev)
        accelerator.end_training()


if __name__ == "__main__":
    run(main)
