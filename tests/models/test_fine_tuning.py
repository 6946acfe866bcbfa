"""--finetune: what of a front end learns, what a checkpoint holds of it, and what is refused."""

import json
import re
from dataclasses import replace

import pytest
import torch
from helpers.front_end_files import random_model, save_model, small_front_end
from helpers.training import save_run

import main_train
from config import Config
from engine.cached_features import check_cacheable
from engine.recipes import recipe_of
from models.building import build_model, load_model, start_from
from models.fine_tuning import check_fine_tuning
from models.front_ends import configured_front_end
from models.weights import frozen_digest, trained_state
from utils.errors import InputError
from utils.model_files import CHECKPOINT

FAMILIES = ("wav2vec2", "hubert", "wavlm", "unispeech-sat", "data2vec-audio", "wav2vec2-bert", "whisper")
CHOICES = ("last:1", "lora", "all")
WAVES = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
CLASSES = ("a", "b", "c")


def tuned(path, choice, **changes):
    return Config(
        **{"SSL_path": str(path), "num_classes": 3, "head": "asp", "ssl_layer": 2, "finetune": choice} | changes
    )


def learn(model, config, steps=2):
    """Change what learns in `model` by some steps of its recipe."""
    torch.manual_seed(1)
    optimizer = recipe_of(config).optimizer(replace(config, front_end_lr=0.01), model, torch.nn.Identity())
    for _ in range(steps):
        optimizer.zero_grad()
        model.train()(WAVES)[1].square().sum().backward()
        optimizer.step()
    return model.eval()


def part_that_learns(name, choice):
    """Whether the tensor `name` of a front end of two layers learns."""
    of_last = re.match(r"wav2vec2\.model\.(encoder\.)?layers\.1\.", name) is not None
    return {"all": True, "lora": ".lora_" in name, "last:1": of_last and ".lora_" not in name}[choice]


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_the_flag_names_learns_and_is_saved(family, tmp_path):
    path = small_front_end(tmp_path / "ssl", family)
    for choice in CHOICES:
        config = tuned(path, choice)
        torch.manual_seed(0)
        model = build_model(config)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        digest = frozen_digest(model)
        learn(model, config)
        assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
        own = {name for name in before if name.startswith("wav2vec2.")}
        learned = {name for name in own if not torch.equal(before[name], model.state_dict()[name])}
        due = {name for name in own if part_that_learns(name, choice)}
        # The bias of keys has no effect; the positions of Whisper are constants.
        no_gradient = {name for name in due if re.search(r"(k_proj|linear_k)\.bias$|model\.embed_positions", name)}
        assert learned <= due and due - learned <= no_gradient
        state = trained_state(model)
        assert {name for name in state if name in own} == due and state.keys() > due
        assert frozen_digest(model) == digest
        save_run(tmp_path / choice, model, config)
        loaded = load_model(tmp_path / choice, Config())
        assert all(map(torch.equal, loaded(WAVES), model(WAVES)))


@pytest.mark.parametrize("family", ["wav2vec2", "wavlm", "wav2vec2-bert", "whisper"])
@pytest.mark.parametrize("choice", CHOICES)
def test_gradient_checkpointing_changes_nothing(family, choice, tmp_path):
    path = small_front_end(tmp_path, family)
    states = []
    for layers, checkpointing in ((2, False), (2, True), ((1, 3), False), ((1, 3), True)):
        config = tuned(path, choice, ssl_layer=layers, gradient_checkpointing=checkpointing)
        torch.manual_seed(0)
        states.append(trained_state(learn(build_model(config), config)))
    for plain, twice in (states[:2], states[2:]):
        for name, value in plain.items():
            torch.testing.assert_close(twice[name], value, msg=name)


def test_lora_is_the_paper_s(tmp_path):
    model = build_model(tuned(small_front_end(tmp_path, "wav2vec2"), "lora", lora_rank=3))
    layer = model.front_end.transformer_layers()[0].attention.q_proj
    x = torch.randn(5, 32)
    torch.testing.assert_close(layer(x), layer.base_layer(x))  # B starts as zeros
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    a, b = (part["default"].weight.double() for part in (layer.lora_A, layer.lora_B))
    assert a.shape == (3, 32) and b.shape == (32, 3)
    base = x.double() @ layer.base_layer.weight.double().T + layer.base_layer.bias.double()
    torch.testing.assert_close(layer(x).double(), base + 2 * (x.double() @ a.T @ b.T), atol=1e-5, rtol=1e-5)


