"""The test conditions of ST-Codecfake (arXiv 2501.06514), one row each: all that a script needs to know of them."""

from collections import namedtuple

from data.protocols import asvspoof, audio_folder, both, in_the_wild, label_file
from errors import InputError

# Classes 0 to 6 are known in training; the others are out of distribution.
CLASSES = (
    *("real", "mimi", "speechtokenizer", "funcodec", "encodec", "facodec", "snac"),
    *("wavtokenizer", "ood8", "ood9", "ood10", "ood11"),
)
REAL, MIMI, SPEECHTOKENIZER, FUNCODEC, ENCODEC, FACODEC, SNAC, WAVTOKENIZER = range(8)

# name      of the condition, for --condition
# suite     which scripts run it
# clips     function from a Config to its list of clips, each with its true class
# result    score file under --result, and other names of it that were published; None: no score file
# features  embeddings file under --save_feats; None: none
# paper     published F1 in % by model: macro for `id`, else of the one true class (Tables 3, 4 and 6; Table 6 by its
#           score files, since its columns are permuted in print)
Condition = namedtuple("Condition", "name suite clips result features paper")


def f1(mellcnn, rawaasist, w2vaasist=None):
    return {"mellcnn": mellcnn, "Rawaasist": rawaasist, "W2VAASIST": w2vaasist}


LA19 = ("id_unseenreal_19_wav", "id_unseenreal_19_label")
ITW = ("id_unseenreal_itw_wav", "id_unseenreal_itw_label")

# fmt: off
CONDITIONS = (
    Condition("train", "train", label_file("train_wav", "train_label"), None, "traindict.pt", None),
    Condition("id", "id", label_file("eval_wav", "eval_label"), ("result_id.txt",), "evaldict_id.pt", f1(96.50, 99.99, 99.99)),

    Condition("mimi", "source", audio_folder("id_diff_source", "NCSSD-mimi", label=MIMI), ("result_ncssd_mimi.txt",), None, f1(93.33, 96.64)),
    Condition("snac", "source", audio_folder("id_diff_source", "NCSSD-snac", label=SNAC), ("result_ncssd_snac.txt",), None, f1(51.12, 98.93)),

    Condition("C3-1", "config", audio_folder("id_diff_config", "C3-1", label=FUNCODEC), ("result_C3-1.txt",), None, f1(98.65, 99.99)),
    Condition("C3-2", "config", audio_folder("id_diff_config", "C3-2", label=FUNCODEC), ("result_C3-2.txt",), None, f1(99.03, 100.00)),
    Condition("C3-3", "config", audio_folder("id_diff_config", "C3-3", label=FUNCODEC), ("result_C3-3.txt",), None, f1(98.98, 100.00)),
    Condition("C3-4", "config", audio_folder("id_diff_config", "C3-4", label=FUNCODEC), ("result_C3-4.txt",), None, f1(98.98, 100.00)),
    Condition("C4-1", "config", audio_folder("id_diff_config", "C4-1", label=ENCODEC), ("result_C4-1.txt",), None, f1(96.05, 99.98)),
    Condition("C4-2", "config", audio_folder("id_diff_config", "C4-2", label=ENCODEC), ("result_C4-2.txt",), None, f1(66.25, 99.95)),
    Condition("C4-3", "config", audio_folder("id_diff_config", "C4-3", label=ENCODEC), ("result_C4-3.txt",), None, f1(8.07, 99.87)),

    Condition("19LA", "unseen_real", asvspoof(*LA19, "bonafide", label=REAL), ("result_unseenreal_19.txt",), None, f1(1.96, 0.73)),
    Condition("ITW", "unseen_real", in_the_wild(*ITW, "bona-fide", label=REAL), ("result_unseenreal_itw.txt",), None, f1(26.80, 24.83)),
    Condition("NCSSD", "unseen_real", audio_folder("id_unseenreal_ncssd", label=REAL), ("result_unseenreal_ncssd.txt",), None, f1(21.67, 8.00)),

    Condition("single7", "ood", label_file("eval_ood", "eval_ood7_label", known=False), ("result_ood7.txt",), "evaldict_ood7.pt", None),
    Condition("multi8", "ood", label_file("eval_ood", "eval_ood8_label", known=False), ("result_ood8.txt",), "evaldict_ood8.pt", None),
    Condition("voc", "ood", both(in_the_wild(*ITW, "spoof", label=WAVTOKENIZER), asvspoof(*LA19, "spoof", label=WAVTOKENIZER)), ("result_oodvoc.txt",), "evaldict_oodvoc.pt", None),
    Condition("diff_config", "ood", audio_folder("ood_diff_config", label=WAVTOKENIZER), None, "evaldict_ood_config.pt", None),
    Condition("diff_source", "ood", audio_folder("ood_diff_source", label=WAVTOKENIZER), None, "evaldict_ood_source.pt", None),

    Condition("moshi", "alm", audio_folder("ALM_moshi", label=MIMI), ("alm/moshi.txt",), None, f1(97.70, 10.98)),
    Condition("mini-omni", "alm", audio_folder("ALM_mini_omni", label=SNAC), ("alm/miniomni.txt",), None, f1(99.88, 100.00, 99.99)),
    Condition("speechgpt-gen", "alm", audio_folder("ALM_speechgpt", label=SPEECHTOKENIZER), ("alm/speechgpt.txt", "alm/speechgpt-gen.txt"), None, f1(100.00, 100.00)),
    Condition("valle", "alm", audio_folder("ALM_valle", label=ENCODEC), ("alm/valle.txt",), None, f1(68.03, 99.48)),
)
# fmt: on


def select(config, *suites):
    """The conditions of `suites`, in the order of the table, less those that --condition leaves out.

    Raises InputError when --condition names none of them.
    """
    rows = [row for row in CONDITIONS if row.suite in suites]
    wanted = set(config.condition)
    unknown = wanted - {row.name for row in rows} - {"all"}
    if unknown:
        names = ", ".join(row.name for row in rows)
        raise InputError(f"--condition {' '.join(sorted(unknown))}: expected all or some of {names}")
    return [row for row in rows if "all" in wanted or row.name in wanted]
