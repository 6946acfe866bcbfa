"""UniSpeech-SAT. Source: Chen et al., ICASSP 2022 (arXiv 2110.05752)."""

from models.wave_front_end import MicrosoftNorm, WaveFrontEnd


class UniSpeechSatFrontEnd(MicrosoftNorm, WaveFrontEnd):
    """UniSpeech-SAT, base and large."""

    family = "unispeech-sat"
    config_class, model_class = "UniSpeechSatConfig", "UniSpeechSatModel"
    prefixes = ("unispeech_sat.",)
