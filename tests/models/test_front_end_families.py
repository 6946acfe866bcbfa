"""Every family of SSL front ends gives the hidden states of transformers' own model, from every kind of file."""

import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.front_end_files import SMALL_MODELS, random_model, save_model, save_pickles, small_front_end
from safetensors.torch import load_file, save_file
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2Model, WhisperFeatureExtractor, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from models import FRONT_ENDS
from models.front_end_costs import count_costs
from models.front_ends import build_front_end
from utils.errors import InputError

SAMPLES = 16_123
small = partial(build_front_end, layer=2)
DEPTH = 3


@pytest.fixture(scope="module")
def wave():
    return 0.1 * torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0))


def test_every_family_has_a_small_model():
    assert {name.split()[0] for name in SMALL_MODELS} == set(FRONT_ENDS)


def reference_states(model, front_end, wave):
    """hidden_states of transformers' model, the last of them as it gives it out, for the frames of the wave."""
    model = model.encoder if isinstance(model, WhisperModel) else model
    with torch.no_grad():
        output = model(front_end.features(wave), output_hidden_states=True)
    frames = SAMPLES // 320 if isinstance(model, WhisperEncoder) else None
    return [state[:, :frames] for state in (*output.hidden_states[:DEPTH], output.last_hidden_state)]


