"""PyAV, which is FFmpeg: M4A, MP3, video, and what else libsndfile does not read or reads only in part."""

from contextlib import contextmanager
from functools import partial

import numpy as np

from data.containers import CONVERT, ByteRange, UnknownFormat, check_whole, mapped
from data.joined_audio import open_joined
from data.joined_files import parts_of
from data.mpeg_frames import adts_frame_bytes, is_mpeg, mp3_links, mpeg_frame_bytes
from data.sound_tracks import choose_track, describe_choice
from utils.errors import InputError

# Of FFmpeg's many: those that read sound, and nothing besides the file itself.
DEMUXERS = "aac,aiff,amr,ape,asf,au,avi,caf,flac,flv,mov,matroska,mp3,mpeg,mpegts,nistsphere,ogg,w64,wav,wv"
OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
EXACT_LENGTH = ("ape", "flac", "w64", "wav", "wv")  # their header has the number of samples
SAMPLES_ONLY = ("aiff", "au", "caf", "nistsphere", "w64", "wav")  # their last packet may have any length
# FFmpeg's own decoders of these codecs know no pauses (DTX), in which a phone sends almost nothing.
DECODERS = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
WITH_CHECKSUM = ("flac", "wavpack")  # codecs; FFmpeg compares the sums only when it is asked to
FRAME_BYTES = {"mp3": mpeg_frame_bytes, "aac": adts_frame_bytes}  # formats without packets: frames follow each other
PRESKIP = slice(10, 12)  # of the head of an Opus stream: samples before the sound
MOV_ROUNDING = 0.002  # seconds; most writers round the length of an edit list to milliseconds
WITH_DURATION = ("matroska", "asf", "flv")  # containers that say how long they are, not exactly, and when packets begin
LEAST_SHORTER = 0.5  # seconds; what may lack of that length
SHORTER = 0.01  # of that length, if it is more
LEAST_GAP = 0.1  # seconds
MOST_BAD_FRAMES = 0.01  # of the frames of a format without packets; FFmpeg refuses a few of them after a cut or a join


def frame_samples(frame):
    """The samples of a decoded av.AudioFrame, float32 [frames, channels] in [-1, 1]."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(1 << 8 * samples.dtype.itemsize - 1)
    return samples.astype(np.float32, copy=False)


def decoder_of(stream):
    """The codec context that decodes an audio stream: another one than FFmpeg's own where DECODERS has it."""
    from av import CodecContext  # slow to import
    from av.codec import codecs_available

    context = stream.codec_context
    if context is None or DECODERS.get(context.name) not in codecs_available:
        return context
    other = CodecContext.create(DECODERS[context.name], "r")
    other.extradata = context.extradata
    return other


@contextmanager
def ffmpeg_errors():
    """Turn the errors of FFmpeg into ValueError."""
    from av.error import FFmpegError  # slow to import

    try:
        yield
    except FFmpegError as error:
        raise ValueError(f"{error.strerror}") from None


