"""Every config file composes, every argument is an override, every objective works with every set of penalties."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import catalogue
from saddlepoint.config.check import HYDRA_KEYS, check
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import instantiate, locate, signature_parameters
from saddlepoint.error import Mistake

GROUPS = catalogue.groups()
PENALTIES = ["[]", "[r1]", "[r1,r2]", "[gradient_penalty]"]
OVERRIDES = {  # overrides that select a config file of a group without a default
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
    "layer/self_attention": "+layer@architecture.generator.norm={}",
    "layer/pixel_norm": "+layer@architecture.generator.norm={}",
    "layer/noise_injection": "+layer@architecture.generator.norm={}",
    "layer/diff_augment": "+layer@game.makers.augment={}",
    "layer/spectral_norm": "+layer@game.players.discriminator.network={}",
}
REQUIRED = {  # further overrides that a config file requires
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
DIFFERENT = {  # arguments whose value in a config file differs on purpose from the default in code
    "game/conditional": {"conditions"},
    "game/inpainting": {"conditions"},
    "game/diff_augment": {"low"},
    "game/adaptive_augment": {"low"},  # of numbers on [0, 1)
    "extractor/nearest-b": {"second"},
    "extractor/trained-b": {"seed"},
}
CONFIG_FILES = [f"{group}/{name}" for group in GROUPS for name in catalogue.option_names(group)]

# arguments in no yaml: those passed by the commands, and devices and dtypes of tensors
PASSED = {
    "callback": {"run", "evaluator", "selector", "console", "average", "batch_norm", "state"},
    "logger": {"run", "config", "log"},
    "optimizer": {"params"},
    "extractor": {"data", "shape", "modality", "cache", "log", "progress"},
    "data/audio_folder": {"flip"},  # only images can be flipped
    "data/text_lines": {"flip"},
}
PLACEMENT = {"device", "dtype"}


def overrides_for(config_file: str) -> list[str]:
    """Return the overrides that select a config file."""
    group, _, name = config_file.partition("/")
    return [
        OVERRIDES.get(config_file, OVERRIDES.get(group, f"{group}={{}}")).format(name),
        *REQUIRED.get(config_file, []),
    ]


@pytest.mark.parametrize("config_file", CONFIG_FILES)
def test_every_config_file_composes_and_passes_the_check(config_file: str) -> None:
    config = compose(overrides_for(config_file))
    check(config)
    group, _, name = config_file.partition("/")
    chosen = [names for key, names in config.choice.items() if key.split("@")[0] == group and names != []]
    assert chosen[-1:] in ([name], [[name]])


@pytest.mark.parametrize(("objective", "penalties"), list(product(catalogue.option_names("objective"), PENALTIES)))
def test_every_objective_composes_with_every_set_of_penalties(objective: str, penalties: str) -> None:
    config = compose([f"objective={objective}", f"regularizer={penalties}"])
    check(config)
    discriminator = config.game.players.discriminator
    assert discriminator.objective._target_ == f"saddlepoint.objective.{objective}.discriminator"
    assert f"[{','.join(discriminator.regularizers)}]" == penalties


# ---------------------------------------------------------------------------------------------- yaml and signatures


def nodes(config_file: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield each node of a yaml with a `_target_`, as (its key in the yaml, node)."""
    path = catalogue.conf_folder() / f"{config_file}.yaml"
    config: Any = OmegaConf.load(path)
    if "defaults" in config:
        group = config_file.partition("/")[0]
        config = compose(overrides_for(config_file)).get(group)  # None for a protocol

    def walk(node: Any, key: str) -> Iterator[tuple[str, DictConfig]]:
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            if "_target_" in node:
                yield key, node
            for name in node:
                yield from walk(node._get_node(name), f"{key}.{name}".strip("."))

    return walk(config, "")


@pytest.mark.parametrize("config_file", CONFIG_FILES)
def test_a_yaml_lists_every_argument_so_that_each_is_an_override(config_file: str) -> None:
    """Every named argument is listed; those without a default may be left to the caller of a partial."""
    passed = PASSED.get(config_file.partition("/")[0], set()) | PASSED.get(config_file, set()) | PLACEMENT
    for key, node in nodes(config_file):
        known = signature_parameters(locate(config_file, node._target_))
        if known is None:  # it accepts any argument
            continue
        expected = {name for name, p in known.items() if p.default is not p.empty or not node.get("_partial_")}
        listed = {str(name) for name in node} - HYDRA_KEYS
        assert listed == expected - (passed - listed), f"{key}: {node._target_}"


@pytest.mark.parametrize("config_file", [c for c in CONFIG_FILES if c.partition("/")[0] not in ("optimizer", "logger")])
def test_defaults_in_yaml_equal_those_in_code(config_file: str) -> None:
    """For classes of this package, if both give a number, a string or a list.

    A yaml may set what the code leaves open (null) or inherits from a parent class.
    """
    for key, node in nodes(config_file):
        if not node._target_.startswith("saddlepoint."):
            continue
        target = locate(config_file, node._target_)
        signature = inspect.signature(target).parameters
        if inspect.isclass(target) and "__init__" not in vars(target):
            continue
        for name in set(map(str, node)) - DIFFERENT.get(config_file, set()):
            raw = node._get_node(name)
            default = signature[name].default if name in signature else None
            if (
                default in (None, inspect.Parameter.empty)
                or raw._is_interpolation()
                or OmegaConf.is_missing(node, name)
                or (config_file.startswith("game/") and name in ("conditions", "samples"))  # a game's yaml sets these
            ):
                continue
            value = OmegaConf.to_container(node[name]) if OmegaConf.is_config(node[name]) else node[name]
            if value is not None and not isinstance(value, dict):
                assert value == (list(default) if isinstance(default, tuple) else default), f"{key}.{name}"


def test_a_game_is_built_from_the_composed_config() -> None:
    game = instantiate(compose(["objective=relativistic", "regularizer=[r1,r2]", "prior.z.dim=3"]).game, "game")
    assert list(game.players["discriminator"].terms) == ["r1", "r2"]
    assert game.prior.total_dim == 3
    assert game.players["generator"].network is not game.players["discriminator"].network


# ---------------------------------------------------------------------------------------- a user-defined objective


@pytest.fixture
def user_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user-defined objective: one Python file and one yaml."""
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
def test_a_user_defined_objective_needs_one_file_and_one_yaml(user_conf: Path, penalties: str) -> None:
    overrides = ["objective=ramp", "objective.discriminator.margin=2", f"regularizer={penalties}"]
    config = compose([*overrides, "allow_target=[ramp_loss]"], user_conf)
    check(config)
    game = instantiate(config.game, "game")
    assert game.players["discriminator"].objective.keywords == {"margin": 2}
    assert game.players["discriminator"].adversarial_terms[0].sides == {"real": "real", "fake": "fake"}


def test_an_unknown_key_of_a_user_defined_objective_is_refused(user_conf: Path) -> None:
    with pytest.raises(Mistake, match=r"Did you mean margin\?"):
        check(compose(["objective=ramp", "+objective.discriminator.margn=2", "allow_target=[ramp_loss]"], user_conf))