def assert_states(found, due):
    torch.testing.assert_close(found, due, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_truncated_equals_full(tmp_path, wave, name):
    model = random_model(name)
    save_model(model, tmp_path)
    before = torch.get_rng_state()
    front_end = small(tmp_path, layer="weighted", norm="none")
    assert torch.equal(torch.get_rng_state(), before)  # a network made next does not depend on the front end
    assert front_end.layers == (0, 1, 2, 3) and front_end.family == name.split()[0]
    due = reference_states(model, front_end, wave)
    assert all((one - other).abs().mean() > 0.01 for one, other in pairwise(due))
    assert count_costs(front_end, SAMPLES).frames == due[0].shape[1]  # and it changes nothing:
    assert_states(front_end(wave), torch.stack(due, 1))
    for layer in range(DEPTH + 1):
        one = small(tmp_path, layer=layer, norm="none")
        assert len(one.transformer_layers()) == layer
        assert_states(one(wave), due[layer])
    trained = small(tmp_path, layer=(1, 3), norm="none", frozen=False)
    assert_states(trained.eval()(wave), torch.stack([due[1], due[3]], 1))
    assert not [key for key, tensor in trained.named_buffers() if tensor.is_meta]


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_shards_pickles_old_names_and_prefixes(tmp_path, wave, name):
    model = random_model(name)
    due = small(save_model(model, tmp_path / "one"), layer=2)(wave)
    folders = [save_model(model, tmp_path / "shards", shards=True)]
    folders += [save_pickles(model, tmp_path / f"old {old}", old) for old in (False, True)]
    assert not any((folder / "model.safetensors").exists() for folder in folders)
    state = load_file(tmp_path / "one/model.safetensors")
    prefix = "model." if name == "whisper" else f"{type(model).base_model_prefix}."
    headed = {f"{prefix}{key}": value for key, value in state.items()}
    own = ("lm_head.weight", "feature_extractor.weight")  # of ForCTC and ForXVector
    headed |= {key: torch.ones(3) for key in own}
    folders.append(save_model(model, tmp_path / "head"))
    save_file(headed, folders[-1] / "model.safetensors")
    for folder in folders:
        assert torch.equal(small(folder, layer=2)(wave), due), folder.name


def test_a_folder_with_adapters_of_languages(tmp_path, wave):
    """As MMS 1B all: the main file holds the adapter of English, and files beside it those of other languages."""
    speech = save_model(random_model("wav2vec2 adapters", "ForCTC", vocab_size=9), tmp_path)
    other = random_model("wav2vec2 adapters", "ForCTC", seed=1, vocab_size=9)._get_adapters()
    save_file(other, tmp_path / "adapter.fra.safetensors")
    model = Wav2Vec2Model.from_pretrained(speech).eval()
    front_end = small(speech, layer="weighted", norm="none")
    assert_states(front_end(wave), torch.stack(reference_states(model, front_end, wave), 1))
    state, structure = front_end.model.state_dict(), front_end.record()["structure"]
    again = type(front_end).from_state(state, "file", structure, layer="weighted", norm="none")
    assert torch.equal(again(wave), front_end(wave))


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_every_weight_that_is_used_comes_from_the_file(tmp_path, name):
    save_model(random_model(name), tmp_path)
    front_end = small(tmp_path, layer=1)
    state = load_file(tmp_path / "model.safetensors")
    stem = "encoder." if name == "whisper" else ""
    lost = next(key for key in state if "layers.0" in key and key.startswith(stem))
    del state[lost]
    save_file(state, tmp_path / "model.safetensors")
    used = len(front_end.model.state_dict())
    with pytest.raises(InputError) as caught:
        small(tmp_path, layer=1)
    own = lost.removeprefix(stem)
    assert f"{tmp_path} lacks 1 of the {used} tensors that are used of its {front_end.family} model (first {own})" in (
        str(caught.value)
    )


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_no_weight_of_a_used_part_is_left_in_the_file(tmp_path, name):
    state = load_file(save_model(random_model(name), tmp_path) / "model.safetensors")
    stem = "encoder." if name == "whisper" else ""
    first = next(key for key in state if "layers.0" in key and key.startswith(stem)).rpartition(".")[0]
    for extra, used in (("encoder.layers.1.new", False), (f"{first}.new", True), ("new.layers.0.new", False)):
        save_file(state | {extra: torch.ones(3)}, tmp_path / "model.safetensors")
        if not used:
            small(tmp_path, layer=1)
            continue
        family = name.split()[0]
        assert message(tmp_path, layer=1) == (
            f"{tmp_path}: its configuration has no place for 1 tensors of the parts that are used (first"
            f" {extra.removeprefix(stem)}): take configuration and weights of one {family} model"
        )


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_every_weight_is_trained_where_it_is_not_frozen(tmp_path, wave, name):
    front_end = small(save_model(random_model(name), tmp_path), layer=None, frozen=False)
    front_end(wave).square().mean().backward()
    without = [key for key, weight in front_end.named_parameters() if weight.grad is None or not weight.grad.any()]
    fixed = ["model.embed_positions.weight"] if name == "whisper" else []
    # A key of attention moves all scores of a query alike: its bias has no gradient but rounding.
    assert [key for key in without if not key.endswith(("k_proj.bias", "linear_k.bias"))] == fixed
    layers = front_end.transformer_layers()
    assert len(layers) == DEPTH and front_end.attention_projections
    for layer in layers:
        linear = {key.rpartition(".")[2] for key, part in layer.named_modules() if isinstance(part, torch.nn.Linear)}
        assert set(front_end.attention_projections) <= linear


@pytest.mark.parametrize("name", ["wavlm", "wav2vec2", "wav2vec2-bert"])
def test_a_hook_on_a_projection_has_an_effect(tmp_path, wave, name):
    """LoRA puts a layer around the projections: the attention must call them, not read their weights."""
    front_end = small(save_model(random_model(name), tmp_path), layer=1, frozen=False).eval()
    before = front_end(wave)
    for projection in front_end.attention_projections:
        part = next(p for key, p in front_end.transformer_layers()[0].named_modules() if key.endswith(projection))
        handle = part.register_forward_hook(lambda _, __, output: output + torch.randn_like(output))
        assert not torch.allclose(front_end(wave), before, atol=1e-3), projection
        handle.remove()
    assert torch.equal(front_end(wave), before)


# ---- filter banks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [64_600, SAMPLES, 1000])
def test_filter_bank_of_w2v_bert(tmp_path, samples):
    front_end = small(small_front_end(tmp_path, "wav2vec2-bert"))
    wave = torch.randn(3, samples, generator=torch.Generator().manual_seed(1)) * torch.tensor([[0.1], [1e-4], [0.5]])
    extractor = SeamlessM4TFeatureExtractor()
    due = extractor(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt")
    found = front_end.features(wave)
    whole = due["attention_mask"].bool().all(0)  # of the last vector, one frame may be padding
    assert found.shape[1] == int(whole.sum())
    torch.testing.assert_close(found, due["input_features"][:, whole], atol=1e-4, rtol=0)  # the extractor's are float32
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(front_end.features(wave), found, atol=0, rtol=0)


def test_the_bands_of_w2v_bert_are_part_of_its_structure(tmp_path, wave):
    """What is read from a checkpoint with args.json has no preprocessor_config.json, and 40 * 4 numbers are 80 * 2."""
    published = small(small_front_end(tmp_path, "wav2vec2-bert"))
    with_options(tmp_path, "preprocessor_config.json", num_mel_bins=40, stride=4)
    front_end = small(tmp_path)
    assert front_end.record() != published.record() and front_end(wave).shape[1] < published(wave).shape[1]
    state, structure = front_end.model.state_dict(), front_end.record()["structure"]
    assert torch.equal(type(front_end).from_state(state, "file", structure, layer=2)(wave), front_end(wave))


def test_states_of_w2v_bert_are_those_of_its_extractor(tmp_path, wave):
    model = random_model("wav2vec2-bert")
    front_end = small(save_model(model, tmp_path), layer=None)
    inputs = SeamlessM4TFeatureExtractor()(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        due = model(**inputs).last_hidden_state
    found = front_end(wave)
    torch.testing.assert_close(found, due[:, : found.shape[1]], atol=1e-4, rtol=0)


@pytest.mark.parametrize("bands", [80, 128])
def test_log_mel_of_whisper(tmp_path, wave, bands):
    front_end = small(save_model(random_model("whisper", num_mel_bins=bands), tmp_path))
    due = WhisperFeatureExtractor(feature_size=bands)(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt")
    found = front_end.features(wave)
    torch.testing.assert_close(found, due["input_features"], atol=1e-4, rtol=0)
    assert front_end(wave).shape == (2, SAMPLES // 320, 32)


def test_whisper_takes_no_more_than_its_window(tmp_path):
    front_end = small(save_model(random_model("whisper", max_source_positions=50), tmp_path))
    assert front_end(torch.zeros(1, 16_000)).shape == (1, 50, 32)
    with pytest.raises(InputError, match=r"^Whisper takes at most 1 s of audio, not 1\.02 s$"):
        front_end(torch.zeros(1, 16_320))


# ---- normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, silent",
    [
        *(("wav2vec2", "utterance"), ("wav2vec2 base", "utterance"), ("hubert", "utterance"), ("wavlm", "none")),
        *(("wavlm large", "utterance"), ("unispeech-sat", "none"), ("unispeech-sat large", "utterance")),
        *(("data2vec-audio", "utterance"), ("wav2vec2-bert", "none"), ("whisper", "none")),
    ],
)
def test_the_checkpoint_decides_the_normalisation(tmp_path, wave, name, silent):
    save_model(random_model(name), tmp_path)
    own = tmp_path / "preprocessor_config.json"
    assert small(tmp_path).norm == silent
    for wanted, norm in ((True, "utterance"), (False, "none")):
        own.write_text(json.dumps({"do_normalize": wanted, "sampling_rate": 16_000}))
        front_end = small(tmp_path)
        # w2v-BERT's extractor normalises bands, and knows no such option
        assert front_end.norm == ("none" if name == "wav2vec2-bert" else norm)
        assert torch.equal(front_end(wave), small(tmp_path, norm=front_end.norm)(wave))
        for forced in ("utterance", "batch", "none"):
            assert small(tmp_path, norm=forced).norm == forced


# ---- bad input -------------------------------------------------------------------------------------------------------


def message(path, **options):
    with pytest.raises(InputError) as caught:
        small(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_options(folder, file="config.json", **changes):
    path = folder / file
    options = json.loads(path.read_text()) if path.exists() else {}
    options = {name: value for name, value in (options | changes).items() if value is not ...}
    path.write_text(json.dumps(options))


@pytest.mark.parametrize(
    "name, changes, said",
    [
        ("wavlm", {"add_adapter": True}, "says add_adapter True, but only models without an adapter after"),
        ("wav2vec2-bert", {"use_intermediate_ffn_before_adapter": True}, "says use_intermediate_ffn_before_adapter"),
        ("wav2vec2", {"adapter_attn_dim": 6}, "lacks 6 of the "),
        ("wav2vec2 adapters", {"adapter_attn_dim": None}, "its configuration has no place for 6 tensors of"),
        (
            "wav2vec2 adapters",
            {"adapter_attn_dim": 9},
            "adapter_layer.linear_1.weight is [6, 32], but its configuratio",
        ),
        ("wav2vec2 adapters", {"adapter_attn_dim": "x"}, "describes no model that can be built: "),
        ("hubert", {"conv_stride": [10] * 7}, "that can be built: its convolutions leave no frame of a clip"),
        *(
            ("wavlm", {"conv_stride": bad}, f"conv_stride is {bad!r}, expected numbers from 1")
            for bad in ([0] * 7, [5, 2, 2, 2, 2, 2, "x"], "x", None)
        ),
        ("hubert", {"conv_stride": ...}, "lacks conv_stride in its configuration: take the original file"),
        ("whisper", {"encoder_layers": "x"}, "describes no model that can be built: encoder_layers is 'x'"),
        *(
            ("wavlm", {"num_buckets": bad}, f"num_buckets is {bad!r} and max_bucket_dist")
            for bad in (0, 3, 120, "x", None)
        ),
        ("wavlm", {"num_hidden_layers": 0}, "num_hidden_layers is 0, expected a number from 1 to 1000"),
        ("hubert", {"num_hidden_layers": 10**7}, "num_hidden_layers is 10000000, expected a number from 1 to 1000"),
        ("whisper", {"max_source_positions": 10**7}, "max_source_positions is 10000000, expected a number from 0 to "),
        ("wav2vec2", {"intermediate_size": -1}, "intermediate_size is -1, expected a number from 0 to 65536"),
        ("wav2vec2-bert", {"num_attention_heads": 20}, "32 features cannot be shared by 20 heads"),
        ("wav2vec2-bert", {"position_embeddings_type": "alibi"}, "describes no model that can be built: "),
        ("wav2vec2-bert", {"feature_projection_input_dim": 100}, "but its configuration says [100]: take the original"),
        ("data2vec-audio", {"conv_pos_kernel_size": 7}, "but its configuration says [32, 8, 7]: take the original"),
        ("unispeech-sat", {"hidden_act": "magic"}, "describes no model that can be built: "),
    ],
)
def test_a_configuration_that_cannot_be_used(tmp_path, name, changes, said):
    with_options(small_front_end(tmp_path, name), **changes)
    assert said in message(tmp_path, layer=1)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(
    "name, changes", [("whisper", {"num_mel_bins": 0}), ("wav2vec2-bert", {"feature_projection_input_dim": 60_000})]
)
def test_a_configuration_that_can_take_no_clip(tmp_path, name, changes):
    with_options(small_front_end(tmp_path, name), **changes)
    with pytest.raises(InputError) as caught:
        count_costs(small(tmp_path, outline=True))
    assert str(caught.value).startswith(f"this {name} model cannot take a clip of 64600 samples (")


@pytest.mark.parametrize(
    "name, changes, said",
    [
        ("hubert", {"sampling_rate": 8000}, "says sampling_rate 8000, expected 16000"),
        ("hubert", {"do_normalize": "yes"}, "preprocessor_config.json says do_normalize 'yes', expected true or false"),
        ("whisper", {"hop_length": 80}, "says hop_length 80, expected 160"),
        ("whisper", {"feature_size": 128}, "says 128 mel bands, but config.json 80: take the original files"),
        ("wav2vec2-bert", {"num_mel_bins": 40, "stride": 2}, "says 40 bands and stride 2, but config.json"),
        *(
            ("wav2vec2-bert", {"num_mel_bins": bad}, f"says {bad!r} bands and stride None")
            for bad in (None, "x", 0, 2.5)
        ),
        ("wav2vec2-bert", {"stride": []}, "says 80 bands and stride [], but config.json"),
    ],
)
def test_a_preprocessor_that_cannot_be_used(tmp_path, name, changes, said):
    with_options(small_front_end(tmp_path, name), "preprocessor_config.json", **changes)
    assert said in message(tmp_path, layer=1)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_json_that_is_nested_too_deeply(tmp_path, file):
    small_front_end(tmp_path, "hubert")
    (tmp_path / file).write_text("[" * 100_000)
    assert message(tmp_path).startswith(f"{tmp_path / file} cannot be read as JSON (")


def test_a_shard_or_an_index_that_is_not_there(tmp_path):
    save_model(random_model("hubert"), tmp_path, shards=True)
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    due = f"{tmp_path} lacks {lost.name}, which model.safetensors.index.json lists: download the whole folder"
    assert message(tmp_path) == due
    index = tmp_path / "model.safetensors.index.json"
    for places in ([], {}, {"a": 3}, {"a": "../b.safetensors"}, {"a": [1]}):
        index.write_text(json.dumps({"weight_map": places}))
        assert message(tmp_path) == f"{index} does not say which file holds which tensor: download it again"


@pytest.mark.parametrize("layer", [4, (1, 4)])
def test_a_layer_that_is_not_there(tmp_path, layer):
    folder = small_front_end(tmp_path, "whisper")
    assert message(folder, layer=layer) == f"{folder} has 3 layers: pass --ssl_layer 0 to 3 instead of 4"


def test_a_silent_wave_gives_finite_states(tmp_path):
    for name in ("wav2vec2-bert", "whisper", "wavlm"):
        front_end = small(small_front_end(tmp_path / name, name))
        assert np.isfinite(front_end(torch.zeros(1, 8000)).numpy()).all()