class PyavAudio:
    """A sound track of a container that PyAV has opened. How long it is, is known at its end."""

    frames = None

    def __init__(self, path, container, promised_packets=0):
        self.path = path
        self.container = container
        self.format = container.format.name.split(",")[0]
        self.stream = choose_track(container.streams.audio)
        self.choice = describe_choice(container.streams.audio, self.stream)
        self.alone = len(container.streams) == 1
        self.missing = 0  # seconds before and between packets
        self.decoder = decoder_of(self.stream)
        self.compression = self.stream.codec_context.name if self.decoder else ""
        self.promised_packets = promised_packets
        self.samplerate = self.channels = None  # the first frame says it: the header of HE-AAC has half the rate
        self.packets = 0
        self.packets_end = 0  # seconds
        self.refused = []  # numbers of the packets that could not be decoded
        self.broken = False  # whether the last packet was incomplete
        self.first_start = None  # seconds
        self.decoded = 0  # samples a channel
        self.to_skip = 0  # samples before the sound, which FFmpeg gives
        self.waves = self._trimmed()
        self.held = []
        with ffmpeg_errors():
            self.held += [next(self.waves, None)]
        if self.held[0] is None:
            raise InputError(f"{path} holds no sample: copy or download it again")

    @property
    def note(self):
        """What of the file is not read, in words."""
        gaps = f"by its time stamps, {self.missing:.1f} s of its sound are missing" if self.missing else ""
        return "; ".join(filter(None, (self.choice, gaps)))

    def read(self, frames):
        """The next `frames`, float32 [frames, channels]; fewer at the end.

        Raises InputError for a file that is cut short or damaged, ValueError for what FFmpeg says.
        """
        length = sum(map(len, self.held))
        with ffmpeg_errors():
            while length < frames and (wave := next(self.waves, None)) is not None:
                self.held.append(wave)
                length += len(wave)
        held = np.concatenate(self.held) if self.held else np.zeros((0, self.channels), np.float32)
        self.held = [held[frames:]] if length > frames else []
        return held[:frames]

    def _trimmed(self):
        """The waves of _decoded() without the padding of the encoder at the end; checks the end."""
        last = None
        for wave in self._decoded():
            if last is not None:
                yield last
            last = wave
        excess = self._check_end()
        if last is not None and excess < len(last):
            yield last[: len(last) - excess]

    def _decoded(self):
        """The decoded frames, float32 [samples, channels]."""
        from av.codec.context import Flags2  # slow to import
        from av.error import InvalidDataError

        if self.decoder is None:
            raise ValueError("FFmpeg does not know its codec")
        self.decoder.thread_count = 1
        if self.decoder.name == "alac":
            # Its last packet is short already. FFmpeg cuts the padding that a CAF file names off it once more.
            self.decoder.flags2 |= Flags2.skip_manual
        if (self.format, self.decoder.name) == ("ogg", "opus"):
            # libsndfile has refused it, so its positions are wrong: many programs count a packet of 60 ms as 20 ms.
            # FFmpeg would cut up to a second off the end.
            self.decoder.flags2 |= Flags2.skip_manual
            self.to_skip = int.from_bytes(self.decoder.extradata[PRESKIP], "little")
        if self.decoder.name in WITH_CHECKSUM:
            self.decoder.options = {"err_detect": "crccheck+explode"}
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except InvalidDataError:
                raise InputError(f"{self.path} is cut short or damaged after {self.packets} packets") from None
            except IndexError:  # PyAV's, where FFmpeg finds one more stream
                raise InputError(
                    f"{self.path} has a stream that begins after the others, as where two files were joined: split it,"
                    f" or convert it: {CONVERT}"
                ) from None
            if packet is None:
                return
            is_audio = self._note(packet)
            try:
                frames = self.decoder.decode(packet)
            except InvalidDataError:
                if is_audio:
                    self.refused.append(self.packets)
                continue
            for frame in frames:
                self._compare(frame)
                wave = frame_samples(frame)[self.to_skip :]
                self.to_skip -= frame.samples - len(wave)
                self.decoded += len(wave)
                yield wave

    def _note(self, packet):
        """Keep what _check_end() needs of a packet; False for what is none, such as a tag between two frames."""
        if packet.size == 0:  # the last one, which empties the decoder
            return False
        frame_bytes = FRAME_BYTES.get(self.format)
        if frame_bytes:
            expected = frame_bytes(bytes(packet)[:7])
            if not expected:
                return False
            self.broken = packet.size < expected
        elif self.format not in SAMPLES_ONLY:
            self.broken = packet.is_corrupt
        self.packets += 1
        if packet.pts is not None and packet.duration:
            gap = float(packet.pts * packet.time_base) - self.packets_end
            # The sound of a film may begin late.
            if gap > LEAST_GAP and self.format in WITH_DURATION and (self.packets > 1 or self.alone):
                self.missing += gap
            self.packets_end = max(self.packets_end, float((packet.pts + packet.duration) * packet.time_base))
        return True

    def _compare(self, frame):
        """Raise InputError when the sample rate or the channels change."""
        here = frame.sample_rate, frame.layout.nb_channels
        if self.samplerate is None:
            self.samplerate, self.channels = here
            # Only the stream's own decoder counts the samples that it leaves out at the begin.
            own = self.decoder is self.stream.codec_context
            start, unit = (frame.pts, frame.time_base) if own else (self.stream.start_time, self.stream.time_base)
            self.first_start = float(start * unit) if start is not None else 0
        elif here != (self.samplerate, self.channels):
            seconds = self.decoded / self.samplerate
            raise InputError(
                f"{self.path} changes after {seconds:.1f} s from {self.samplerate} samples a second and channels: "
                f"{self.channels} to {here[0]} and {here[1]}. Convert it: {CONVERT}"
            )

    def _check_end(self):
        """How many samples at the end are padding. Raises InputError when the file is cut short or damaged."""
        if self.broken or self.refused[-1:] == [self.packets] != [0]:
            raise InputError(f"{self.path} is cut short: its last packet is not complete")
        if self.packets < self.promised_packets - 1:  # some encoders count the frame of the header too
            raise InputError(
                f"{self.path} is cut short: its header promises {self.promised_packets} packets, it has {self.packets}"
            )
        self._check_duration()
        duration = self.stream.duration and float(self.stream.duration * self.stream.time_base)
        promised = None
        if self.format in EXACT_LENGTH and duration:
            promised = round(duration * (self.samplerate or self.decoder.sample_rate))
            if self.decoded < promised:
                raise InputError(
                    f"{self.path} is cut short: its header promises {promised} frames, {self.decoded} could be decoded"
                )
        tolerated = MOST_BAD_FRAMES * self.packets + 1 if self.format in FRAME_BYTES else 0
        if len(self.refused) > tolerated and self.decoded != promised:
            raise InputError(
                f"{self.path} is damaged: {len(self.refused)} of its {self.packets} packets cannot be decoded"
            )
        if self.format != "mov" or not self.decoded:
            return 0
        end = self.packets_end
        if duration and self.first_start + duration < end - MOV_ROUNDING:
            end = self.first_start + duration
        return max(0, self.decoded - round((end - self.first_start) * self.samplerate))

    def _check_duration(self):
        """Raise InputError when the file holds less than the duration that its container promises."""
        promised = (self.container.duration or 0) / 1e6
        if self.format in WITH_DURATION and self.alone and self.samplerate:
            end = max(self.packets_end, self.first_start + self.decoded / self.samplerate)
            if end < promised - max(SHORTER * promised, LEAST_SHORTER):
                raise InputError(
                    f"{self.path} is cut short or damaged: its header promises {promised:.1f} s, it has {end:.1f} s"
                )


@contextmanager
def open_range(path, file, start, stop, promised_packets=0):
    """The bytes `start` to `stop` of the open `file` as PyavAudio."""
    import av  # slow to import

    with ffmpeg_errors():
        try:
            container = av.open(ByteRange(file, start, stop), options=OPTIONS, metadata_errors="replace")
        except (av.error.InvalidDataError, av.error.ArgumentError):  # the latter: none of DEMUXERS
            raise UnknownFormat("its format is not recognised") from None
    with container:
        if not container.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise InputError(f"{path} holds no audio, only: {kinds}")
        yield PyavAudio(path, container, promised_packets)


@contextmanager
def open_pyav(path):
    """A file of a format that FFmpeg knows; of a video, its sound."""
    head, end = check_whole(path)
    if is_mpeg(path, head):
        with mapped(path) as content:
            parts = mp3_links(content)
    else:
        parts = parts_of(path, head, end)
    with open(path, "rb") as file:
        openers = [partial(open_range, path, file, *part) for part in parts]
        with openers[0]() if len(parts) == 1 else open_joined(path, openers) as source:
            yield source
