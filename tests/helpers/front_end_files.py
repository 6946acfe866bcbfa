"""Small random models of every family of SSL front ends, as transformers makes and saves them."""

import json

import torch
import transformers
from safetensors.torch import load_file

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
WAVE = SIZES | {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
STABLE = WAVE | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER = {
    **{"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_layers": 1},
    **{"decoder_ffn_dim": 8, "decoder_attention_heads": 4, "vocab_size": 8, "pad_token_id": 0, "bos_token_id": 1},
    **{"eos_token_id": 2, "decoder_start_token_id": 3},
}
# name -> (prefix of transformers' classes, options of its configuration)
SMALL_MODELS = {
    "wav2vec2": ("Wav2Vec2", STABLE | {"layer_norm_eps": 1e-3}),
    "wav2vec2 base": ("Wav2Vec2", WAVE),
    "wav2vec2 adapters": ("Wav2Vec2", STABLE | {"adapter_attn_dim": 6}),
    "hubert": ("Hubert", WAVE | {"feat_proj_layer_norm": False, "conv_pos_batch_norm": True}),
    "hubert large": ("Hubert", STABLE),
    "wavlm": ("WavLM", WAVE | {"num_buckets": 40, "max_bucket_distance": 30}),
    "wavlm large": ("WavLM", STABLE),
    "unispeech-sat": ("UniSpeechSat", WAVE | {"hidden_act": "relu"}),
    "unispeech-sat large": ("UniSpeechSat", STABLE),
    "data2vec-audio": ("Data2VecAudio", WAVE | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
    "wav2vec2-bert": ("Wav2Vec2Bert", SIZES),
    "wav2vec2-bert relative": ("Wav2Vec2Bert", SIZES | {"position_embeddings_type": "relative"}),
    "wav2vec2-bert rotary": ("Wav2Vec2Bert", SIZES | {"position_embeddings_type": "rotary"}),
    "whisper": ("Whisper", WHISPER),
}


def random_model(name, model="Model", seed=0, **options):
    """A random model of SMALL_MODELS in eval mode, all of whose weights matter; `model` ends the name of its class."""
    prefix, sizes = SMALL_MODELS[name]
    config = getattr(transformers, f"{prefix}Config")(**sizes | options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(transformers, f"{prefix}{model}")(config).eval()
        with torch.no_grad():
            for weight in made.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
            for key, buffer in made.state_dict().items():
                if "running_" in key:  # the moments of a batch norm
                    buffer.add_(0.3 * torch.rand_like(buffer))
    return made


def save_model(model, folder, shards=False):
    """Write `model` into `folder` as transformers does; with `shards`, in several files."""
    model.save_pretrained(folder, max_shard_size="20KB" if shards else "1GB")
    return folder


def save_pickles(model, folder, old_names=False):
    """Write `model` as pytorch_model.bin, with an index where it has several files; `old_names` of weight norms."""
    save_model(model, folder, shards=True)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    places = {}
    for number, file in enumerate(sorted(set(index["weight_map"].values()))):
        state = load_file(folder / file)
        (folder / file).unlink()
        if old_names:
            renames = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
            for new, old in renames.items():
                state = {key.replace(new, old): value for key, value in state.items()}
        torch.save(state, folder / f"pytorch_model-{number}.bin")
        places |= dict.fromkeys(state, f"pytorch_model-{number}.bin")
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def small_front_end(folder, family):
    """The path of a small model of `family` for --SSL_path, written into `folder`."""
    return save_model(random_model(family), folder)
