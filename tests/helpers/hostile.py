"""A folder of audio files that nobody should have: damaged, mislabelled, absurd, and under names that break tools."""

import io
import os
import struct

import numpy as np
import soundfile

RATE = 16_000
GOOD, EITHER = None, object()  # what a reader makes of a file: accepts it, or may do what it likes but fail
DECODE, CUT = "cannot be decoded as audio", "is cut short"
FORMATS = {
    "wav": {"format": "WAV"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "mp3": {"format": "MP3"},
}
TRUNCATED = dict.fromkeys(FORMATS, (DECODE, CUT, "holds no sample"))
NAMES = (
    *("a b.wav", "  two blanks.wav", "tab\there.wav", "it's.wav", 'say "hi".wav', "back\\slash.wav", "`ls`.wav"),
    *("$(touch canary).wav", "; touch canary;.wav", "| cat.wav", "%s%n.wav", "{0}.wav", "[a-z]*?.wav", "~.wav"),
    *("-rf.wav", "--help.wav", "-.wav", "...wav", ".hidden.wav", "no.dot.wav.wav", "UPPER.WAV", "#1.wav", "1 0.5.wav"),
    *("x real 0.wav", "é.wav", "e\u0301.wav", "日本語.wav", "مرحبا.wav", "😀.wav", "\u202egnp.wav", "\ufeffbom.wav"),
    *("\u2028line.wav", "\u2029paragraph.wav", "\x85next.wav", "\x1cfile.wav", "\x0bvertical.wav", "\x0cpage.wav"),
    *("\x1b[31mred.wav", "\x07bell.wav", "\u200bzero.wav", "\u00a0nbsp.wav", "n" * 251 + ".wav", "<b>.wav", "a,b.wav"),
)
LINE_BREAKS = ("new\nline.wav", "carriage\rreturn.wav", "both\r\n.wav", "\n.wav", "a 1 0.5\nb.wav")
FOREIGN = (b"\xff.wav", b"caf\xe9.wav", b"\xed\xa0\x80.wav", b"a\x80b.wav")  # not UTF-8
MASQUERADES = {
    "text": b"I am no audio file.\n" * 50,
    "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "json": b'{"error": "quota"}',
    "zip": b"PK\x03\x04" + bytes(500),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(500),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(500),
    "pickle": b"cos\nsystem\n(S'touch canary'\ntR.",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "one byte": b"R",
    "riff": b"RIFF",
    "riff wave": b"RIFF\x24\x00\x00\x00WAVE",
    "flac": b"fLaC",
    "ogg": b"OggS",
    "id3": b"ID3\x04\x00\x00\x00\x00\x00\x00",
}
SUBTYPES = (
    "PCM_U8",
    "PCM_16",
    "PCM_24",
    "PCM_32",
    "FLOAT",
    "DOUBLE",
    "ULAW",
    "ALAW",
    "IMA_ADPCM",
    "MS_ADPCM",
    "GSM610",
)


def sound(seconds=0.5, channels=1, rate=RATE):
    noise = np.random.default_rng(1).standard_normal((int(seconds * rate), channels))
    return (0.1 * noise).astype(np.float32)


def encoded(wave, rate=RATE, **how):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, **({"format": "WAV"} | how))
    return file.getvalue()


def header(rate=RATE, channels=1, bits=16, size=1000, block=None, format=1):
    """The 44 bytes of a WAV that claims what it is told to."""
    block = channels * bits // 8 % 2**16 if block is None else block
    fields = struct.pack("<HHIIHH", format, channels, rate, rate * block % 2**32, block, bits)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", (36 + size) % 2**32, b"WAVE", b"fmt ", 16)
        + fields
        + b"data"
        + struct.pack("<I", size)
    )


def files():
    """(name, content, what is expected) of every file: its bytes, or a function that makes it at a path."""
    whole = {suffix: encoded(sound(), **how) for suffix, how in FORMATS.items()}
    for suffix, content in whole.items():
        for share in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
            yield f"cut-{share}.{suffix}", content[: max(1, int(share * len(content)))], TRUNCATED[suffix]
        yield f"cut-last.{suffix}", content[:-2], (CUT,)
        yield f"empty.{suffix}", b"", ("is empty (0 bytes)",)
        yield f"magic.{suffix}", b"XXXX" + content[4:], EITHER if suffix == "mp3" else (DECODE,)
        yield f"noise.{suffix}", content[:100] + os.urandom(0) + bytes(reversed(content[100:])), EITHER
        for number, other in enumerate(set(FORMATS) - {suffix}):
            yield f"really-{other}-{number}.{suffix}", whole[other], GOOD
    yield from odd_samples()
    yield from odd_headers()
    for name, content in MASQUERADES.items():
        for suffix in ("wav", "flac"):
            yield f"{name}.{suffix}", content, (DECODE, "holds no sample")
    yield from ((name, whole["wav"], GOOD) for name in NAMES)
    yield from ((name, whole["wav"], ("holds a line break",)) for name in LINE_BREAKS)
    yield from ((os.fsdecode(name), whole["wav"], ("is not UTF-8", "surrogates not allowed")) for name in FOREIGN)
    yield from links()


