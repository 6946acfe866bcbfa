"""--cache_features: a frozen front end runs once over the clips; later runs read its hidden states from the disk."""

import torch
from accelerate.utils import broadcast_object_list

from engine.batches import fixed_batches, run_batches
from engine.feature_cache import FeatureCache, StoredClips, describe_states, find_cache
from engine.outputs import finite_rows
from models.front_ends import StoredHiddenStates, configured_front_end, reason_not_to_cache
from models.layer_pool import PooledLayers
from models.weights import state_digest
from utils.errors import InputError, resume_hint
from utils.files import check_writable
from utils.locks import lock_folders

BATCHES_BETWEEN_SAVES = 16  # a machine that fails loses at most the work on so many batches


def check_cacheable(config, augmentation=None):
    """Raise InputError when --cache_features does not fit the model, other flags, or the `augmentation` of clips."""
    if config.cache_features is None:
        return
    check_writable(config.cache_features)
    reason = reason_not_to_cache(config)
    if config.on_bad_audio == "skip":
        reason = reason or "a cache holds every clip of a list, so it cannot go with --on_bad_audio skip"
    if augmentation:
        reason = reason or "a cache holds the clips as they are, so it cannot go with --augment"
    if reason:
        raise InputError(f"--cache_features {config.cache_features}: {reason}: leave out one of the two")


class CacheWriter:
    """Writes rows into a FeatureCache, and marks them as present once the disk holds them."""

    def __init__(self, cache):
        self.states, self.present = cache.open()
        self.unmarked = []

    def add(self, positions, hidden):
        """Write the hidden states [n, ..., frames, width] float16 of the clips at `positions` [n]."""
        self.states[positions.numpy()] = hidden.numpy()
        self.unmarked += positions.tolist()

    def save(self):
        """Let the disk hold the rows, and only then mark them: a marked row is there, whenever the machine fails."""
        self.states.flush()
        self.present[self.unmarked] = 1
        self.present.flush()
        self.unmarked.clear()


def in_half_precision(hidden, positions, clips, pooled=False):
    """`hidden` [n, ..., width] as float16. Raises InputError, naming the clip, for values beyond its range.

    Where they are `pooled`, no run can do without the cache, and the remedy is another.
    """
    hidden = hidden.half()
    finite = finite_rows(hidden)
    if not finite.all():
        path = clips[positions[int(finite.int().argmin())]].path
        remedy = "give --ssl_layer other layers" if pooled else "leave out --cache_features"
        raise InputError(f"{path}: the output of the front end is too large for half precision: {remedy}")
    return hidden


@torch.inference_mode()
def fill_cache(cache, front_end, data, config, accelerator, title):
    """Compute the rows that `cache` lacks, each process its share, and mark the cache as complete.

    Raises InputError for audio that cannot be used, a full disk, and values that are too large for half precision.
    """
    if accelerator.is_main_process:
        cache.reserve()
        print(f"{title}: storing the hidden states of {len(data)} clips, {cache.size / 1e9:.2f} GB, in {cache.folder}")
    accelerator.wait_for_everyone()
    writer = CacheWriter(cache)
    batches = [batch for batch in fixed_batches(data, config.batch_size) if not writer.present[batch].all()]
    accelerator.wait_for_everyone()  # no process writes before every process has looked
    share = batches[accelerator.process_index :: accelerator.num_processes]
    try:
        for positions, hidden, _ in run_batches(front_end, data, share, config, accelerator, f"{title} features"):
            writer.add(positions, in_half_precision(hidden, positions, data.clips, isinstance(front_end, PooledLayers)))
            if len(writer.unmarked) >= BATCHES_BETWEEN_SAVES * config.batch_size:
                writer.save()
    finally:
        writer.save()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        cache.mark_complete()
    accelerator.wait_for_everyone()


def cached_features(config, accelerator, sets, front_end=None, pooled=False):
    """(StoredHiddenStates, {title: StoredClips}): they replace the front end and `sets`, {title: Clips}.

    Hidden states that --cache_features lacks are computed, by `front_end` or by the one that `config` names. Where all
    are there and no front end is given, none is built. With `pooled`, what is kept is what PooledLayers makes of them.
    Raises InputError as check_cacheable() and fill_cache() do.
    """
    check_cacheable(config)
    form = {"pooled": PooledLayers.__name__} if pooled else {}
    described = {title: describe_states(data, config) | form for title, data in sets.items()}
    caches = dict.fromkeys(sets)
    if front_end is None:
        caches = {title: find_cache(config.cache_features, about) for title, about in described.items()}
    caches = broadcast_object_list([caches])[0]  # the first process decides: another run may be writing
    if None in caches.values():
        front_end = (front_end or configured_front_end(config)).to(accelerator.device)
        digest = state_digest(front_end.state_dict())
        front_end = PooledLayers(front_end) if pooled else front_end
        with torch.inference_mode():
            shape = front_end(torch.zeros(1, next(iter(sets.values())).samples, device=accelerator.device)).shape[1:]
        for title, data in sets.items():
            cache = caches[title] = FeatureCache(config.cache_features, described[title], digest, shape)
            if not cache.is_complete():
                with lock_folders(cache.folder), resume_hint(lambda: "the same command stores the rest"):
                    fill_cache(cache, front_end, data, config, accelerator, title)
    first = next(iter(caches.values()))
    stored = StoredHiddenStates(first.shape[-1], first.front_end_digest, first.about["record"])
    return stored, {title: StoredClips(data, caches[title]) for title, data in sets.items()}
