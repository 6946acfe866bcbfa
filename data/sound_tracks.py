"""Which sound track of a container is read, as of a film with several languages: the one that players begin with."""


def choose_track(tracks):
    """Of the audio streams `tracks` of a container: one that FFmpeg decodes, no comment on the film, the default one.

    Of several such, it is the first.
    """
    from av.stream import Disposition as Kind  # slow to import

    special = Kind.comment | Kind.hearing_impaired | Kind.visual_impaired | Kind.descriptions  # offered by players
    return max(
        tracks,
        key=lambda track: (
            track.codec_context is not None,
            not track.disposition & special,
            bool(track.disposition & Kind.default),
        ),
    )


def describe_choice(tracks, chosen):
    """Which of several `tracks` was read, in words, and how to get another one; "" for a file with one track."""
    if len(tracks) == 1:
        return ""
    number = tracks.index(chosen)
    names = [name for name in (chosen.language, chosen.metadata.get("title")) if name and name != "und"]
    named = f" ({', '.join(names)})" if names else ""
    return (
        f"the file has {len(tracks)} sound tracks, of which this is track {number + 1}{named}. For another one:"
        f" ffmpeg -i IN -map 0:a:{1 if number == 0 else 0} OUT.wav"
    )
