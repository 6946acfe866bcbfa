"""Models of the first system: made with fresh weights, or read from a training run or from released weights."""

from dataclasses import replace

from data.classes import number_of_classes
from models import HEADS, MODELS, resolve_class
from models.cosine import COSINE_FLAGS, use_cosine_head, uses_cosines
from models.cpu_layers import use_cpu_layers
from models.fine_tuning import LORA_WEIGHT, pretrained_digest
from models.fine_tuning_choice import ALL, LORA, NONE
from models.front_ends import (
    FRONT_END_FLAGS,
    TUNING_FLAGS,
    FrontEndModel,
    configured_front_end,
    front_end_from_state,
    front_end_in,
    front_end_of_run,
    recorded_front_end,
)
from models.layer_mix import shares_in_words
from models.weights import (
    AGAIN,
    FRONT_END,
    check_tensor_names,
    check_values,
    checkpoint_in,
    frozen_digest,
    load_weights,
    network_names,
    part_of,
    read_checkpoint,
    read_run,
    renamed,
    run_file,
    unused_layers,
)
from utils.errors import InputError
from utils.flags import is_default, may_be
from utils.reading import shown


def build_network(name, num_classes, hidden_size=1024, **options):
    """The part of --model `name` that is trained, with fresh weights: for waves, or for hidden states of this width.

    `options` are values of the flags that its row names; the defaults are as published.
    """
    row = MODELS[name]
    sizes = (num_classes, hidden_size) if row.needs_front_end else (num_classes,)
    return use_cpu_layers(resolve_class(row.network)(*sizes, **options))


def network_options(config):
    """{name: value} of the flags that the network of --model takes."""
    return {name: getattr(config, name) for name in MODELS[config.model].flags}


def check_network_flags(config):
    """Raise InputError for a flag of networks or of front ends that has a value of its own and that --model lacks."""
    flags = {name: {*row.flags, *(FRONT_END_FLAGS if row.needs_front_end else ())} for name, row in MODELS.items()}
    for flag in sorted(set().union(*flags.values()) - flags[config.model]):
        if not is_default(config, flag):
            names = ", ".join(name for name in MODELS if flag in flags[name])
            raise InputError(f"--{flag} is only for --model {names}, not for {config.model}: leave it out")


def build_model(config, front_end=None):
    """The model that `config` describes, with fresh weights: wave [batch, samples] -> (features, logits).

    `front_end` takes the place of the one that `config` names. Raises InputError for a front end that cannot be read.
    """
    row = MODELS[config.model]
    front_end = (front_end or configured_front_end(config)) if row.needs_front_end else None
    options = network_options(config)
    if front_end:
        options["hidden_size"] = front_end.hidden_size
    if "head" in row.flags:
        options["layers"] = max(len(getattr(front_end, "layers", ())), 1)
    network = build_network(config.model, number_of_classes(config), **options)
    if uses_cosines(config):
        use_cosine_head(network, config.model, config.aam_scale)
    return FrontEndModel(front_end, network) if front_end else network


def check_trained_by(config, script):
    """Raise InputError when another script than `script` trains --model."""
    trained_by = MODELS[config.model].trained_by
    if trained_by != script:
        raise InputError(f"--model {config.model} is trained by {trained_by}, not by {script}")


def load_model(folder, config):
    """The trained model in `folder`, in eval mode: of a run of ours, or released weights with the flags that fit them.

    Where --num_classes is None, the weights decide the number of classes. Raises MissingInput when there is no model,
    InputError when it cannot be used; see read_checkpoint() and load_weights().
    """
    path = checkpoint_in(folder)
    state = read_checkpoint(path)
    config = adopt_run_settings(folder, config)
    check_model(state, config, path)  # before the front end is built, which takes long
    if config.num_classes is None:
        config = replace(config, num_classes=classes_in_checkpoint(state, config))
    model = build_model(config, front_end_in_checkpoint(state, path, config))
    ignored = load_weights(model, state, path)
    check_front_end(folder, model, config, frozen_digest(model))
    if ignored:
        print(f"{path}: ignored layers without effect: {', '.join(ignored)}")
    for line in shares_in_words(model):
        print(f"{path}: {line}")
    return model.eval()


def front_end_in_checkpoint(state, path, config):
    """The front end of the tensors `state` of the checkpoint `path`, where args.json says that all of it was trained.

    None where it is read from --SSL_path.
    """
    record = recorded_front_end(path)
    if config.finetune != ALL or not record:
        return None
    options = {"layer": config.ssl_layer, "norm": record.get("norm", config.ssl_norm), "frozen": False}
    return front_end_from_state(part_of(state, f"{FRONT_END}model."), path, **options)


def start_from(folder, model, config, classes):
    """Put the trained weights in `folder` into `model`, and print what was taken. A head of other classes is left out.

    `classes` are the names of the model's classes. Raises MissingInput when there is no trained model, InputError when
    it is another one than --model or when it had another front end.
    """
    path = checkpoint_in(folder)
    state = read_checkpoint(path)
    check_model(state, config, path)
    trained = adopt_run_settings(folder, config)
    row = MODELS[config.model]
    kept = TUNING_FLAGS if trained.finetune != NONE else ()  # what was frozen may be trained now
    for name in (*row.flags, *((*FRONT_END_FLAGS, *kept) if row.needs_front_end else ())):
        flag = getattr(trained, name)
        same = [getattr(config, name)] + ([model.front_end.norm] if name == "ssl_norm" else [])
        if flag not in same:
            words = " ".join(map(str, flag)) if isinstance(flag, tuple) else flag
            raise InputError(f"{path} was trained with --{name} {words}: give the same")
    same = trained.finetune == config.finetune
    check_front_end(folder, model, config, frozen_digest(model) if same else pretrained_digest(model.front_end))
    state, _ = renamed(state, model.state_dict(), unused_layers(model))
    names = read_run(folder).get("classes") or [
        f"class {label}" for label in range(classes_in_checkpoint(state, config))
    ]
    own = model.state_dict()
    head = next(name for name, part in model.named_modules() if part is model.head)
    left = [name for name in state if name.startswith(f"{head}.")]
    same = uses_cosines(trained) == uses_cosines(config)
    same = same and all(state[name].shape == own[name].shape for name in left)
    if same and list(names) == list(classes):
        left = []
    taken = {name: value for name, value in state.items() if name not in left}
    check_values(taken, own, path)
    model.load_state_dict(taken, strict=False)
    text = f"{path}: took {len(taken)} of {len(state)} tensors"
    return f"{text}, left {' and '.join(left)}: it has the classes {', '.join(names)}" if left else text


