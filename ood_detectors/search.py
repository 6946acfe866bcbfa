"""Exact search for nearest neighbours on a processor: the memory and the threads behind detectors knn and nnguide."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from utils.errors import InputError

BANK_BLOCK = 36_000  # rows of a bank that are searched at once, at most
GROUP = 128  # rows of a bank whose maxima are compared first
QUERIES = 512  # that a thread searches for at once


def check_neighbours(k, bank):
    """Raise InputError unless 0 < k <= the rows of `bank`."""
    if not 0 < k <= len(bank):
        raise InputError(f"k = {k} nearest neighbours of {len(bank)} training clips: expected 0 < k <= {len(bank)}")


def largest_products(queries, bank, k):
    """The k largest dot products [n, k], falling, float64, of queries [n, d] with the rows of bank [m, d].

    Exact: the k groups of rows with the largest maxima hold the k largest products. Each of torch's threads searches
    for other queries and writes all its products into the same memory. The matrix product is numpy's, which is faster
    than torch's on AMD processors. The result does not depend on the number of threads.
    """
    blocks = bank.chunk(-(-len(bank) // BANK_BLOCK))
    workspace = Workspace((min(QUERIES, len(queries)), len(blocks[0])))

    def search(part):
        largest = [largest_in_block(part, rows, k, workspace.products) for rows in blocks]
        return torch.cat(largest, dim=1).topk(k, dim=1).values

    with one_thread_each() as workers, ThreadPoolExecutor(workers) as pool:
        return torch.cat(list(pool.map(search, queries.to(bank.dtype).split(QUERIES)))).double()


class Workspace(threading.local):
    """Memory for products, float32 of `shape`, one for each thread that uses it."""

    def __init__(self, shape):
        self.products = np.empty(shape, np.float32)


@cache
def thread_pools():
    """The thread pools of numpy and of what else is loaded; to look for them takes as long as tracing a short file."""
    return ThreadpoolController()


@contextmanager
def one_thread_each():
    """Meanwhile torch and numpy compute in the thread that calls them. Yields how many threads torch had before."""
    workers = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with thread_pools().limit(limits=1):
            yield workers
    finally:
        torch.set_num_threads(workers)


def largest_in_block(queries, rows, k, memory):
    """The k largest dot products of queries [n, d] with rows [m, d], all if m < k; `memory` [n, m] is overwritten."""
    products = torch.from_numpy(np.matmul(queries.numpy(), rows.numpy().T, out=memory[: len(queries), : len(rows)]))
    grouped = len(rows) - len(rows) % GROUP
    if k < grouped // GROUP:
        groups = products[:, :grouped].unflatten(1, (-1, GROUP))
        top = groups.amax(dim=2).topk(k, dim=1, sorted=False).indices
        in_top_groups = groups[torch.arange(len(groups))[:, None], top].flatten(1)
        products = torch.cat((in_top_groups, products[:, grouped:]), dim=1)
    return torch.from_numpy(np.partition(products.numpy(), -min(k, len(rows)), axis=1)[:, -k:])
