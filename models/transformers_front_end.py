"""The part that SSL front ends of transformers have in common: files, options, truncation, layers.

A family is a subclass that says how its models differ. Only the layers that are used are built, and every weight of
them comes from the file.
"""

import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import NamedTuple

import torch
import transformers
from torch import nn

from data.audio import SAMPLE_RATE
from models.front_ends import FrontEnd
from models.hugging_face import (
    OPTIONS,
    PREPROCESSOR,
    SSL_REMEDY,
    model_folder,
    read_folder_weights,
    read_options,
    read_preprocessor,
)
from models.layer_choice import layer_numbers
from models.weights import AGAIN, current_name
from utils.errors import InputError
from utils.model_files import RUN_JSON

# Options of transformers' configurations on which the hidden states of a trained model do not depend
WITHOUT_EFFECT = re.compile(
    r".*(dropout|layerdrop|token_id|adapter|codevector)|(mask|ctc|tdnn|classifier|suppress|begin|decoder|vocab|final)_"
    r"|apply_spec|contrastive|diversity|initializer|init_std|num_(negatives|ctc|clusters|feat_extract_layers)"
    r"|output_hidden_size|use_(weighted|cache)|xvector|max_target|median|tie_"
)
# The part of a model, such as a layer, in which the tensor of a name lies
PART = re.compile(r"(?:encoder\.)?(?:layers\.\d+|\w+)\.")
# What no model exceeds; larger numbers would take hours and all memory before the weights show that they are wrong
LARGEST_DEPTH, LARGEST_SIZE = 1000, 2**16
# What a model may not have: its last hidden state would be of another kind, with fewer frames
PLAIN_FORM = {"add_adapter": False, "use_intermediate_ffn_before_adapter": False}


class Opened(NamedTuple):
    """A model whose options have been read, and whose weights can be."""

    structure: dict  # the options on which hidden states depend, see complete_structure()
    weights: Callable  # () -> {name: tensor}
    preprocessing: dict  # content of preprocessor_config.json
    rates: dict  # {option: rate} of the dropouts that the model was trained with; none where no file says it


