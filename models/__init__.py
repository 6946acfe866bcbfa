"""The tables of models, of heads and of SSL front ends. A new one is a row here and a file that the row names.

This module imports no torch, so that `--help` is quick. models/building.py makes and loads the models of the first
system, models/taxonomy_building.py those of the second, models/front_ends.py the front ends of both.
"""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import NamedTuple

SHARED_TYPE = "codectrace"  # model_type in the config.json of a model that is given to others


def resolve_class(reference):
    """The class that a row names as "module:class"; a class, or another callable, is given back as it is."""
    return resolve_name(reference) if isinstance(reference, str) else reference


class Model(NamedTuple):
    """A row of MODELS: a model that names the codec of a clip.

    Its network is made from a number of classes, and of the width of the hidden states where it needs a front end:
    network(num_classes) or network(num_classes, hidden_size). It is an nn.Module that turns waves [batch, samples], or
    hidden states [batch, frames, hidden_size], into (features [batch, d], logits [batch, classes]). Its attribute
    `head` is the nn.Linear that turns features into logits; where logits are made of more, `head_makes_logits` is
    False and `embedding_size` is d. `flags` are names of flags whose values the network takes by keyword; they travel
    with the trained model.
    """

    network: str | Callable  # "module:class", or the class
    needs_front_end: bool = False  # whether it takes the hidden states of an SSL front end instead of waves
    trained_by: str = "main_train.py"  # the script
    flags: tuple = ()  # of config.Network, that the network takes


MODELS = {
    "Rawaasist": Model("models.aasist:RawAasist", flags=("level",)),
    "W2VAASIST": Model("models.heads:build_head", needs_front_end=True, flags=("head",)),
    "mellcnn": Model("models.lcnn:MelLcnn", flags=("mel", "level", "spec_augment")),
    "fingerprint": Model("models.fingerprint:Fingerprint"),
    "fingerprint-kernel": Model("models.fingerprint_kernel:KernelFingerprint", trained_by="evaluate_held_out.py"),
}


class Head(NamedTuple):
    """A row of HEADS: what --head names, the network of a model with a front end.

    network(num_classes, hidden_size) is as in Model. A class whose attribute `weighs_layers` is True is also given the
    number of `layers` of the front end, and takes the hidden states of several [batch, layers, frames, hidden_size].
    """

    network: str | Callable  # "module:class", or the class


HEADS = {
    "aasist": Head("models.w2v_aasist:W2vAasistBackEnd"),
    "mhfa": Head("models.mhfa:MultiHeadFactorisedAttention"),
    "asp": Head("models.asp:AttentiveStatisticsPooling"),
}


class TaxonomyModel(NamedTuple):
    """A row of TAXONOMY_MODELS: a model of the tasks of the taxonomy.

    Its builder knows the number of `samples` of a clip, and has these functions:
    build(config) -> the model to be trained, with its pretrained parts;
    loss(config) -> its loss, an nn.Module of (outputs, labels);
    classes(run) -> {task: names of its classes in the order of the logits}, from the flags in args.json, a dict;
    recognise(state) -> which kind of this model the weights `state` are of, None when they are of another model;
    restore(state, kind, config, path) -> (model whose weights will be `state`, what it is in words).
    """

    builder: str | type  # "module:class", or the class


TAXONOMY_MODELS = {
    "W2V2AASIST": TaxonomyModel("models.taxonomy:W2v2AasistBuilder"),
    "SASTNet": TaxonomyModel("models.sastnet_builder:SastNetBuilder"),
}

# Families of SSL front ends by the `model_type` in the config.json of a Hugging Face model. Each is a subclass of
# models.front_ends.FrontEnd, as "module:class" or the class itself.
FRONT_ENDS = {
    "wav2vec2": "models.xlsr:XlsrFrontEnd",
    "hubert": "models.hubert:HubertFrontEnd",
    "wavlm": "models.wavlm:WavLMFrontEnd",
    "unispeech-sat": "models.unispeech_sat:UniSpeechSatFrontEnd",
    "data2vec-audio": "models.data2vec_audio:Data2VecAudioFrontEnd",
    "wav2vec2-bert": "models.wav2vec2_bert:Wav2Vec2BertFrontEnd",
    "whisper": "models.whisper:WhisperFrontEnd",
}
