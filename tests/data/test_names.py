"""Speaker and utterance, as file names of the corpora say them."""

import pytest

from data.names import cluster_of


@pytest.mark.parametrize(
    ("name", "speaker", "utterance"),
    [
        ("p244_294.wav", "p244", ("p244", "294")),  # VCTK
        ("funcodec_p244_294.wav", "p244", ("p244", "294")),
        ("CoRS/p225_001_bigcodec", "p225", ("p225", "001")),  # CodecFake+
        ("s5_017.flac", "s5", ("s5", "017")),
        ("SSB00180364.wav", "SSB0018", ("SSB0018", "0364")),  # AISHELL-3
        ("C4-1_SSB13850046.wav", "SSB1385", ("SSB1385", "0046")),
        ("mimi_R-EN_4_0_d329.wav", "R-EN_4_0", ("R-EN_4_0", "d329")),  # NCSSD
        ("0012_3.wav", "0012", ("0012", "")),  # demo corpus
        ("0012_11.flac", "0012", ("0012", "")),
        ("LA_E_9290615", None, None),
        ("17584.wav", None, None),
        ("response_7.wav", None, None),
    ],
)
def test_file_names_tell_speaker_and_utterance(name, speaker, utterance):
    assert cluster_of(name, "speaker") == speaker and cluster_of(name, "utterance") == utterance
    assert cluster_of(name, "none") is None
