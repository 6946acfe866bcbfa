"""WavLM. Source: Chen et al., IEEE JSTSP 2022 (arXiv 2110.13900)."""

from torch.nn.functional import scaled_dot_product_attention
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from models.wave_front_end import MicrosoftNorm, WaveFrontEnd
from utils.errors import InputError


class BiasedAttention(WavLMAttention):
    """transformers' attention of WavLM, which calls its projections and keeps no matrix of attention.

    transformers' own takes the weights out of the projections: a layer put around one of them, such as LoRA's, would
    have no effect.
    """

    def torch_multi_head_self_attention(self, hidden_states, attention_mask, gated_position_bias):
        batch, frames, _ = hidden_states.shape

        def heads(x):
            return x.view(batch, frames, self.num_heads, self.head_dim).transpose(1, 2)

        projections = self.q_proj, self.k_proj, self.v_proj
        query, key, value = (heads(projection(hidden_states)) for projection in projections)
        bias = gated_position_bias.view(batch, self.num_heads, frames, frames).to(query.dtype)
        dropout = self.dropout if self.training else 0.0
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


class WavLMFrontEnd(MicrosoftNorm, WaveFrontEnd):
    """WavLM, base, base+ and large. The first layer holds the relative positions of all."""

    family = "wavlm"
    config_class, model_class = "WavLMConfig", "WavLMModel"
    prefixes = ("wavlm.",)

    @classmethod
    def check_structure(cls, structure, path):
        """As in other families; and the buckets of relative positions, a logarithm, must have a place for each."""
        super().check_structure(structure, path)
        buckets, farthest = structure["num_buckets"], structure["max_bucket_distance"]
        if not (isinstance(buckets, int) and isinstance(farthest, int) and 4 <= buckets < 4 * farthest):
            raise InputError(
                f"{path} describes no model that can be built: num_buckets is {buckets!r} and max_bucket_distance"
                f" {farthest!r}, expected 4 <= num_buckets < 4 * max_bucket_distance"
            )

    def adapt(self, model, structure, cut, frozen):
        super().adapt(model, structure, cut, frozen)
        for layer in model.encoder.layers:
            layer.attention.__class__ = BiasedAttention
