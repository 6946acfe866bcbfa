"""Trace CoRS or CoSG with a model of the taxonomy system -> result/taxonomy/{bin,aux,dec,vq}_score.txt.

    python source_tracing_taxonomy.py --data_root codecfake_plus --model_folder models/m1 --dataset_type CoSG
    python source_tracing_taxonomy.py --data_root codecfake_plus --model_folder M1_VQ_bal.pth --result result/m1_vq

--model_folder is the folder of a training run or a published .pth file; the script recognises the model by its weights.
A line holds the name of a clip and its scores. W2V2AASIST gives the probability of bona fide speech (bin) or of each
class, SASTNet gives the logits, as published.
"""

from config_taxonomy import CORPUS, TaxonomyConfig
from utils.errors import run
from utils.flags import parse_flags
from utils.settings import Compute

SHOWN = (*CORPUS, "eval_list", "model_folder", "result", "batch_size", "SSL_path", "seed", "mae_order", Compute)


def main(argv=None):
    config = parse_flags(__doc__, argv, TaxonomyConfig, *SHOWN)
    from engine.taxonomy_tracing import trace_list

    trace_list(config)


if __name__ == "__main__":
    run(main)
