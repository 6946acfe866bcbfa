"""An SSL front end is one row: a dummy family that is registered from outside serves both systems."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import evaluate_id_f1
import main_train
import main_train_taxonomy
import source_tracing_id
import source_tracing_taxonomy
from config_taxonomy import TaxonomyConfig
from models import FRONT_ENDS
from models.front_ends import FrontEnd
from models.taxonomy_building import load_taxonomy_model
from utils.errors import InputError
from utils.model_files import CHECKPOINT

FRAME, WIDTH = 320, 16  # samples, features


class FilterBank(FrontEnd):
    """Hidden states of one convolution, as many frames as XLS-R gives: a family of SSL front ends with one layer."""

    def __init__(self, path, layer=1, norm="utterance", frozen=True):
        weights = path if isinstance(path, dict) else load_file(f"{path}/model.safetensors")
        model = nn.Conv1d(1, WIDTH, 400, FRAME)
        model.load_state_dict(weights)
        super().__init__(model, WIDTH, norm, frozen)

    def hidden_states(self, wave):
        return self.model(wave[:, None]).relu().transpose(1, 2)

    @staticmethod
    def fits(state):
        return state.keys() == {"weight", "bias"}

    @classmethod
    def from_state(cls, state, path, **options):
        return cls(state, **options)


def write_filter_bank(folder, seed=0):
    """Write a model of the family "filter-bank", as Hugging Face's folders are."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "filter-bank"}))
    generator = torch.Generator().manual_seed(seed)
    weight = 0.1 * torch.randn(WIDTH, 1, 400, generator=generator)
    save_file({"weight": weight, "bias": torch.zeros(WIDTH)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def filter_bank(tmp_path, monkeypatch):
    """The row of the family, and the folder of one of its models."""
    monkeypatch.setitem(FRONT_ENDS, "filter-bank", FilterBank)
    return write_filter_bank(tmp_path / "filter-bank")


@pytest.mark.slow
def test_an_added_family_serves_the_first_system(filter_bank, corpus, tmp_path, capsys):
    data = ["--data_root", str(corpus)]
    work = [*data, "--num_workers", "0", "--batch_size", "7", "--SSL_path", str(filter_bank)]
    model = ["--model", "W2VAASIST", "-o", str(tmp_path / "model"), "--num_epochs", "1"]
    cache = ["--cache_features", str(tmp_path / "cache")]
    main_train.main([*work, *model, *cache])
    state = torch.load(tmp_path / "model" / CHECKPOINT, weights_only=True)
    assert state["w2vaasist.LL.weight"].shape == (128, WIDTH)
    caches = [json.loads(path.read_text()) for path in (tmp_path / "cache").glob("*/cache.json")]
    assert sorted(about["clips"] for about in caches) == [7, 21]
    assert all(about["whole"] and about["shape"] == [201, WIDTH] for about in caches)

    trace = [*work, "--model_folder", str(tmp_path / "model")]
    for name, more in (("plain", []), ("cached", cache)):
        outputs = ["--result", str(tmp_path / name), "--save_feats", str(tmp_path / name)]
        source_tracing_id.main([*trace, *outputs, *more])
    plain, cached = (torch.load(tmp_path / name / "evaldict_id.pt", weights_only=True) for name in ("plain", "cached"))
    assert (plain["logits"] - cached["logits"]).abs().median() < 1e-3
    capsys.readouterr()
    evaluate_id_f1.main([*data, "--result", str(tmp_path / "plain"), "--json", str(tmp_path / "id.json")])
    assert "macro" in capsys.readouterr().out and (tmp_path / "id.json").exists()

    shutil.rmtree(filter_bank)
    write_filter_bank(filter_bank, seed=1)  # other weights at the same place
    with pytest.raises(InputError, match="this model was trained on other pretrained weights than"):
        source_tracing_id.main([*trace, "--result", str(tmp_path / "other")])


def test_an_added_family_serves_the_second_system(filter_bank, taxonomy_corpus, tmp_path):
    work = ["--data_root", str(taxonomy_corpus), "--num_workers", "0", "--SSL_path", str(filter_bank)]
    model = ["--model_type", "S_VQ", "--sampling_strategy", "VQ", "-o", str(tmp_path / "model"), "--num_epochs", "1"]
    main_train_taxonomy.main([*work, *model, "--lr", "0.01"])
    state = torch.load(tmp_path / "model" / CHECKPOINT, weights_only=True)
    before = load_file(filter_bank / "model.safetensors")
    assert not torch.equal(state["ssl_model.model.weight"], before["weight"])  # it is trained as well
    shutil.rmtree(filter_bank)  # a trained model holds its front end
    loaded = load_taxonomy_model(tmp_path / "model", TaxonomyConfig())
    assert type(loaded.ssl_model) is FilterBank
    assert torch.equal(loaded.ssl_model.model.weight, state["ssl_model.model.weight"])
    source_tracing_taxonomy.main([*work[:4], "--model_folder", str(tmp_path / "model"), "--result", str(tmp_path)])
    assert (tmp_path / "taxonomy/vq_score.txt").read_text().splitlines()
