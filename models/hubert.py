"""HuBERT. Source: Hsu et al., IEEE/ACM TASLP 2021 (arXiv 2106.07447)."""

from models.wave_front_end import WaveFrontEnd


class HubertFrontEnd(WaveFrontEnd):
    """HuBERT, base, large and extra large."""

    family = "hubert"
    config_class, model_class = "HubertConfig", "HubertModel"
    prefixes = ("hubert.",)
