"""Every choice composes, every number of a piece is an override, every objective goes with every set of penalties."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.check import RESERVED, check
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate, locate, signature_parameters
from saddlepoint.error import Mistake

GROUPS = catalogue.groups()
PENALTIES = ["[]", "[r1]", "[r1,r2]", "[gradient_penalty]"]
PLACES = {  # how a choice that is no default is said so that it makes sense alone
    "extractor": "+extractor@evaluation.extractor={}",
    "schedule": "+schedule@optimizer.generator.lr={}",
    "layer": "+layer@architecture.discriminator.neck={}",
    "layer/log_sum_exp": "+layer@architecture.discriminator.readout={}",
    "layer/virtual_batch_norm": "+layer@architecture.generator.norm={}",
    "layer/pool": "+layer@game.makers.pool={}",
    "layer/adaptive_augment": "+layer@game.makers.augment={}",
    "layer/hide": "+layer@game.makers.hide={}",
    "layer/paste": "+layer@game.makers.paste={}",
    "layer/concatenation": "+layer@game.makers.join={}",
    "layer/conditional_batch_norm": "+layer@architecture.generator.norm={}",
    "layer/projection": "+layer@architecture.discriminator.readout={}",
    "prior/box_mask": "+prior@game.draws.hole={}",
    "layer/weight_norm": "+layer@architecture.discriminator.norm={}",
}
NEEDS = {  # what a choice leaves to say
    "architecture/linear_gaussian": ["game=vae", "regularizer=[kl,reconstruction]"],
    "game/vae": ["architecture=linear_gaussian", "regularizer=[kl,reconstruction]"],
    "data/image_folder": ["data.shape=[3,32,32]"],
    "data/audio_folder": ["data.shape=[1,64]", "data.rate=8000", "data.bits=16"],
    "data/text_lines": ["data.shape=[8,3]", "data.vocabulary=['',a,b]"],
    "regularizer/kl": [
        "+game.players.encoder={_target_: saddlepoint.game.player.Player, network: ${architecture.generator}, "
        "optimizer: ${optimizer.generator}, objective: null, regularizers: ${regularizer.encoder}}"
    ],
    "schedule/constant": ["optimizer.generator.lr.value=1e-3"],
    "schedule/step": ["optimizer.generator.lr.value=1e-3", "optimizer.generator.lr.milestones=[1000]"],
    "schedule/linear": ["optimizer.generator.lr.start=1e-3", "optimizer.generator.lr.end=0"],
    "schedule/cosine": ["optimizer.generator.lr.start=1e-3", "optimizer.generator.lr.end=0"],
}
OTHERWISE = {  # where a choice, by its purpose, gives a piece another value than the code does
    "game/conditional": {"conditions"},
    "game/inpainting": {"conditions"},
    "game/adaptive_augment": {"low"},  # of numbers on [0, 1)
    "extractor/nearest-b": {"second"},
    "extractor/trained-b": {"seed"},
}
CHOICES = [f"{group}/{name}" for group in GROUPS for name in catalogue.option_names(group)]

# arguments that no yaml gives: what the commands hand over when they build, and where tensors live
HANDED_OVER = {
    "callback": {"run", "evaluator", "selector", "console", "average", "batch_norm", "state"},
    "logger": {"run", "config", "log"},
    "optimizer": {"params"},
    "extractor": {"data", "shape", "modality", "cache", "log", "progress"},
    "data/audio_folder": {"flip"},  # images alone are mirrored, and it is refused elsewhere
    "data/text_lines": {"flip"},
}
PLACEMENT = {"device", "dtype"}


def words(choice: str) -> list[str]:
    group, _, name = choice.partition("/")
    return [PLACES.get(choice, PLACES.get(group, f"{group}={{}}")).format(name), *NEEDS.get(choice, [])]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_config_file_composes_and_passes_the_check(choice: str) -> None:
    config = compose(words(choice))
    check(config)
    group, _, name = choice.partition("/")
    chosen = [names for key, names in config.choice.items() if key.split("@")[0] == group and names != []]
    assert chosen[-1:] in ([name], [[name]])


@pytest.mark.parametrize(("objective", "penalties"), list(product(catalogue.option_names("objective"), PENALTIES)))
def test_every_objective_composes_with_every_set_of_penalties(objective: str, penalties: str) -> None:
    config = compose([f"objective={objective}", f"regularizer={penalties}"])
    check(config)
    discriminator = config.game.players.discriminator
    assert discriminator.objective._target_ == f"saddlepoint.objective.{objective}.discriminator"
    assert f"[{','.join(discriminator.regularizers)}]" == penalties


# ----------------------------------------------------------------------------- every argument stands in the yaml


def nodes(choice: str) -> Iterator[tuple[str, DictConfig]]:
    """Each node with a `_target_` that a yaml writes, as (its place in the yaml, node)."""
    path = catalogue.conf_folder() / f"{choice}.yaml"
    whole: Any = OmegaConf.load(path)
    if "defaults" in whole:
        whole = compose(words(choice)).get(choice.partition("/")[0])  # a protocol is no node: it sets others

    def walk(node: Any, place: str) -> Iterator[tuple[str, DictConfig]]:
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            if "_target_" in node:
                yield place, node
            for name in node:
                yield from walk(node._get_node(name), f"{place}.{name}".strip("."))

    return walk(whole, "")


@pytest.mark.parametrize("choice", CHOICES)
def test_a_yaml_lists_every_argument_so_that_each_is_an_override(choice: str) -> None:
    """Whatever can be given by name stands there; what has no default may be left to the caller of a partial."""
    handed = HANDED_OVER.get(choice.partition("/")[0], set()) | HANDED_OVER.get(choice, set()) | PLACEMENT
    for place, node in nodes(choice):
        known = signature_parameters(locate(choice, node._target_))
        if known is None:  # it collects whatever it is given
            continue
        expected = {name for name, p in known.items() if p.default is not p.empty or not node.get("_partial_")}
        listed = {str(name) for name in node} - RESERVED
        assert listed == expected - (handed - listed), f"{place}: {node._target_}"


@pytest.mark.parametrize("choice", [c for c in CHOICES if c.partition("/")[0] not in ("optimizer", "logger")])
def test_defaults_in_yaml_equal_those_in_code(choice: str) -> None:
    """Of our own classes, where both give a number, a word or a list.

    A yaml may fill in what the code leaves open (null), or what a parent class has for all its heirs.
    """
    for place, node in nodes(choice):
        if not node._target_.startswith("saddlepoint."):
            continue
        target = locate(choice, node._target_)
        own = inspect.signature(target).parameters
        if inspect.isclass(target) and "__init__" not in vars(target):
            continue
        for name in set(map(str, node)) - OTHERWISE.get(choice, set()):
            raw = node._get_node(name)
            default = own[name].default if name in own else None
            if (
                default in (None, inspect.Parameter.empty)
                or raw._is_interpolation()
                or OmegaConf.is_missing(node, name)
                or (choice.startswith("game/") and name in ("conditions", "samples"))  # a wiring is there to say these
            ):
                continue
            value = OmegaConf.to_container(node[name]) if OmegaConf.is_config(node[name]) else node[name]
            if value is not None and not isinstance(value, dict):
                assert value == (list(default) if isinstance(default, tuple) else default), f"{place}.{name}"


def test_a_game_is_built_from_the_composed_config() -> None:
    game = instantiate(compose(["objective=relativistic", "regularizer=[r1,r2]", "prior.z.dim=3"]).game, "game")
    assert list(game.players["discriminator"].terms) == ["r1", "r2"]
    assert game.prior.total_dim == 3
    assert game.players["generator"].network is not game.players["discriminator"].network


# ------------------------------------------------------------------------------------------------ a new piece


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new objective: one file and one yaml, and no other edit."""
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    (tmp_path / "conf" / "objective" / "ramp.yaml").write_text(
        "discriminator: {_target_: ramp_loss.discriminator, _partial_: true, margin: 1.0}\n"
        "generator: {_target_: ramp_loss.generator, _partial_: true}\n"
    )
    (tmp_path / "ramp_loss.py").write_text(
        "def discriminator(real, fake, margin=1.0):\n    return (fake - real + margin).clamp(0).mean()\n\n"
        "def generator(fake):\n    return -fake.mean()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "conf"


@pytest.mark.parametrize("penalties", PENALTIES)
def test_a_new_objective_needs_one_file_and_one_yaml(own: Path, penalties: str) -> None:
    words = ["objective=ramp", "objective.discriminator.margin=2", f"regularizer={penalties}"]
    config = compose([*words, "allow_target=[ramp_loss]"], own)
    check(config)
    game = instantiate(config.game, "game")
    assert game.players["discriminator"].objective.keywords == {"margin": 2}
    assert game.players["discriminator"].adversarial_terms[0].sides == {"real": "real", "fake": "fake"}


def test_a_key_that_a_new_objective_does_not_take_is_refused(own: Path) -> None:
    with pytest.raises(Mistake, match=r"Did you mean margin\?"):
        check(compose(["objective=ramp", "+objective.discriminator.margn=2", "allow_target=[ramp_loss]"], own))
