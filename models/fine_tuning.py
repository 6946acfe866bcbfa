"""--finetune: the part of an SSL front end that is trained along with the network.

last:N trains the last N of the transformer layers that are built, `all` every weight, and `lora` matrices of low rank
beside the linear layers of the attention (Hu et al., ICLR 2022, arXiv 2106.09685). The rest stays frozen, in eval mode.
"""

from models import MODELS
from models.fine_tuning_choice import ALL, FORM, LORA, NONE, last_layers
from models.weights import state_digest
from utils.errors import InputError
from utils.flags import is_default

LORA_SCALE = 2  # alpha / rank: the factor on the product of the two matrices
LORA_WEIGHT = ".lora_"  # in the names of their tensors


def check_fine_tuning(config):
    """Raise InputError when the flags of fine-tuning do not fit --model, or each other."""
    if config.finetune != NONE and not MODELS[config.model].needs_front_end:
        names = ", ".join(name for name, row in MODELS.items() if row.needs_front_end)
        raise InputError(f"--finetune is only for --model {names}, not for {config.model}: leave it out")
    for flag in ("front_end_lr", "gradient_checkpointing"):
        if config.finetune == NONE and not is_default(config, flag):
            raise InputError(f"--{flag} has no effect on a frozen front end: leave it out, or give --finetune")
    if config.finetune != LORA and not is_default(config, "lora_rank"):
        raise InputError(f"--lora_rank is only for --finetune {LORA}, not for {config.finetune}: leave it out")


def fine_tune(front_end, config):
    """`front_end`, the part of which that --finetune names takes gradients, and is in training mode when it is.

    With `all` it has been built so. Raises InputError where the front end has no such part.
    """
    choice = config.finetune
    count = last_layers(choice)
    if count or choice == LORA:
        check_layers(front_end, config, count or 1)
        front_end.trained_parts = tuple(
            train_last(front_end, count) if count else add_lora(front_end, config.lora_rank)
        )
        front_end.train(front_end.training)
    elif choice not in (NONE, ALL):
        raise InputError(f"--finetune {choice} is not known: expected {FORM}")
    if config.gradient_checkpointing and choice != NONE:
        checkpoint_gradients(front_end)
    return front_end


def check_layers(front_end, config, count):
    """Raise InputError where `front_end` has fewer than `count` layers, or where LoRA finds none wide enough."""
    built = len(front_end.transformer_layers())
    what = f"--finetune {config.finetune}: {config.SSL_path}"
    if not built or (config.finetune == LORA and not front_end.attention_projections):
        raise InputError(
            f"{what} has no transformer layers up to the hidden state that is used: give a larger --ssl_layer,"
            f" or --finetune {ALL}"
        )
    if count > built:
        used = front_end.layers[-1]
        raise InputError(f"{what} has {built} layers up to hidden state {used}: give last:1 to last:{built}")
    if config.finetune == LORA and config.lora_rank > front_end.hidden_size:
        raise InputError(
            f"--lora_rank {config.lora_rank}: the layers of {config.SSL_path} have a width of {front_end.hidden_size},"
            " and a rank is far smaller, such as 8"
        )


def train_last(front_end, count):
    """Let the last `count` layers of `front_end` take gradients; gives what does."""
    parts = front_end.last_parts(count)
    for part in parts:
        part.requires_grad_(True)
    return parts


def add_lora(front_end, rank):
    """Put matrices of `rank` beside the linear layers of the attention; they alone take gradients. Gives the layers."""
    from peft import LoraConfig, inject_adapter_in_model  # slow to import

    targets = list(front_end.attention_projections)
    form = LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, target_modules=targets)
    return [inject_adapter_in_model(form, layer) for layer in front_end.transformer_layers()]


def checkpoint_gradients(front_end):
    """Compute the layers that are trained a second time in the backward pass, instead of keeping what they computed."""
    model = front_end.model
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise InputError(
            f"--gradient_checkpointing: front ends of the family {front_end.family} cannot do this: leave it out"
        )
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)  # renamed in 5.x
    model.config.use_cache = False  # of generation: Whisper's would warn that the two do not go together
    enable({"use_reentrant": False})


def pretrained_digest(front_end):
    """The digest of the weights of a front end that has not been trained yet, without what LoRA adds to them."""
    return state_digest({name: value for name, value in front_end.state_dict().items() if LORA_WEIGHT not in name})
