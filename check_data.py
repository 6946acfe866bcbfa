"""List all that is wrong with a copy of ST-Codecfake, CodecFake+, the real corpora or yours, before hours of GPU time.

    python check_data.py --data_root st-codecfake
    python check_data.py --data_root st-codecfake --condition 19LA ITW NCSSD --fast
    python check_data.py --data_root codecfake_plus --system taxonomy
    python check_data.py --train_list clips.csv

Prints a summary. Writes every finding to result/check_data/findings.csv (--check_folder), and what was measured of
every file to files.csv beside it. A run that was stopped goes on from files.csv, and files that have not changed are
not read again. Exit status: 0 nothing is wrong, 1 something is wrong, 2 the corpus or a flag cannot be used.
"""

from dataclasses import dataclass
from pathlib import Path

from config import Conditions, Config, Corpus, Lists, OtherCorpora
from config_taxonomy import CORPORA, TaxonomyConfig
from utils.errors import InputError, run
from utils.flags import opt, parse_flags

SYSTEMS = ("codecs", "taxonomy")


@dataclass(frozen=True)
class CheckConfig(Config):
    """Data check."""

    system: str = opt("codecs", "codecs: the conditions of ST-Codecfake; taxonomy: CodecFake+", choices=SYSTEMS)
    codec_table: Path = opt(None, "with --system taxonomy: text file of further codecs, lines of NAME AUX DEC VQ")
    fast: bool = opt(False, "read only names and headers: no sample is decoded, no compressed archive is read")
    check_folder: Path = opt(Path("result/check_data"), "folder of findings.csv and files.csv")


OWN_FLAGS = ("system", "codec_table", "fast", "check_folder")


def main(argv=None):
    config = parse_flags(
        __doc__, argv, CheckConfig, *OWN_FLAGS, Corpus, Lists, OtherCorpora, Conditions, "num_classes", "num_workers"
    )
    from data import corpus_check
    from data.clip_lists import uses_lists
    from utils.locks import lock_folders

    if not uses_lists(config) and not config.data_root.is_dir():
        raise InputError(f"{config.data_root} is not a folder: give the folder of the corpus as --data_root")
    findings = []
    with lock_folders(config.check_folder):
        if config.system == "codecs":
            parts = corpus_check.condition_parts(config, findings)
        else:
            corpora = [TaxonomyConfig(data_root=config.data_root, dataset_type=corpus) for corpus in CORPORA]
            parts = corpus_check.list_parts(config, corpora, findings)
        corpus_check.refuse_empty_corpus(config, parts, findings)
        present = corpus_check.check_file_names(config, parts, findings)
        corpus_check.check_counts(config, parts, findings)
        corpus_check.check_splits(config, parts, findings)
        corpus_check.check_files(config, present, findings)
        table = config.check_folder / "findings.csv"
        corpus_check.write_rows(table, corpus_check.Finding._fields, findings)
    corpus_check.print_parts(config, parts, present)
    corpus_check.print_findings(findings)
    wrong = corpus_check.count_wrong(findings)
    print(f"\nfindings that count as wrong: {wrong}, in {len(present)} files; {table} lists all findings")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    run(main)
