"""The level of a waveform in front of a network: as recorded, or the same for every clip."""

import torch

from data.measures import SILENT_POWER, SPEECH_LEVEL_DB

SPEECH_AMPLITUDE = 10 ** (SPEECH_LEVEL_DB / 20)  # root of the mean square; full scale is 1


def as_recorded(wave):
    return wave


def at_speech_level(wave):
    """Each `wave` [batch, samples] at SPEECH_LEVEL_DB, in float32; digital silence stays silent.

    What an earlier gain did to the whole clip is undone, unless it clipped samples.
    """
    with torch.autocast(wave.device.type, enabled=False):
        wave = wave.float()
        power = wave.square().mean(1, keepdim=True)
        return wave * (SPEECH_AMPLITUDE * power.clamp(min=SILENT_POWER).rsqrt())


LEVELS = {"none": as_recorded, "normalise": at_speech_level}  # by --level
