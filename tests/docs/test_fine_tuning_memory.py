"""The memory of fine-tuning is counted: shapes alone give what a computation keeps, with and without checkpointing."""

import pytest

from config import Config
from data.audio import SAMPLES
from docs.fine_tuning_memory import kept_bytes
from models.front_end_costs import count_costs
from models.front_ends import configured_front_end


@pytest.mark.parametrize("choice", ["last:1", "lora", "all"])
def test_shapes_give_what_a_computation_keeps(choice):
    kept = {}
    for checkpointing in (False, True):
        config = Config(SSL_path="tiny-random", finetune=choice, ssl_layer=5, gradient_checkpointing=checkpointing)
        outline, front_end = configured_front_end(config, outline=True), configured_front_end(config)
        kept[checkpointing] = kept_bytes(front_end)
        frames = count_costs(outline, SAMPLES).frames
        layers = 0 if checkpointing else 1 if choice == "last:1" else 5
        matrices = layers * 4 * 4 * frames**2  # bytes of the attention of 4 heads, which some kernels keep
        assert kept[checkpointing] <= kept_bytes(outline) <= kept[checkpointing] + matrices
    assert kept[True] < kept[False] / 3
