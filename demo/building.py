"""The folder of a demo corpus: what it may hold before, and how its files are made in several processes."""

import json
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch
from tqdm import tqdm

from data.classes import MANIFEST
from demo.corpus import LENGTH, make_unit, units
from utils.errors import InputError

UNFINISHED, FINISHED = "unfinished.json", MANIFEST


def read_settings(path):
    """The settings that a manifest holds. Raises InputError when it is no manifest."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not the manifest of a demo corpus: give another --data_root") from None


def check_folder(root, settings):
    """Raise InputError when `root` holds anything but a corpus of the same settings, finished or not."""
    if not root.exists():
        return
    if not root.is_dir():
        raise InputError(f"{root} is a file: give --data_root a new folder")
    for name in (UNFINISHED, FINISHED):
        if (root / name).exists():
            held = read_settings(root / name)
            if held != settings:
                changed = ", ".join(f"{key} {held.get(key)}" for key in settings if held.get(key) != settings[key])
                raise InputError(
                    f"{root} holds a corpus made with other settings ({changed}): give another --data_root"
                )
            return
    if any(root.iterdir()):
        raise InputError(f"{root} is not empty and holds no demo corpus: give --data_root a new folder")


def check_space(root, files):
    """Raise InputError when the disk has no room for `files` files and 5 % more."""
    parent = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    needed = files * LENGTH * 2 * 1.05 / 2**20
    free = shutil.disk_usage(parent).free / 2**20
    if free < needed:
        raise InputError(
            f"{parent} has {free:.0f} MB free, {files} files need {needed:.0f} MB: free some, or use --scale"
        )


def use_one_thread():
    """Make torch sum in one order: the same bytes with any number of cores."""
    torch.set_num_threads(1)


def build_corpus(root, settings, jobs):
    """Make every unit of the corpus in `jobs` processes."""
    work = list(units(settings))
    bar = tqdm(total=len(work), desc=str(root), unit="unit")
    if jobs == 1:
        for unit in work:
            make_unit(root, settings, *unit)
            bar.update()
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), use_one_thread) as pool:
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers inherit it: Ctrl-C lets them end a unit
        try:
            started = [pool.submit(make_unit, root, settings, *unit) for unit in work]
        finally:
            signal.signal(signal.SIGINT, handler)
        try:
            for done in as_completed(started):
                done.result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
