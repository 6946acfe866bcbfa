"""The exact k nearest neighbours of detector knn against a flat faiss index, on the same threads.

    pip install faiss-cpu; python benchmarks/knn.py

70,000 training clips of 160 features, as in the paper, and some of its 158,736 test clips: the time is proportional to
their number. Without faiss the benchmark says so and ends.
"""

from importlib.util import find_spec

from common import COMPARISON, alternate, arguments, comparison_row, report

BANK, FEATURES, K, TOLERANCE = 70_000, 160, 7, 1e-5


def main(argv=None):
    parser = arguments(__doc__)
    parser.add_argument("--queries", type=int, default=4096, help="test clips (default: 4096)")
    options = parser.parse_args(argv)
    if find_spec("faiss") is None:
        print("faiss is not installed, so there is nothing to compare with: pip install faiss-cpu")
        return
    import faiss
    import torch
    from threadpoolctl import threadpool_limits

    from ood_detectors import DETECTORS, Outputs

    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    threadpool_limits(options.threads)  # numpy's matrix products
    generator = torch.Generator().manual_seed(0)

    def clips(count):
        return Outputs(torch.randn(count, FEATURES, generator=generator), torch.zeros(count, 7), None)

    train, test = clips(BANK), clips(options.queries)
    detector, index = DETECTORS["knn"](K).fit(train), faiss.IndexFlatIP(FEATURES)
    bank, queries = (torch.nn.functional.normalize(part.features) for part in (train, test))
    index.add(bank.numpy())

    def by_faiss():
        return torch.from_numpy(index.search(queries.numpy(), K)[0][:, -1])

    def ours():
        return detector.score(test)

    torch.testing.assert_close(by_faiss().double(), ours(), atol=TOLERANCE, rtol=0)
    found = alternate(by_faiss, ours, options.runs)
    report("knn", COMPARISON, [comparison_row(f"{options.queries} of 158,736 clips", found)], found)


if __name__ == "__main__":
    main()