class TransformersFrontEnd(FrontEnd):
    """Wave [batch, samples] at 16 kHz -> hidden states of a model of transformers, see FrontEnd.

    `path` is what --SSL_path may name, or (structure, {name: tensor}). `layer` is a value of --ssl_layer: 0 is what
    enters the first layer, n the output of layer n; None is the last one, which alone has passed a final layer norm
    where the model has one. Layers above the largest one are not built. What is trained is trained with the given
    `dropout` (of hidden states, attention and projected features), or where it is None with the rates in config.json,
    and with `layerdrop`, without SpecAugment. With `empty` it has no weights, and lies on the device meta. Raises
    InputError when a model cannot be used.
    """

    config_class = model_class = ""  # in transformers
    prefixes = ()  # of the names of the tensors in a model that was saved with a head
    required = ()  # options that config.json must have
    rare_options = ()  # on which hidden states depend too, but which most models lack
    depth_option = "num_hidden_layers"
    width_option = "hidden_size"
    heads_option = "num_attention_heads"
    dropouts = ("hidden_dropout", "attention_dropout", "feat_proj_dropout")
    tuned_options = (("dropout", None),)  # without LayerDrop: torchrun needs the gradients of every layer
    expected_preprocessing = (("sampling_rate", SAMPLE_RATE),)  # what preprocessor_config.json may not contradict

    def __init__(self, path, layer=5, norm="checkpoint", frozen=True, dropout=0.0, layerdrop=0.0, empty=False):
        opened = self.open(path)
        structure = opened.structure
        path = f"the {self.family} model in the checkpoint" if isinstance(path, tuple) else path
        self.check_structure(structure, path)
        depth = structure[self.depth_option]
        layers = layer_numbers(layer, depth, path)
        if layerdrop and len(layers) > 1:
            raise ValueError("LayerDrop leaves out layers whose outputs are used")
        rates = opened.rates if dropout is None else dict.fromkeys(self.dropouts, dropout)
        model = self.empty_model(path, structure, layers[-1], rates, layerdrop)
        self.adapt(model, structure, cut=layers[-1] < depth, frozen=frozen and not empty)
        if not empty:
            self.fill(model, opened.weights(), path)
        if norm == "checkpoint":
            norm = self.checkpoint_norm(structure, opened.preprocessing, path)
        super().__init__(model, structure[self.width_option], norm, frozen, layers)
        self.structure = structure
        self.prepare_features(structure, opened.preprocessing, path)

    @classmethod
    def outline(cls, path, **options):
        return cls(path, **options, empty=True)

    @classmethod
    def from_state(cls, state, path, structure=None, **options):
        """A front end of the tensors `state`, from the checkpoint `path`, in a `structure` that args.json says.

        Raises InputError where it does not say it.
        """
        if structure is None:
            raise InputError(f"{RUN_JSON} beside {path} does not say the structure of its front end: {AGAIN}")
        return cls((structure, state), **options)

    # ---- what a family may change ------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path):
        """The Opened model of `path`. Raises InputError when there is none."""
        if isinstance(path, tuple):
            structure, state = path
            return Opened(cls.complete_structure(structure), lambda: state, {}, {})
        folder = model_folder(path)
        if folder is None:
            raise InputError(f"{path} does not exist: {SSL_REMEDY}")
        options = read_options(folder)
        cls.check_options(options, folder / OPTIONS)
        preprocessing = read_preprocessor(folder)
        for name, expected in cls.expected_preprocessing:
            if preprocessing.get(name, expected) != expected:
                raise InputError(
                    f"{folder / PREPROCESSOR} says {name} {preprocessing[name]!r}, expected {expected!r}: {SSL_REMEDY}"
                )
        rates = {name: rate for name, rate in (cls.defaults() | options).items() if name.endswith("dropout")}
        return Opened(cls.complete_structure(options), lambda: read_folder_weights(folder), preprocessing, rates)

    @classmethod
    def network_class(cls):
        return getattr(transformers, cls.model_class)

    def family_norm(self, structure):
        """The normalisation of a model that has no preprocessor_config.json."""
        return self.default_norm

    def checkpoint_norm(self, structure, preprocessing, path):
        """The normalisation of waves that a model was trained with, a name of NORM_AXES."""
        wanted = preprocessing.get("do_normalize")
        if wanted not in (None, True, False):
            raise InputError(f"{path}: {PREPROCESSOR} says do_normalize {wanted!r}, expected true or false")
        return {None: self.family_norm(structure), True: "utterance", False: "none"}[wanted]

    def final_norm(self, model, structure):
        """(module, name) of the layer norm that follows the last layer; None where the last layer is the output."""
        return None

    def adapt(self, model, structure, cut, frozen):
        """Change the empty `model`; `cut` says whether layers have been left out at its end."""
        norm = self.final_norm(model, structure)
        if norm and cut:
            setattr(*norm, nn.Identity())
        model._parameters.pop("masked_spec_embed", None)  # only of pre-training

    def make_constants(self, model):
        """Give `model` the tensors that no file holds, on the CPU."""

    def prepare_features(self, structure, preprocessing, path):
        """Make what features() needs, where the model takes more than a wave."""

    def features(self, wave):
        """What the model takes of a normalised wave [batch, samples]."""
        return wave

    def transformer_layers(self):
        return self.model.encoder.layers

    def last_parts(self, count):
        norm = self.final_norm(self.model, self.structure)
        return super().last_parts(count) + ([getattr(*norm)] if norm else [])

    # ---- structure ---------------------------------------------------------------------------------------------------

    @classmethod
    def defaults(cls):
        """{option: default value} of transformers' configuration."""
        return getattr(transformers, cls.config_class)().to_dict()

    @classmethod
    @cache
    def default_structure(cls):
        """{option: default value} of the options on which hidden states depend."""
        common = transformers.PreTrainedConfig().to_dict()
        return {name: v for name, v in cls.defaults().items() if name not in common and not WITHOUT_EFFECT.match(name)}

    @classmethod
    def complete_structure(cls, options):
        """The options of a configuration on which hidden states depend; those that it lacks have their defaults."""
        rare = {name: options[name] for name in cls.rare_options if options.get(name) is not None}
        return {name: options.get(name, default) for name, default in cls.default_structure().items()} | rare

    @classmethod
    def check_options(cls, options, path):
        """Raise InputError when the options in the file `path` are not of a model of this family that can be used."""
        if options.get("model_type") != cls.family:
            raise InputError(f"{path} says model_type {options.get('model_type')!r}, expected {cls.family!r}")
        for name, expected in PLAIN_FORM.items():
            if options.get(name, expected) != expected:
                raise InputError(
                    f"{path} says {name} {options[name]!r}, but only models without an adapter after their last"
                    " layer can be used: give --SSL_path the pre-trained model"
                )
        lacking = [name for name in cls.required if name not in options]
        if lacking:
            raise InputError(f"{path} lacks {', '.join(lacking)} in its configuration: take the original file")

    @classmethod
    def check_structure(cls, structure, path):
        """Raise InputError for sizes that are no numbers, are beyond those of any model, or do not fit each other."""
        sizes = {name: (value, 0, LARGEST_SIZE) for name, value in structure.items() if type(value) is int}
        sizes |= {option: (structure[option], 1, LARGEST_SIZE) for option in (cls.width_option, cls.heads_option)}
        sizes[cls.depth_option] = structure[cls.depth_option], 1, LARGEST_DEPTH
        for option, (value, lowest, largest) in sizes.items():
            if type(value) is not int or not lowest <= value <= largest:
                raise InputError(
                    f"{path} describes no model that can be built: {option} is {value!r}, expected a number from"
                    f" {lowest} to {largest}"
                )
        width, heads = structure[cls.width_option], structure[cls.heads_option]
        if width % heads:
            raise InputError(
                f"{path} describes no model that can be built: {width} features cannot be shared by {heads} heads"
            )

    @classmethod
    def configuration(cls, structure, layers, rates=(), layerdrop=0.0):
        """transformers' configuration of the first `layers` layers, without the parts that only pre-training uses.

        `rates` are those of dropouts, {option: rate}; the others are 0.
        """
        names = list(cls.defaults())
        rates = dict.fromkeys((name for name in names if name.endswith("dropout")), 0.0) | dict(rates)
        return getattr(transformers, cls.config_class)(
            **structure | {cls.depth_option: layers},
            **rates | {name: layerdrop for name in names if name.endswith("layerdrop")},
            mask_time_prob=0.0,
            mask_feature_prob=0.0,
            apply_spec_augment=False,
            attn_implementation="sdpa" if cls.network_class()._supports_sdpa else "eager",
        )

    @classmethod
    def empty_model(cls, path, *configuration):
        """transformers' model without memory for its weights; `configuration` is what configuration() takes.

        Raises InputError, which names `path`, where the configuration contradicts itself.
        """
        try:
            with torch.device("meta"):  # no memory, and no random weights that would be replaced at once
                return cls.network_class()(cls.configuration(*configuration))
        except Exception as error:  # transformers has its own kinds
            reason = " ".join(str(error).split())
            raise InputError(f"{path} describes no model that can be built: {reason}") from None

    # ---- weights -----------------------------------------------------------------------------------------------------

    @classmethod
    def own_name(cls, name):
        """The name in transformers' bare model of the tensor `name` of a file."""
        prefix = next((prefix for prefix in cls.prefixes if name.startswith(prefix)), "")
        return current_name(name.removeprefix(prefix))

    def fill(self, model, state, path):
        """Put the tensors `state`, read from `path`, into the empty `model`. Raises InputError when they do not fit."""
        # Beside a head, all of the model has a prefix: the head's names may be those of a part (feature_extractor).
        prefixed = {name: value for name, value in state.items() if name.startswith(self.prefixes)}
        state = {self.own_name(name): value for name, value in (prefixed or state).items()}
        expected = model.state_dict()
        lacking = [name for name in expected if name not in state]
        if lacking:
            raise InputError(
                f"{path} lacks {len(lacking)} of the {len(expected)} tensors that are used of its {self.family} model"
                f" (first {lacking[0]}): {SSL_REMEDY}"
            )
        built = tuple({match[0] for match in map(PART.match, expected) if match})
        strange = [name for name in state if name not in expected and name.startswith(built)]
        if strange:  # without them the hidden states would be of another model
            raise InputError(
                f"{path}: its configuration has no place for {len(strange)} tensors of the parts that are used"
                f" (first {strange[0]}): take configuration and weights of one {self.family} model"
            )
        for name, own in expected.items():
            if state[name].shape != own.shape:
                shapes = list(state[name].shape), list(own.shape)
                raise InputError(
                    f"{path}: {name} is {shapes[0]}, but its configuration says {shapes[1]}: take the original file"
                )
            if not state[name].isfinite().all():
                raise InputError(f"{path} holds values that are NaN or infinite, in {name}: download it again")
        # Copies: a file that changes later must not change the model.
        weights = {name: state[name].to(own.dtype, copy=True) for name, own in expected.items()}
        model.load_state_dict(weights, assign=True)
        self.make_constants(model)

    # ---- hidden states -----------------------------------------------------------------------------------------------

    def hidden_states(self, wave):
        with nullcontext() if wave.is_meta else torch.autocast(wave.device.type, enabled=False):
            inputs = self.features(wave)
        if not self.several:
            return self.model(inputs).last_hidden_state
        output = self.model(inputs, output_hidden_states=True)
        # The last one of the list has passed the final layer norm in some versions of transformers, not in others.
        states = [*output.hidden_states[: self.layers[-1]], output.last_hidden_state]
        return torch.stack([states[number] for number in self.layers], dim=1)
