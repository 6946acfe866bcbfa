"""Make the balanced lists of the taxonomy system from a folder of CoRS audio.

    python make_taxonomy_lists.py --base_dir codecfake_plus/all_data_16k --list_dir codecfake_plus/metadata/training

Every bona fide utterance is paired with one of its coded versions, drawn so that the classes of the spoofs of one task
come equally often (paper, section 4.1). Writes {train,dev,test}_mult_learn.txt (AUX: Trad, SEM and Disent alike),
..._bal_dec.txt (TIME and FREQ) and ..._bal_vq.txt (MVQ, SVQ and SQ) under --list_dir, in the published format. The
speakers of the three parts differ: see --dev_speakers and --test_speakers. --spoofs draws more than one version each.
"""

from config_taxonomy import CORPUS, Lists, TaxonomyConfig
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, TaxonomyConfig, *CORPUS, Lists, "seed")
    from data.taxonomy import read_codecs
    from data.taxonomy_lists import write_lists
    from utils.locks import lock_folders

    with lock_folders(config.list_dir):
        write_lists(
            config.base_dir,
            config.list_dir,
            read_codecs(config.codec_table),
            dev_speakers=config.dev_speakers,
            test_speakers=config.test_speakers,
            spoofs=config.spoofs,
            seed=config.seed,
        )


if __name__ == "__main__":
    run(main)
