"""Shards of a stopped run: those that are not of the form that tracing writes are made again, and never read."""

from types import SimpleNamespace

import pytest
import torch

from engine.shards import Shards
from utils.errors import InputError

ALONE = SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: None)
GOOD = (0, torch.tensor([1, 0]), (torch.ones(2, 3), torch.ones(2, 4)), {2: "damaged"})


def opened(folder, *rows):
    """The Shards in a folder that holds one shard of `rows`."""
    Shards(folder, {"run": 1}, 4, ALONE)  # writes what the run is
    torch.save(list(rows), folder / "00000000.pt")
    return Shards(folder, {"run": 1}, 4, ALONE)


def test_what_was_added_is_there(tmp_path):
    shards = opened(tmp_path, GOOD, (1, torch.tensor([]), None, {3: "damaged too"}))
    assert shards.done == {0, 1}
    positions, (features, logits), reasons = shards.merge()
    assert positions.tolist() == [0, 1] and features.shape == (2, 3) and logits.shape == (2, 4)
    assert reasons == {2: "damaged", 3: "damaged too"}


@pytest.mark.parametrize(
    "row",
    [
        None,
        GOOD[:3],
        ("0", *GOOD[1:]),
        (0, [1, 0], *GOOD[2:]),
        (0, torch.tensor([1.0, 0.0]), *GOOD[2:]),
        (0, torch.tensor([[1], [0]]), *GOOD[2:]),
        (0, torch.tensor([4, 0]), *GOOD[2:]),
        (0, torch.tensor([-1, 0]), *GOOD[2:]),
        (0, torch.tensor([0, 1, 2]), *GOOD[2:]),
        (0, GOOD[1], (torch.ones(2, 3), torch.ones(3, 4)), {}),
        (0, GOOD[1], (torch.ones(2, 3), torch.ones(2, 4, dtype=torch.int64)), {}),
        (0, GOOD[1], (torch.ones(2, 3), torch.ones(2, 4).to_sparse()), {}),
        (0, GOOD[1], None, {}),
        (0, GOOD[1], "outputs", {}),
        (*GOOD[:3], {4: "beyond"}),
        (*GOOD[:3], {2: 5}),
        (*GOOD[:3], None),
    ],
)
def test_a_shard_of_another_form_is_removed(row, tmp_path):
    assert opened(tmp_path, row).done == set() and list(tmp_path.glob("*.pt")) == []


def test_shards_of_different_forms_are_named(tmp_path):
    shards = opened(tmp_path, GOOD, (1, torch.tensor([3]), (torch.ones(1, 5), torch.ones(1, 4)), {}))
    with pytest.raises(InputError, match=r"00000000\.pt has another form than the shards before it: delete it"):
        shards.merge()
