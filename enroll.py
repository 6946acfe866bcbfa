"""Enrol a new source from a few of its clips, without training; predict.py --registry then names it.

    python enroll.py new-codec clips/*.wav --registry registry.safetensors
    python predict.py clip.wav --registry registry.safetensors

Without --model_folder, the model is that of real codecs in pretrained/real-codecs. Another one must be calibrated.
Enrolment is refused, with the reason, when there are fewer than 5 clips, when a recording occurs twice, when the clips
are too mixed, and when the source is too near a known class or another enrolled source. The registry holds embeddings,
names and hashes of the clips, but no audio. --replace enrols a name again.
"""

from dataclasses import dataclass
from pathlib import Path

from prediction.settings import ModelConfig
from utils.errors import run
from utils.flags import opt, parse_flags


@dataclass(frozen=True)
class EnrolConfig(ModelConfig):
    """Enrolment."""

    name: str = opt(None, "name of the new source", positional=True)
    clips: tuple[str, ...] = opt(
        (), "its audio files, at least 5, or folders of them", positional=True, nargs="+", metavar="CLIP"
    )
    registry: Path = opt(
        Path("registry.safetensors"), "registry to write, or to add the source to", writes="safetensors"
    )
    replace: bool = opt(False, "enrol again a name that the registry already contains")


def main(argv=None):
    config = parse_flags(__doc__, argv, EnrolConfig)
    from prediction.enrolment import add_to_registry
    from prediction.recordings import list_audio_files
    from utils.locks import lock_folders

    files, _ = list_audio_files(config.clips)
    with lock_folders(config.registry.absolute().parent):  # another enrolment at the same time would be lost
        source, registry = add_to_registry(config, files)
    recognised = f"{source.recognised:.0%} of them recognised when each is left out in turn"
    print(f"{source.name}: {len(source.clips)} clips, {recognised}")
    print(f"wrote {config.registry}, version {registry.version} (enrolled sources: {len(registry.sources)})")


if __name__ == "__main__":
    run(main)
