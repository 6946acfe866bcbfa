"""Trace CoRS or CoSG with a model of the taxonomy system -> result/taxonomy/{bin,aux,dec,vq}_score.txt.

    python source_tracing_taxonomy.py --data_root codecfake_plus --model_folder models/m1 --dataset_type CoSG
    python source_tracing_taxonomy.py --data_root codecfake_plus --model_folder M1_VQ_bal.pth --result result/m1_vq

--model_folder is the folder of a training run or a published .pth file; what it is, its weights tell. A line holds a
clip's name and its scores: of W2V2AASIST the probability of bona fide speech (bin) or of each class, of SASTNet the
logits, as published.
"""

from config_taxonomy import CORPUS, TaxonomyConfig
from utils.errors import resume_hint, run
from utils.flags import parse_flags
from utils.settings import Compute

SHOWN = (*CORPUS, "eval_list", "model_folder", "result", "batch_size", "SSL_path", "seed", "mae_order", Compute)


def main(argv=None):
    config = parse_flags(__doc__, argv, TaxonomyConfig, *SHOWN)
    from accelerate.utils import set_seed

    from data.dataset import Clips
    from data.taxonomy import read_codecs
    from data.taxonomy_protocols import read_list, with_audio
    from engine.bad_audio import write_bad_audio
    from engine.inference import compile_model, infer_in_shards, make_accelerator
    from engine.taxonomy_score_files import write_task_scores
    from engine.tracing import HOW_TO_RESUME
    from models.taxonomy_building import load_taxonomy_model
    from utils.locks import lock_folders

    clips = read_list(config.eval_list, config.dataset_type, config.base_dir, read_codecs(config.codec_table))
    clips = with_audio(clips, folders_only=config.on_bad_audio == "skip")
    with lock_folders(config.result), resume_hint(lambda: HOW_TO_RESUME):
        accelerator = make_accelerator(config)
        set_seed(config.seed)  # matters to --mae_order random alone
        model = compile_model(load_taxonomy_model(config.model_folder, config).to(accelerator.device), config)
        parts, data = config.result / f".taxonomy_{config.dataset_type}.parts", Clips(clips, model.samples)
        shards, positions, outputs, reasons = infer_in_shards(
            model, data, config, accelerator, config.dataset_type, parts
        )
        if accelerator.is_main_process:
            _, logits = outputs
            write_task_scores(config.result, [clips[row].name for row in positions.tolist()], model.scores(logits))
            write_bad_audio(
                config.result, config.dataset_type, [(clips[row].name, why) for row, why in reasons.items()]
            )
            shards.remove()
        accelerator.end_training()


if __name__ == "__main__":
    run(main)
