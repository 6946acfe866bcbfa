"""SSL front ends of any family: recognised by their files, and in a checkpoint."""

import json
from dataclasses import replace

import pytest
import torch
from helpers.xlsr_files import FAIRSEQ, FOLDER, TINY, changed_folder
from safetensors.torch import load_file

from config import Config
from models import FRONT_ENDS, resolve_class
from models.front_ends import (
    FrontEnd,
    build_front_end,
    configured_front_end,
    front_end_description,
    front_end_from_state,
    reason_not_to_cache,
    without_place,
)
from models.hugging_face import SSL_REMEDY
from models.xlsr import XlsrFrontEnd
from utils.errors import InputError

KNOWN = ", ".join(FRONT_ENDS)
CONFIG = Config(SSL_path="tiny-random", model="W2VAASIST")


@pytest.mark.parametrize("family", FRONT_ENDS)
def test_every_family_is_a_front_end(family):
    assert issubclass(resolve_class(FRONT_ENDS[family]), FrontEnd)


@pytest.mark.parametrize("path", ["tiny-random", TINY, FOLDER / FAIRSEQ[0]], ids=str)
def test_xlsr_is_found_in_every_kind_of_file(path):
    front_end = build_front_end(path, layer=2, norm="none")
    assert type(front_end) is XlsrFrontEnd and len(front_end.model.encoder.layers) == 2
    wave = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(front_end(wave), XlsrFrontEnd(path, 2, "none")(wave))


def test_the_flags_decide_layer_and_norm():
    front_end = configured_front_end(replace(CONFIG, ssl_layer=2, ssl_norm="batch"))
    assert len(front_end.model.encoder.layers) == 2 and front_end.axes == (0, 1) and front_end.frozen


def test_an_unknown_family_is_refused_with_the_known_ones(tmp_path):
    for model_type, said in (("mimi", "'mimi'"), (None, "None"), ([1], "[1]")):
        changed_folder(tmp_path, {"model_type": model_type})
        with pytest.raises(InputError) as caught:
            configured_front_end(replace(CONFIG, SSL_path=str(tmp_path)))
        assert str(caught.value) == (
            f"{tmp_path}/config.json says model_type {said}, which is no known family of SSL front ends ({KNOWN}):"
            " give --SSL_path a model of one of these"
        )


def test_a_path_that_is_not_there_is_refused():
    with pytest.raises(InputError) as caught:
        build_front_end("nowhere.pt")
    assert str(caught.value) == f"nowhere.pt does not exist: {SSL_REMEDY}"


def test_a_family_is_found_in_the_names_of_its_tensors(monkeypatch):
    state = {
        name: value for name, value in load_file(TINY / "model.safetensors").items() if name != "masked_spec_embed"
    }
    front_end = front_end_from_state(state, "file", layer=None, norm="none")
    assert type(front_end) is XlsrFrontEnd and front_end.hidden_size == 64

    class Found:
        def __init__(self, *found):
            self.found = found

    class Other(FrontEnd):
        @staticmethod
        def fits(state):
            return any("rel_attn_embed" in name for name in state)

        @classmethod
        def from_state(cls, state, path, **options):
            return Found(path, options)

    monkeypatch.setitem(FRONT_ENDS, "other", Other)
    state["encoder.layers.0.attention.rel_attn_embed.weight"] = torch.ones(1)  # WavLM's
    assert front_end_from_state(state, "file", layer=3).found == ("file", {"layer": 3})
    monkeypatch.delitem(FRONT_ENDS, "other")
    with pytest.raises(InputError) as caught:
        front_end_from_state(state, "file")
    assert str(caught.value) == f"file holds an SSL front end of no known family ({KNOWN})"


def test_hidden_states_depend_on_the_files_and_the_flags(tmp_path):
    path = changed_folder(tmp_path / "xlsr")
    config = replace(CONFIG, SSL_path=str(path))
    first = front_end_description(config)
    assert first == front_end_description(config) and json.dumps(first)
    record = without_place(first)["record"]
    assert {**record, "structure": None} == {
        "family": "wav2vec2",
        "structure": None,
        "norm": "utterance",
        "layers": [5],
    }
    changed = [
        front_end_description(replace(config, **{name: value}))
        for name, value in (("ssl_layer", 4), ("ssl_norm", "batch"))
    ]
    for file, content in (
        ("config.json", {"num_attention_heads": 8}),
        ("preprocessor_config.json", {"do_normalize": 0}),
    ):
        before = (path / file).read_text() if (path / file).exists() else "{}"
        (path / file).write_text(json.dumps(json.loads(before) | content))
        changed.append(front_end_description(config))
        assert without_place(changed[-1]) not in map(without_place, [first, *changed[:-1]])
    assert first not in changed


def test_what_cannot_be_kept():
    assert reason_not_to_cache(CONFIG) is None
    assert reason_not_to_cache(replace(CONFIG, model="mellcnn")).startswith("--model mellcnn has no frozen front end")
    assert "--ssl_norm batch" in reason_not_to_cache(replace(CONFIG, ssl_norm="batch"))