def test_what_is_trained_has_the_dropout_of_its_configuration(tmp_path):
    made = random_model("wav2vec2", hidden_dropout=0.3, attention_dropout=0.2, feat_proj_dropout=0.4, layerdrop=0.5)
    path = save_model(made, tmp_path)
    for choice, training in (("none", []), ("last:1", [False, True]), ("lora", [True, True]), ("all", [True, True])):
        front_end = configured_front_end(tuned(path, choice)).train()
        layers = front_end.transformer_layers()
        assert [layer.training for layer in layers] == (training or [False, False])
        assert front_end.model.feature_projection.training == (choice == "all")
        assert front_end.model.config.layerdrop == 0
        if choice != "none":
            assert layers[1].dropout.p == 0.3 and layers[1].attention.dropout == 0.2
            assert not any(part.training for part in front_end.eval().model.modules())


def test_step_sizes_and_penalties():
    for choice, step in (("last:2", 1e-5), ("all", 1e-5), ("lora", 1e-4)):
        config = tuned("tiny-random", choice)
        model = build_model(config)
        network, front_end = recipe_of(config).optimizer(config, model, torch.nn.Identity()).param_groups
        assert (network["lr"], network["weight_decay"]) == (5e-4, 5e-4)
        assert (front_end["lr"], front_end["weight_decay"]) == (step, 0)
        learning = [weight for weight in model.front_end.parameters() if weight.requires_grad]
        assert [*map(id, front_end["params"])] == [*map(id, learning)]
        config = replace(config, front_end_lr=0.5)
        assert recipe_of(config).optimizer(config, model, torch.nn.Identity()).param_groups[1]["lr"] == 0.5


def test_another_base_is_refused_and_one_that_is_trained_whole_is_not_needed(tmp_path):
    path = small_front_end(tmp_path / "ssl", "wavlm")
    other = save_model(random_model("wavlm", seed=1), tmp_path / "other")
    for choice in CHOICES:
        config = tuned(path, choice)
        model = learn(build_model(config), config)
        from_run = replace(config, SSL_path=str(other))
        folder = tmp_path / choice
        save_run(folder, model, from_run, record=model)
        if choice == "all":
            (tmp_path / "other").rename(tmp_path / "gone")
            assert all(map(torch.equal, load_model(folder, Config())(WAVES), model(WAVES)))
            continue
        with pytest.raises(InputError) as caught:
            load_model(folder, Config())
        said = (
            f"{folder / 'args.json'}: this model was trained on other pretrained weights than {other} holds: give the"
        )
        assert str(caught.value) == f"{said} same as --SSL_path"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"norm": "loud"}, "loud is no normalisation of waves: expected utterance, batch, none"),
        ({"norm": 3}, "front_end.norm is 3, expected a valid string"),
        ({"structure": None}, "does not say the structure of its front end: copy it again, or train again"),
        ({"structure": [1]}, "front_end.structure"),
        ({"family": {}}, "front_end.family is {}, expected a valid string"),
    ],
)
def test_a_damaged_record_of_the_front_end(changes, said, tmp_path):
    config = tuned(small_front_end(tmp_path / "ssl", "hubert"), "all")
    model = build_model(config)
    save_run(tmp_path, model, config, record=model)
    run = json.loads((tmp_path / "args.json").read_text())
    run["front_end"] |= changes
    (tmp_path / "args.json").write_text(json.dumps(run))
    with pytest.raises(InputError) as caught:
        load_model(tmp_path, Config())
    assert said in str(caught.value)


