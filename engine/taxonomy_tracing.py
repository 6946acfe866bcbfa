"""Tracing of the second system: a list of CoRS or CoSG, with a score file for each task of the model."""

from accelerate.utils import set_seed

from data.dataset import Clips
from data.taxonomy import read_codecs
from data.taxonomy_protocols import read_list, with_audio
from engine.inference import compile_model, make_accelerator
from engine.taxonomy_score_files import write_task_scores
from engine.tracing import HOW_TO_RESUME, TracedSet, trace_sets
from models.taxonomy_building import load_taxonomy_model
from utils.errors import resume_hint
from utils.locks import lock_folders


def trace_list(config):
    """Write the score file of each task of the model for the clips of --eval_list.

    Raises InputError as trace_conditions() does.
    """
    codecs = read_codecs(config.codec_table)
    clips = read_list(config.eval_list, config.dataset_type, config.base_dir, codecs)
    clips = with_audio(clips, folders_only=config.on_bad_audio == "skip")
    with lock_folders(config.result), resume_hint(lambda: HOW_TO_RESUME):
        accelerator = make_accelerator(config)
        set_seed(config.seed)  # has an effect only with --mae_order random
        model = load_taxonomy_model(config.model_folder, config).to(accelerator.device)
        model = compile_model(model, config)

        def write(clips, outputs):
            _, logits = outputs
            write_task_scores(config.result, [clip.name for clip in clips], model.scores(logits))

        parts = config.result / f".taxonomy_{config.dataset_type}.parts"
        traced = TracedSet(config.dataset_type, Clips(clips, model.samples), parts, write)
        trace_sets(config, model, [traced], accelerator)
