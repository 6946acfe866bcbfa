"""Tables of clips and empty audio files for tests."""


def make_files(folder, *names):
    """Empty files of these names, which may have folders in them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def write_table(folder, text, name="clips.csv"):
    """The path of a file in `folder` of this text or bytes."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
