"""Make a small corpus in ST-Codecfake's layout: real speech, eleven neural codecs, and every test condition.

    python -m demo.make_corpus --data_root demo-corpus                        # synthesised speech, about 3 minutes
    python -m demo.make_corpus --data_root mine --speech_dir recordings       # your own recordings
    python -m demo.make_corpus --data_root mine --codec 7=hf:kyutai/mimi hf:facebook/encodec_24khz

--codec CLASS=NAME makes another codec that class; NAME alone adds a class, 12 and on, to eval_ood. A NAME is one of
demo/zoo.py, or hf:NAME_OR_FOLDER: EnCodec, DAC, Mimi or X-Codec of transformers, where its weights are at hand.
Writes the audio, label/*.txt, the protocols of 19LA and ITW, and manifest.json, which says what made every class.
The same settings give the same bytes. An interrupted build goes on where it stopped.
"""

import argparse
import json
import os
import shutil
import signal
from pathlib import Path

from config import number
from demo.zoo import BY_CLASS
from utils.errors import InputError, run
from utils.files import write_text

UNFINISHED, FINISHED = "unfinished.json", "manifest.json"


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_root", type=Path, default=Path("demo-corpus"), help="folder to make (default: demo-corpus)")
    add("--scale", type=number(float, 0.01), default=1.0, help="factor on the number of files (default: 1)")
    add("--seed", type=number(int, 0), default=688, help="random seed (default: 688)")
    add("--speech_dir", type=Path, help="folder of your own recordings, instead of synthesised speech")
    add("--codec", nargs="+", default=[], metavar="[CLASS=]NAME", help="replace the codec of a class, or add one")
    add("--jobs", type=number(int, 1), default=os.cpu_count() or 1, help="processes (default: one a core)")
    return parser.parse_args(argv)


def chosen_codecs(choices):
    """Names of the codecs of classes 1, 2, ...: the zoo's, as --codec changes them."""
    codecs = [BY_CLASS[label].name for label in sorted(BY_CLASS)]
    for choice in choices:
        label, equals, name = choice.rpartition("=")
        if not equals:
            codecs.append(name)
        elif label.isdecimal() and 1 <= int(label) <= len(codecs):
            codecs[int(label) - 1] = name
        else:
            raise InputError(f"--codec {choice}: {label} is no class, expected 1 to {len(codecs)}")
    doubles = {name for name in codecs if codecs.count(name) > 1}
    if doubles:
        raise InputError(f"--codec: {doubles.pop()} would be two classes, expected a different codec for each")
    return tuple(codecs)


def read_settings(path):
    """The settings that a manifest holds. Raises InputError when it is no manifest."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not the manifest of a demo corpus: give another --data_root") from None


def check_folder(root, settings):
    """Raise InputError when `root` holds something else than a corpus of the same settings, begun or finished."""
    if not root.exists():
        return
    if not root.is_dir():
        raise InputError(f"{root} is a file: give --data_root a new folder")
    for name in (UNFINISHED, FINISHED):
        if (root / name).exists():
            found = read_settings(root / name)
            if found != settings:
                changed = ", ".join(f"{key} {found.get(key)}" for key in settings if found.get(key) != settings[key])
                raise InputError(
                    f"{root} holds a corpus made with other settings ({changed}): give another --data_root"
                )
            return
    if any(root.iterdir()):
        raise InputError(f"{root} is not empty and holds no demo corpus: give --data_root a new folder")


def check_space(root, files):
    """Raise InputError when the disk has no room for `files` files and 5 % more."""
    from demo.corpus import LENGTH

    parent = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    needed, free = files * LENGTH * 2 * 1.05 / 2**20, shutil.disk_usage(parent).free / 2**20
    if free < needed:
        raise InputError(
            f"{parent} has {free:.0f} MB free, {files} files need {needed:.0f} MB: free some, or use --scale"
        )


def build(root, settings, jobs):
    """Make every unit of the corpus in `jobs` processes."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from tqdm import tqdm

    from demo.corpus import make_unit, units

    work = list(units(settings))
    bar = tqdm(total=len(work), desc=str(root), unit="unit")
    if jobs == 1:
        for unit in work:
            make_unit(root, settings, *unit)
            bar.update()
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), one_thread) as pool:
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


def one_thread():
    """Sums in one order: the same bytes whatever the number of cores."""
    import torch

    torch.set_num_threads(1)


def main(argv=None):
    arguments = parse(argv)
    codecs = chosen_codecs(arguments.codec)
    import torch

    from demo.corpus import Settings, manifest, protocols, speech

    root = arguments.data_root
    folder = str(arguments.speech_dir.absolute()) if arguments.speech_dir else None
    settings = Settings(arguments.seed, arguments.scale, folder, codecs)
    description = json.loads(json.dumps(manifest(settings)))
    check_folder(root, description["settings"])
    check_space(root, description["files"])
    speech(folder).check()
    threads = torch.get_num_threads()
    try:
        one_thread()
        write_text(root / UNFINISHED, json.dumps(description, indent=2) + "\n")
        build(root, settings, arguments.jobs)
    finally:
        torch.set_num_threads(threads)
    for path, text in protocols(settings).items():
        write_text(root / path, text)
    write_text(root / FINISHED, json.dumps(description, indent=2) + "\n")
    (root / UNFINISHED).unlink(missing_ok=True)
    print(f"{root}: {description['files']} files, {len(codecs)} codecs")


if __name__ == "__main__":
    run(main)
