"""--cache_features: a frozen front end is run once over the clips, and later runs read what it gave."""

import torch
from accelerate.utils import broadcast_object_list

from engine.batches import fixed_batches, run_batches
from engine.feature_cache import FeatureCache, StoredClips, describe_states, find_cache
from models.front_ends import StoredHiddenStates, configured_front_end, reason_not_to_cache
from models.weights import state_digest
from utils.errors import InputError, resume_hint
from utils.files import check_writable
from utils.locks import lock_folders

BATCHES = 16  # between two moments at which the rows so far are safe on the disk


def check_cacheable(config):
    """Raise InputError when --cache_features cannot go with the model and the other flags."""
    if config.cache_features is None:
        return
    check_writable(config.cache_features)
    reason = reason_not_to_cache(config)
    if config.on_bad_audio == "skip":
        reason = reason or "it holds every clip of a list, so it cannot go with --on_bad_audio skip"
    if reason:
        raise InputError(f"--cache_features {config.cache_features}: {reason}: leave it out")


@torch.inference_mode()
def fill(cache, front_end, data, config, accelerator, title):
    """Compute the rows that `cache` lacks, each process its share, and write down that it is whole.

    Raises InputError for audio that cannot be used, a disk that is full, and values beyond half precision.
    """
    if accelerator.is_main_process:
        cache.reserve()
        print(f"{title}: hidden states of {len(data)} clips, {cache.size / 1e9:.2f} GB, go to {cache.folder}")
    accelerator.wait_for_everyone()
    states, rows = cache.open()
    batches = [batch for batch in fixed_batches(data, config.batch_size) if not rows[batch].all()]
    accelerator.wait_for_everyone()  # nobody writes before everybody has looked
    share = batches[accelerator.process_index :: accelerator.num_processes]
    written = []

    def settle():
        states.flush()  # before the rows are marked: what is marked is there, whenever the machine fails
        rows[written] = 1
        rows.flush()
        written.clear()

    try:
        for positions, hidden, _ in run_batches(front_end, data, share, config, accelerator, f"{title} features"):
            hidden = hidden.half()
            finite = hidden.isfinite().flatten(1).all(dim=1)
            if not finite.all():
                path = data.clips[positions[int(finite.int().argmin())]].path
                raise InputError(f"{path}: the front end's output is beyond half precision: leave out --cache_features")
            states[positions.numpy()] = hidden.numpy()
            written += positions.tolist()
            if len(written) >= BATCHES * config.batch_size:
                settle()
    finally:
        settle()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        cache.finish()
    accelerator.wait_for_everyone()


def cached_features(config, accelerator, sets, front_end=None):
    """What takes the place of a front end, and {title: StoredClips} in the place of `sets`, {title: Clips}.

    What is not in --cache_features yet is computed, by `front_end` or the one that `config` names; where all is there
    and no front end is given, none is built. Raises InputError as check_cacheable() and fill() do.
    """
    check_cacheable(config)
    described = {title: describe_states(data, config) for title, data in sets.items()}
    caches = dict.fromkeys(sets)
    if front_end is None:
        caches = {title: find_cache(config.cache_features, about) for title, about in described.items()}
    caches = broadcast_object_list([caches])[0]  # one process decides: another run may be writing
    if None in caches.values():
        front_end = (front_end or configured_front_end(config)).to(accelerator.device)
        digest = state_digest(front_end.state_dict())
        with torch.inference_mode():
            shape = front_end(torch.zeros(1, next(iter(sets.values())).samples, device=accelerator.device)).shape[1:]
        for title, data in sets.items():
            cache = caches[title] = FeatureCache(config.cache_features, described[title], digest, shape)
            if not cache.is_whole():
                with lock_folders(cache.folder), resume_hint(lambda: "the same command stores the rest"):
                    fill(cache, front_end, data, config, accelerator, title)
    first = next(iter(caches.values()))
    place = StoredHiddenStates(first.shape[1], first.front_end)
    return place, {title: StoredClips(data, caches[title]) for title, data in sets.items()}