def odd_samples():
    for subtype in ("FLOAT", "DOUBLE"):
        for value in (np.nan, np.inf, -np.inf):
            for place in (0, 4000, -1, slice(None)):
                wave = sound()
                wave[place] = value
                yield (
                    f"{value}-{place if place != slice(None) else 'all'}-{subtype}.wav",
                    encoded(wave, subtype=subtype),
                    ("NaN or infinite",),
                )
    for level in (1e20, 1e38):
        yield f"loud-{level}.wav", encoded(sound() * np.float32(level), subtype="FLOAT"), EITHER
    for count in (0, 1, 2, 100):
        content = encoded(sound()[:count])
        yield f"{count}-samples.wav", content, GOOD if count else ("holds no sample",)
    for subtype in SUBTYPES:
        yield f"{subtype}.wav", encoded(sound(), subtype=subtype), GOOD
    for rate in (1, 100, 999, 500_000, 2_147_483_647):
        yield f"rate-{rate}.wav", header(rate, size=1000) + bytes(1000), ("samples a second", DECODE)
    for rate in (1000, 8000, 11_127, 22_050, 44_100, 96_000, 192_000):
        yield f"rate-{rate}.wav", encoded(sound(rate=rate), rate), GOOD
    for channels in (2, 3, 8, 32, 255):
        yield f"channels-{channels}.wav", encoded(sound(channels=channels)), GOOD
    yield "silent.wav", encoded(np.zeros(RATE, np.float32)), GOOD
    yield "constant.wav", encoded(np.ones(RATE, np.float32)), GOOD


def odd_headers():
    hours = 10 * 3600 * RATE * 2
    yield "claims-10-hours.wav", header(size=hours) + bytes(1000), (CUT,)
    yield "claims-4-GB.wav", header(size=2**32 - 2) + bytes(1000), (CUT,)
    yield "unknown-length.wav", header(size=2**32 - 1) + bytes(10_000), EITHER
    yield "10-hours.wav", lambda path: sparse(path, header(size=hours), hours), GOOD
    for name, options in {
        "no-channels": {"channels": 0},
        "65535-channels": {"channels": 65_535},
        "no-bits": {"bits": 0},
        "65535-bits": {"bits": 65_535},
        "no-block": {"block": 0},
        "rate-0": {"rate": 0},
        "format-0": {"format": 0},
        "format-65535": {"format": 65_535},
    }.items():
        yield f"{name}.wav", header(size=1000, **options) + bytes(1000), EITHER
    yield "chunk-of-4-GB.wav", b"RIFF\xff\xff\xff\xffWAVEjunk\xff\xff\xff\xff", (DECODE,)
    yield "endless-chunks.wav", b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 5000, (DECODE, "holds no sample")


def sparse(path, head, size):
    path.write_bytes(head)
    os.truncate(path, len(head) + size)


def links():
    def link(target):
        return lambda path: os.symlink(target, path)

    yield "loop-a.wav", link("loop-b.wav"), (DECODE,)
    yield "loop-b.wav", link("loop-a.wav"), (DECODE,)
    yield "itself.wav", link("itself.wav"), (DECODE,)
    yield "dangling.wav", link("nowhere.wav"), ("does not exist",)
    yield "up.wav", link(".."), (DECODE,)
    yield "zero.wav", link("/dev/zero"), ("is empty",)
    yield "pipe.wav", os.mkfifo, ("is empty",)
    yield "folder.wav", os.mkdir, (DECODE,)
    yield "good-link.wav", link("silent.wav"), GOOD


def make(folder):
    """Write all of them into `folder`, and {name: what is expected}: GOOD, EITHER, or parts of a message."""
    folder.mkdir(parents=True)
    expected = {}
    for name, content, what in files():
        path = folder / name
        content(path) if callable(content) else path.write_bytes(content)
        assert name not in expected, name
        expected[name] = what
    return expected