def test_a_model_with_a_frozen_front_end_may_be_tuned_further(tmp_path):
    path = small_front_end(tmp_path / "ssl", "hubert")
    frozen = tuned(path, "none")
    model = build_model(frozen)
    save_run(tmp_path / "frozen", model, frozen, record=model)
    for choice in CHOICES:
        config = tuned(path, choice)
        following = build_model(config)
        start_from(tmp_path / "frozen", following, config, CLASSES)
        embedding = "w2vaasist.embedding.weight"
        assert torch.equal(following.state_dict()[embedding], model.state_dict()[embedding])
    other = tuned(save_model(random_model("hubert", seed=1), tmp_path / "other"), "lora")
    with pytest.raises(InputError, match="trained on other pretrained weights"):
        start_from(tmp_path / "frozen", build_model(other), other, CLASSES)
    config = tuned(path, "lora")
    lora = learn(build_model(config), config)
    save_run(tmp_path / "lora", lora, config, record=lora)
    again = build_model(config)
    start_from(tmp_path / "lora", again, config, CLASSES)
    name = next(name for name in lora.state_dict() if ".lora_B." in name)
    assert torch.equal(again.state_dict()[name], lora.state_dict()[name])
    config = tuned(path, "last:1")
    save_run(tmp_path / "last", build_model(config), config)
    with pytest.raises(InputError) as caught:
        start_from(tmp_path / "last", model, frozen, CLASSES)
    assert str(caught.value) == f"{tmp_path / 'last' / CHECKPOINT} was trained with --finetune last:1: give the same"
    with pytest.raises(InputError) as caught:
        start_from(tmp_path / "lora", build_model(config), config, CLASSES)
    path = tmp_path / "lora" / CHECKPOINT
    assert str(caught.value) == f"{path} holds the weights of --finetune lora, not of last:1: pass --finetune lora"
    save_run(tmp_path / "bare", lora)
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "bare", frozen)
    path = tmp_path / "bare" / CHECKPOINT
    assert str(caught.value) == f"{path} holds the weights of --finetune lora, not of none: pass --finetune lora"


@pytest.mark.parametrize("choice", ["last:0", "last:", "last:x", "lora:x", "some"])
def test_an_unknown_choice_is_one_line(choice, capsys):
    with pytest.raises(SystemExit) as ended:
        main_train.main(["--finetune", choice])
    assert ended.value.code == 2
    said = f"argument --finetune: {choice} is not known: expected none, last:N with N from 1, all or lora"
    assert capsys.readouterr().err.splitlines()[-1].endswith(said)


def test_flags_that_do_not_fit_are_one_line(tmp_path):
    tiny = tuned("tiny-random", "lora")
    has_none = "tiny-random has no transformer layers up to the hidden state that is used: give a larger --ssl_layer,"
    for config, act, said in (
        (
            replace(tiny, finetune="last:99", ssl_layer=(2, 5)),
            configured_front_end,
            "--finetune last:99: tiny-random has 5 layers up to hidden state 5: give last:1 to last:5",
        ),
        (replace(tiny, ssl_layer=0), configured_front_end, f"--finetune lora: {has_none} or --finetune all"),
        (
            replace(tiny, lora_rank=65),
            configured_front_end,
            "--lora_rank 65: the layers of tiny-random have a width of 64, and a rank is far smaller, such as 8",
        ),
        (
            replace(tiny, model="mellcnn"),
            check_fine_tuning,
            "--finetune is only for --model W2VAASIST, not for mellcnn: leave it out",
        ),
        (
            replace(tiny, finetune="none", front_end_lr=1e-4),
            check_fine_tuning,
            "--front_end_lr has no effect on a frozen front end: leave it out, or give --finetune",
        ),
        (
            replace(tiny, finetune="none", gradient_checkpointing=True),
            check_fine_tuning,
            "--gradient_checkpointing has no effect on a frozen front end: leave it out, or give --finetune",
        ),
        (
            replace(tiny, finetune="last:1", lora_rank=4),
            check_fine_tuning,
            "--lora_rank is only for --finetune lora, not for last:1: leave it out",
        ),
        *(
            (
                replace(tiny, finetune=choice, cache_features=tmp_path),
                check_cacheable,
                f"--cache_features {tmp_path}: with --finetune {choice} the front end changes, and a cache keeps the"
                " output of a frozen one: leave out one of the two",
            )
            for choice in CHOICES
        ),
    ):
        with pytest.raises(InputError) as caught:
            act(config)
        assert str(caught.value) == said
