"""Make the balanced lists of the taxonomy system from a folder of CoRS audio.

    python make_taxonomy_lists.py --base_dir codecfake_plus/all_data_16k --list_dir codecfake_plus/metadata/training

Every bona fide utterance is paired with one of its coded versions, drawn so that the classes of the spoofs of one task
come equally often (paper, section 4.1). Writes {train,dev,test}_mult_learn.txt (AUX: Trad, SEM and Disent alike),
..._bal_dec.txt (TIME and FREQ) and ..._bal_vq.txt (MVQ, SVQ and SQ) under --list_dir, in the published format. The
speakers of the three parts differ: see --dev_speakers and --test_speakers. --spoofs draws more than one version each.
"""

from config_taxonomy import CORPUS, Lists, TaxonomyConfig
from utils.errors import InputError, run
from utils.flags import parse_flags


def split_speakers(pairs, config):
    """{part: the entries of `pairs` whose speaker is of it}. Raises InputError when a part has none."""
    asked = dict.fromkeys(config.dev_speakers, "dev")
    both = asked.keys() & set(config.test_speakers)
    if both:
        raise InputError(f"--dev_speakers and --test_speakers share {min(both)}: the parts must differ in speakers")
    asked |= dict.fromkeys(config.test_speakers, "test")
    parts = {"train": {}, "dev": {}, "test": {}}
    for utterance, codecs in pairs.items():
        parts[asked.get(utterance.partition("_")[0], "train")][utterance] = codecs
    empty = [part for part, members in parts.items() if not members]
    if empty:
        speakers = sorted({utterance.partition("_")[0] for utterance in pairs})
        raise InputError(
            f"{config.base_dir}: the {empty[0]} part has no utterance; the speakers there are {' '.join(speakers[:8])}"
            f"{' ...' * (len(speakers) > 8)}: set --dev_speakers and --test_speakers"
        )
    return parts


def main(argv=None):
    config = parse_flags(__doc__, argv, TaxonomyConfig, *CORPUS, Lists, "seed")
    import numpy as np

    from data.protocols import folder_names
    from data.taxonomy import read_codecs
    from data.taxonomy_protocols import AUDIO_SUFFIXES, LIST_NAMES, list_text, pair_up, sample_balanced
    from utils.files import write_text

    codecs = read_codecs(config.codec_table)
    files = folder_names(config.base_dir)
    names = {file.removesuffix(suffix) for file in files for suffix in AUDIO_SUFFIXES if file.endswith(suffix)}
    parts = split_speakers(pair_up(names, codecs, config.base_dir), config)
    for seed, (part, pairs) in enumerate(parts.items()):
        members = [*pairs.items()]
        order = np.random.default_rng((config.seed, seed)).permutation(len(members))
        shuffled = dict(members[position] for position in order)  # the same in every strategy
        for number, (strategy, name) in enumerate(LIST_NAMES.items()):
            rng = np.random.default_rng((config.seed, seed, number))
            chosen = sample_balanced(shuffled, strategy.lower(), rng, codecs, config.spoofs)
            path = config.list_dir / name.format(part)
            write_text(path, list_text(chosen, codecs))
            print(f"wrote {path} ({len(pairs)} bona fide, {len(chosen)} spoofs)")


if __name__ == "__main__":
    run(main)