# ---- what a training run has written down ----------------------------------------------------------------------------


def adopt_run_settings(folder, config):
    """`config` with the model, its flags, classes and front end of the training run in `folder`.

    Unchanged when the folder holds no args.json of ours. The front end is that of the run, unless its files are gone
    and `config` names one that is there. Raises InputError for a run of an unknown model.
    """
    run = read_run(folder).get("config")
    path = run_file(folder)
    if run is None:
        return config
    check_known(folder, "model", run["model"], MODELS)
    absent = next((name for name in ("num_classes", "SSL_path", *FRONT_END_FLAGS) if name not in run), None)
    if absent:
        raise InputError(f"{path}: config.{absent} is missing: {AGAIN}")
    decided = {name: run[name] for name in ("model", "num_classes")} | front_end_of_run(run, config)
    for flag in (*MODELS[decided["model"]].flags, *COSINE_FLAGS, *TUNING_FLAGS):
        decided[flag] = run.get(flag, getattr(type(config), flag))  # a run from before the flag had its default
    check_known(folder, "head", decided.get("head", config.head), HEADS)
    wrong = next((flag for flag, value in decided.items() if not may_be(type(config), flag, value)), None)
    if wrong:
        raise InputError(f"{path}: config.{wrong} is {shown(decided[wrong])}, expected a value of --{wrong}: {AGAIN}")
    if decided["num_classes"] is None:  # the run took them from its corpus
        del decided["num_classes"]
    return replace(config, **decided)


def check_known(folder, flag, value, table):
    """Raise InputError when the training run in `folder` had a value of --`flag` that `table` does not have."""
    if not isinstance(value, str) or value not in table:
        raise InputError(f"{run_file(folder)} is of a run of --{flag} {value}, expected one of {', '.join(table)}")


def check_front_end(folder, model, config, frozen):
    """Raise InputError when the training run in `folder` had another front end than `model`, as far as it says.

    `frozen` is the digest of what the run kept frozen.
    """
    expected = read_run(folder).get("frozen")
    if expected and expected != frozen:
        raise InputError(
            f"{run_file(folder)}: this model was trained on other pretrained weights than {config.SSL_path} holds:"
            " give the same as --SSL_path"
        )
    check_record(folder, model)


def check_record(folder, model):
    """Raise InputError when the training run in `folder` had a front end of another configuration, layer or norm."""
    front_end = front_end_in(model)
    run = read_run(folder)
    flags = run.get("config")
    if front_end is None or flags is None:
        return
    record = front_end.record()
    norm = flags.get("ssl_norm", "checkpoint")
    older = {} if norm == "checkpoint" else {"norm": norm}  # what runs say that have no record
    for name, value in (run.get("front_end") or older).items():
        if value != record.get(name):
            what = {"norm": "normalisation", "structure": "configuration"}.get(name, name)
            raise InputError(
                f"{run_file(folder)}: this model was trained with another {what} of the front end"
                + (f" ({value}, not {record.get(name)})" if name != "structure" else "")
                + ": give the same as --SSL_path, --ssl_layer and --ssl_norm"
            )


# ---- which model weights are of --------------------------------------------------------------------------------------


def small_network(config):
    """The smallest network that `config` describes. Its tensors have the same names as those of a trained one."""
    return build_network(config.model, num_classes=2, hidden_size=1, **network_options(config))


def check_model(state, config, path):
    """Raise InputError, with the right flags, when `state`, read from `path`, is not of --model and --head."""
    if config.finetune != LORA and any(LORA_WEIGHT in name for name in state):
        raise InputError(
            f"{path} holds the weights of --finetune {LORA}, not of {config.finetune}: pass --finetune {LORA}"
        )
    names = network_names(state)
    expected = network_names(small_network(config).state_dict())
    if names == expected:
        return
    kinds = [(name, head) for name in MODELS for head in (HEADS if "head" in MODELS[name].flags else [config.head])]
    for name, head in kinds:
        other = replace(config, model=name, head=head)
        if names == network_names(small_network(other).state_dict()):
            wrong = [flag for flag in ("model", "head") if getattr(other, flag) != getattr(config, flag)]
            right = " ".join(f"--{flag} {getattr(other, flag)}" for flag in wrong)
            raise InputError(f"{path} holds the weights of {right}, not of {getattr(config, wrong[0])}: pass {right}")
    check_tensor_names(names, expected, path)


def classes_in_checkpoint(state, config):
    """The number of classes of the weights `state` of the model that `config` names: the rows of its last layer."""
    network = small_network(config)
    head = next(part for part, layer in network.named_modules() if layer is network.head)
    (weight,) = (value for tensor, value in state.items() if network_names([tensor]) == {f"{head}.weight"})
    return len(weight) if weight.ndim else 0
