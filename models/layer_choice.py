"""Which hidden states of a front end are used: --ssl_layer is a number, several numbers, or "weighted" for all.

Numbers count as in the papers: 0 is what enters the first layer, n the output of layer n. This module imports no torch,
so that `--help` is quick.
"""

import argparse

from utils.errors import InputError

WEIGHTED = "weighted"
FORM = f"a number, several different numbers, or {WEIGHTED}"


def parse_layers(words):
    """The value of --ssl_layer from its words: an int, a sorted tuple of ints, or WEIGHTED. Raises ValueError."""
    if list(words) == [WEIGHTED]:
        return WEIGHTED
    wrong = next((word for word in words if not word.isdecimal()), None)
    if wrong is not None:
        raise ValueError(f"{wrong} is not a layer: give {FORM}")
    numbers = sorted(map(int, words))
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"a layer is given twice in {' '.join(words)}: give {FORM}")
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


class LayerAction(argparse.Action):
    """argparse's action of --ssl_layer."""

    def __call__(self, parser, namespace, words, option=None):
        try:
            setattr(namespace, self.dest, parse_layers(words))
        except ValueError as error:
            parser.error(f"argument {option}: {error}")


def as_layer_choice(value):
    """A value of --ssl_layer that was read from JSON, where a tuple has become a list."""
    return tuple(value) if isinstance(value, list) else value


def layer_numbers(choice, depth, name):
    """The numbers of the layers that `choice` means in a model of `depth` layers, a tuple in ascending order.

    `choice` is a value of --ssl_layer; None means the last layer. Raises InputError, which calls the model `name`, for
    a layer that it does not have.
    """
    if choice == WEIGHTED:
        return tuple(range(depth + 1))
    numbers = choice if isinstance(choice, tuple) else (depth if choice is None else choice,)
    absent = next((number for number in numbers if not 0 <= number <= depth), None)
    if absent is not None:
        raise InputError(f"{name} has {depth} layers: pass --ssl_layer 0 to {depth} instead of {absent}")
    return numbers
