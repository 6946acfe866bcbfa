"""The search for nearest neighbours is exact, on however many threads."""

import pytest
import torch

from ood_detectors.search import largest_products


@pytest.mark.parametrize("k", (7, 100))
def test_the_nearest_are_exact_over_several_blocks(k):
    generator = torch.Generator().manual_seed(0)
    queries, bank = (torch.randn(rows, 16, generator=generator) for rows in (5, 45_001))
    bank[9_000:9_050] = bank[:50]  # ties
    expected = (queries.double() @ bank.double().T).sort(dim=1, descending=True).values[:, :k]
    torch.testing.assert_close(largest_products(queries, bank, k), expected, atol=1e-5, rtol=0)


def test_the_nearest_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr("ood_detectors.search.QUERIES", 30)
    generator, threads = torch.Generator().manual_seed(0), torch.get_num_threads()
    queries, bank = (torch.randn(rows, 160, generator=generator) for rows in (100, 5000))
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(largest_products(queries, bank, 7))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
