"""Make a small corpus in ST-Codecfake's layout: real speech, eleven neural codecs, and every test condition.

    python -m demo.make_corpus --data_root demo-corpus                        # synthesised speech, about 3 minutes
    python -m demo.make_corpus --data_root mine --speech_dir recordings       # your own recordings
    python -m demo.make_corpus --data_root mine --codec 7=hf:kyutai/mimi hf:facebook/encodec_24khz

--codec CLASS=NAME replaces the codec of a class. NAME without a class adds one, from 12 on, to eval_ood. A NAME is one
of demo/zoo.py, or hf:NAME_OR_FOLDER: EnCodec, DAC, Mimi or X-Codec of transformers, where its weights are at hand.
Writes the audio, label/*.txt, the protocols of 19LA and ITW, and manifest.json, which says what made every class.
The same settings give the same bytes. An interrupted build continues where it stopped.
"""

import argparse
import json
import os
from pathlib import Path

from demo.zoo import ZOO_BY_CLASS
from utils.errors import InputError, run
from utils.files import write_json, write_text
from utils.flags import number


def corpus_arguments(argv=None):
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
    """Names of the codecs of classes 1, 2, ...: those of the zoo, with the changes that --codec asks for."""
    codecs = [ZOO_BY_CLASS[label].name for label in sorted(ZOO_BY_CLASS)]
    for choice in choices:
        label, equals, name = choice.rpartition("=")
        if not equals:
            codecs.append(name)
        elif label.isdecimal() and 1 <= int(label) <= len(codecs):
            codecs[int(label) - 1] = name
        else:
            raise InputError(f"--codec {choice}: {label} is not a class, expected 1 to {len(codecs)}")
    doubles = {name for name in codecs if codecs.count(name) > 1}
    if doubles:
        raise InputError(f"--codec: {doubles.pop()} would be two classes, expected a different codec for each")
    return tuple(codecs)


def main(argv=None):
    arguments = corpus_arguments(argv)
    codecs = chosen_codecs(arguments.codec)
    import torch

    from demo.building import FINISHED, UNFINISHED, build_corpus, check_folder, check_space, use_one_thread
    from demo.corpus import Settings, describe_corpus, protocol_texts, speech_source

    root = arguments.data_root
    folder = str(arguments.speech_dir.absolute()) if arguments.speech_dir else None
    settings = Settings(arguments.seed, arguments.scale, folder, codecs)
    description = json.loads(json.dumps(describe_corpus(settings)))
    check_folder(root, description["settings"])
    check_space(root, description["files"])
    speech_source(folder).check()
    threads = torch.get_num_threads()
    try:
        use_one_thread()
        write_json(root / UNFINISHED, description)
        build_corpus(root, settings, arguments.jobs)
    finally:
        torch.set_num_threads(threads)
    for path, text in protocol_texts(settings).items():
        write_text(root / path, text)
    write_json(root / FINISHED, description)
    (root / UNFINISHED).unlink(missing_ok=True)
    print(f"{root}: {description['files']} files, {len(codecs)} codecs")


if __name__ == "__main__":
    run(main)
