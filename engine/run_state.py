"""last/state.pt: all that a resumed run continues from. What it holds, and the checks before it is used."""

import math
from typing import Annotated, Any

from annotated_types import Ge, MinLen
from typing_extensions import NotRequired, TypedDict

from models.weights import check_tensor_names, check_values, load_file, trained_state
from utils.errors import InputError
from utils.reading import check_content, parse_json, read_bytes, shown, strict
from utils.tensors import check_tensors, content_digest

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam and AdamW keep of a weight
REMEDY = "start again with another --out_fold"


@strict
class Epoch(TypedDict):
    """A line of log.jsonl; its other metrics are numbers too, see History."""

    epoch: Annotated[int, Ge(1)]
    train_loss: float
    dev_loss: float


@strict
class History(TypedDict):
    """All lines of log.jsonl, twice: what they have in common, and all of their values."""

    epochs: Annotated[list[Epoch], MinLen(1)]
    values: list[dict[str, float]]


@strict
class Optimizer(TypedDict):
    state: dict[int, dict[str, Any]]
    param_groups: Annotated[list[dict[str, Any]], MinLen(1)]


@strict
class State(TypedDict):
    """The content of last/state.pt."""

    model: dict[str, Any]
    optimizer: Optimizer
    objective: dict[str, Any]
    scaler: NotRequired[dict[str, Any] | None]
    frozen: str  # the digest of the front end
    processes: NotRequired[Annotated[int, Ge(1)]]
    history: list[dict[str, Any]]
    digest: NotRequired[str]  # content_digest() of the rest; runs of version 0.2 lack it


def check_history(rows, place, remedy):
    """`rows`, those of log.jsonl. Raises InputError unless each has its losses and the epochs are 1, 2, 3, ..."""
    check_content({"epochs": rows, "values": rows}, History, place, remedy)
    for number, row in enumerate(rows, 1):
        if row["epoch"] != number:
            raise InputError(f"{place} has the epoch {row['epoch']} where {number} is expected: {remedy}")
    return rows


def read_log(path):
    """The rows of log.jsonl. Raises InputError as check_history() does, and for a line that is no JSON."""
    remedy = "train again, or restore the file"
    lines = read_bytes(path, remedy).splitlines()
    rows = [parse_json(line, dict[str, float], f"{path}:{number}", remedy) for number, line in enumerate(lines, 1)]
    return check_history(rows, path, remedy)


def read_state(path, frozen, model, optimizer, loss):
    """The State in the file `path`, which fits the model, its optimizer and its loss.

    Raises InputError when it is damaged, when a tensor is absent or of another form, and when the run had another
    front end than that of digest `frozen`.
    """
    state = check_content(load_file(path, kind="the state of a run", remedy=f": {REMEDY}"), State, path, REMEDY)
    check_history(state["history"], f"{path}: its history", REMEDY)
    if state["frozen"] != frozen:
        raise InputError(
            f"{path}: this run was trained on other pretrained weights, which it keeps frozen: give the same"
        )
    for held, own in ((state["model"], trained_state(model)), (state["objective"], loss.state_dict())):
        check_tensor_names(held, own, path)
        check_values(held, own, path)
    try:
        check_optimizer(state, optimizer)
        check_digest(state)
    except InputError as error:
        raise InputError(f"{path}: {error}: {REMEDY}") from None
    return state


def check_digest(state):
    """Raise InputError when a State is not what the run has written."""
    rest = {name: value for name, value in state.items() if name != "digest"}
    if "digest" in state and content_digest(rest) != state["digest"]:
        raise InputError("it is not what the run has written: a part is missing or changed")


def check_optimizer(state, optimizer):
    """Raise InputError when the optimizer's part of a State lacks something, or is not of `optimizer`."""
    held = state["optimizer"]
    steps = [group.get("lr") for group in held["param_groups"]]
    if not all(type(step) is float and 0 <= step < math.inf for step in steps):
        raise InputError(f"its optimizer has the step sizes {shown(steps)}, expected numbers from 0")
    flags = [
        [{**group, "lr": None} for group in groups]
        for groups in (held["param_groups"], optimizer.state_dict()["param_groups"])
    ]
    if flags[0] != flags[1]:
        raise InputError("its optimizer has other settings or parameters than this run")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, parts in held["state"].items():
        shape = weights[number].shape if number in range(len(weights)) else [None]
        try:
            check_tensors(parts, {name: ("real", *([] if name == "step" else shape)) for name in MOMENTS})
        except InputError as error:
            raise InputError(f"its optimizer has a wrong state of the weight {number}: {error}") from None
        if parts.keys() - set(MOMENTS) or parts["step"] < 0 or (parts["exp_avg_sq"] < 0).any():
            raise InputError(f"its optimizer has a state of the weight {number} that Adam does not make")
    if "digest" not in state and len(held["state"]) < len(weights):
        raise InputError(f"its optimizer knows {len(held['state'])} weights, expected {len(weights)}")
