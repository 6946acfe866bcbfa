"""data2vec for audio. Source: Baevski et al., ICML 2022 (arXiv 2202.03555)."""

from models.wave_front_end import CONVOLUTIONS, SIZES, WaveFrontEnd


class Data2VecAudioFrontEnd(WaveFrontEnd):
    """data2vec-audio, base and large: positions come from several convolutions, one after the other."""

    family = "data2vec-audio"
    config_class, model_class = "Data2VecAudioConfig", "Data2VecAudioModel"
    prefixes = ("data2vec_audio.",)
    required = (*SIZES, *CONVOLUTIONS, "num_conv_pos_embeddings", "conv_pos_kernel_size")
