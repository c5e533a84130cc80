"""Every config file composes, every argument is an override, every objective plays with every regularizer and norm."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from play import BY_CLASS
from torch import nn

from saddlepoint.architecture import mlp
from saddlepoint.config import catalogue
from saddlepoint.config.check import HYDRA_KEYS, check
from saddlepoint.config.compose import compose
from saddlepoint.config.instantiate import import_target, instantiate, signature_parameters
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import check_terms_and_makers
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.initialisation import run_data_dependent_init
from saddlepoint.game.player import Player
from saddlepoint.layer.spectral_norm import SpectralNorm
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.regularizer import Regularizer
from saddlepoint.turn import Batch

GROUPS = catalogue.groups()
PENALTIES = ["[]", "[r1]", "[r1,r2]", "[gradient_penalty]"]
OVERRIDES = {  # overrides that select a config file of a group without a default
    "extractor": "+extractor@evaluation.extractor={}",
    "schedule": "+schedule@optimizer.generator.lr={}",
    "layer": "+layer@architecture.discriminator.neck={}",
    "layer/log_sum_exp": "+layer@architecture.discriminator.readout={}",
    "layer/instance_norm": "+layer@architecture.generator.norm={}",
    "layer/virtual_batch_norm": "+layer@architecture.generator.norm={}",
    "layer/pool": "+layer@game.makers.pool={}",
    "layer/adaptive_augment": "+layer@game.makers.augment={}",
    "layer/hide": "+layer@game.makers.hide={}",
    "layer/paste": "+layer@game.makers.paste={}",
    "layer/concatenation": "+layer@game.makers.join={}",
    "layer/conditional_batch_norm": "+layer@architecture.generator.norm={}",
    "layer/projection": "+layer@architecture.discriminator.readout={}",
    "prior/box_mask": "+prior@game.draws.hole={}",
    "prior/stroke_mask": "+prior@game.draws.hole={}",
    "layer/weight_norm": "+layer@architecture.discriminator.norm={}",
    "layer/self_attention": "+layer@architecture.generator.norm={}",
    "layer/pixel_norm": "+layer@architecture.generator.norm={}",
    "layer/layer_norm": "+layer@architecture.discriminator.norm={}",
    "layer/noise_injection": "+layer@architecture.generator.norm={}",
    "layer/diff_augment": "+layer@game.makers.augment={}",
    "layer/pseudo_augment": "+layer@game.makers.pseudo={}",
    "layer/latent_noise": "+layer@game.makers.nearby={}",
    "layer/dequantise": "+layer@game.makers.dequantise={}",
    "layer/binarise": "+layer@game.makers.binarise={}",
    "layer/spectral_norm": "+layer@game.players.discriminator.network={}",
    "layer/weight_clip": "+layer@game.players.discriminator.network={}",
    "layer/log_mel": "+layer@game.makers.log_mel={}",
    "layer/packing": "+layer@game.makers.pack={}",
    "layer/averages": "+layer@game.players.generator.average={}",
    "layer/top_k": "+layer@game.players.generator.objective={}",
}
LIKELIHOOD = [
    "game=likelihood",
    "architecture=recurrent_generator",
    "prior=[gumbel]",
    "regularizer=[negative_log_likelihood]",
]
CYCLE = ["regularizer=[cycle_consistency,identity]"]
REQUIRED = {  # further overrides that a config file requires
    "architecture/linear_gaussian": ["game=vae", "regularizer=[kl,reconstruction]"],
    "architecture/patch": [
        "+architecture.generator={_target_: saddlepoint.architecture.mlp.Generator, latent: 100, shape: ${data.shape}}"
    ],
    "architecture/recurrent_generator": LIKELIHOOD,
    "game/likelihood": LIKELIHOOD,
    "game/cycle": CYCLE,
    "game/vae_gan": ["architecture=conv_autoencoder", "regularizer=[kl,feature_reconstruction]"],
    "game/bigan": ["architecture=conv_autoencoder"],
    "game/binary_vae": ["architecture=vae_mlp", "regularizer=[kl,bernoulli_likelihood]"],
    "regularizer/cycle_consistency": ["game=cycle"],
    "regularizer/identity": ["game=cycle"],
    "regularizer/gaussian_likelihood": ["game=vae", "architecture=conv_vae"],
    "regularizer/bernoulli_likelihood": ["game=binary_vae", "architecture=vae_mlp"],
    "regularizer/feature_reconstruction": ["game=vae_gan", "architecture=conv_autoencoder"],
    "architecture/conv_autoencoder": ["game=bigan"],
    "architecture/conv_vae": ["game=vae", "regularizer=[kl,gaussian_likelihood]"],
    "architecture/vae_mlp": ["game=binary_vae", "regularizer=[kl,bernoulli_likelihood]"],
    "game/cycle_in_turn": CYCLE,
    "prior/gumbel": ["architecture=recurrent"],
    "game/vae": ["architecture=linear_gaussian", "regularizer=[kl,reconstruction]"],
    "data/image_folder": ["data.shape=[3,32,32]"],
    "data/paired_images": ["data.shape=[3,32,32]", "data.source_half=left"],
    "data/unpaired_images": ["data.shape=[3,32,32]", "data.source=other"],
    "data/audio_folder": ["data.shape=[1,64]", "data.rate=8000", "data.bits=16"],
    "data/text_lines": ["data.shape=[8,3]", "data.vocabulary=['',a,b]"],
    "game/vocoder": ["data=audio_folder", "data.shape=[1,1024]", "data.rate=8000", "data.bits=16"],
    "regularizer/kl": [
        "+game.players.encoder={_target_: saddlepoint.game.player.Player, network: ${architecture.generator}, "
        "optimizer: ${optimizer.generator}, objective: null, regularizers: ${regularizer.encoder}}"
    ],
    "schedule/constant": ["optimizer.generator.lr.value=1e-3"],
    "schedule/step": ["optimizer.generator.lr.value=1e-3", "optimizer.generator.lr.milestones=[1000]"],
    "schedule/linear": ["optimizer.generator.lr.start=1e-3", "optimizer.generator.lr.end=0"],
    "schedule/cosine": ["optimizer.generator.lr.start=1e-3", "optimizer.generator.lr.end=0"],
    "schedule/exponential": ["optimizer.generator.lr.start=1e-3", "optimizer.generator.lr.end=1e-5"],
}
DIFFERENT = {  # arguments whose value in a config file differs on purpose from the default in code
    "regularizer/gaussian_likelihood": {"side", "target", "absolute"},
    "regularizer/identity": {"side", "target", "weight"},
    "regularizer/multi_hinge": {"sides"},  # the generator's are fakes only
    "data/oracle": {"shape"},  # of its length and symbols
    "game/averages": {"half_life"},
    "game/style_mixing": {"low"},  # of numbers on [0, 1)
    "game/conditional": {"conditions"},
    "game/inpainting": {"conditions"},
    "game/translation": {"conditions"},
    "game/cycle": {"conditions", "seed"},  # of the second pool
    "game/cycle_in_turn": {"conditions", "seed"},
    "game/binary_vae": {"low"},  # of numbers on [0, 1)
    "game/unconditional_translation": {"conditions"},
    "game/colourisation": {"conditions"},
    "game/super_resolution": {"conditions"},
    "game/diff_augment": {"low"},
    "game/adaptive_augment": {"low"},  # of numbers on [0, 1)
    "game/adaptive_pseudo_augment": {"low"},
    "regularizer/balanced_consistency": {"side", "changed"},
    "regularizer/latent_consistency": {"side", "changed", "weight", "target", "absolute"},
    "game/phase_shuffle": {"low"},  # of numbers on [0, 1)
    "game/vocoder": {"conditions"},
    "game/consistency": {"low", "start", "speed", "brightness", "contrast"},
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
    "data/spoken_digits": {"flip"},
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


@cache
def composed(config_file: str) -> DictConfig:
    """The config with a config file, composed once for all tests of this module."""
    return compose(overrides_for(config_file))


@pytest.mark.parametrize("config_file", CONFIG_FILES)
def test_every_config_file_composes_and_passes_the_check(config_file: str) -> None:
    config = check(copy.deepcopy(composed(config_file)))
    group, _, name = config_file.partition("/")
    chosen = [names for key, names in config.choice.items() if key.split("@")[0] == group and names != []]
    assert chosen[-1:] in ([name], [[name]])


# ---------------------------------------------------------------------------------------------- yaml and signatures


def nodes(config_file: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield each node of a yaml with a `_target_`, as (its key in the yaml, node)."""
    path = catalogue.conf_folder() / f"{config_file}.yaml"
    config: Any = OmegaConf.load(path)
    if "defaults" in config:
        group = config_file.partition("/")[0]
        config = composed(config_file).get(group)  # None for a protocol

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
        known = signature_parameters(import_target(config_file, node._target_))
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
        target = import_target(config_file, node._target_)
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


# ------------------------------------------------------------------------ objective x regularizer x normalisation

NORMS = {  # of both players, or of G only: layers that need a condition or a reference batch of latents
    "none": (None, None),
    "batch_norm": (nn.BatchNorm1d, nn.BatchNorm1d),
    "layer_norm": ("layer_norm", "layer_norm"),
    "weight_norm": ("weight_norm", "weight_norm"),
    "pixel_norm": ("pixel_norm", "pixel_norm"),
    "conditional_batch_norm": (None, "conditional_batch_norm"),
    "virtual_batch_norm": (None, "virtual_batch_norm"),
    "spectral_norm": (None, None),  # of the whole networks
}
OF_MAPS = {"instance_norm"}  # over positions, which these networks lack; in tests/architecture/test_translators.py
# regularizers of games with further players or sides, beside another term and an objective of weight 0, or of w
ELSEWHERE = {"kl", "balanced_consistency", "latent_consistency", "gradient_ratio", "path_length"}
ELSEWHERE |= {"negative_log_likelihood", "policy_gradient"}  # of tokens
ELSEWHERE |= {"bernoulli_likelihood", "feature_reconstruction", "gaussian_likelihood"}
ELSEWHERE |= {"cycle_consistency", "identity"}
ELSEWHERE |= {"importance_weighting"}  # of a batch with weights
SIDES = {**BY_CLASS, "augmented_real": BY_CLASS["real"]}  # the latter only for the term `consistency`
OF_TWO_PLAYERS = [name for name in catalogue.option_names("regularizer") if name not in ELSEWHERE]
PER_SAMPLE = {"r1", "r2", "approximated_r1", "approximated_r2", "gradient_penalty", "zero_centered_gradient_penalty"}
PER_SAMPLE |= {"dragan"}
REFUSED = {"batch_norm": PER_SAMPLE}  # slopes per sample


HEADS = {"classification": {"label": 8}, "multi_hinge": {"label": 9}, "mutual_information": {"category": 4}}


@cache
def norm(name: Any) -> Any:
    """The class of a normalisation, or the partial that the yaml of a layer defines."""
    if not isinstance(name, str):
        return name
    key = "architecture.generator.norm"
    return instantiate(OmegaConf.select(compose([f"+layer@{key}={name}"]), key), key)


@cache
def components(objective: str) -> dict[str, tuple[Any, dict[str, Regularizer]]]:
    """The objective and the terms of all regularizers, by player, from one config."""
    regularizers = ",".join([*OF_TWO_PLAYERS, "path_length"])
    config = compose([f"objective={objective}", f"regularizer=[{regularizers}]", "data=gaussians"])
    check(config)
    players = {name: f"game.players.{name}" for name in config.game.players}
    assert config.objective.discriminator._target_ == f"saddlepoint.objective.{objective}.discriminator"
    return {
        name: tuple(
            instantiate(OmegaConf.select(config, f"{key}.{part}"), f"{key}.{part}")
            for part in ("objective", "regularizers")
        )
        for name, key in players.items()
    }


def small_game(objective: str, regularizers: Sequence[str], normalisation: str) -> Game:
    """The two-player game with tiny perceptrons, some regularizers and one normalisation."""
    parts = {"z": Normal(3), **({"category": Categorical(4)} if "mutual_information" in regularizers else {})}
    of_d, of_g = map(norm, NORMS[normalisation])
    heads = {head: size for name in regularizers for head, size in HEADS.get(name, {}).items()}
    networks = {
        "discriminator": mlp.Discriminator([2], [6], of_d, heads=heads or None),
        "generator": mlp.Generator(sum(part.dim for part in parts.values()), [2], [6], of_g),
    }
    players = {}
    for name, network in networks.items():
        loss, terms = components(objective)[name]
        some_terms = {key: copy.deepcopy(term) for key, term in terms.items() if key in regularizers}
        network = SpectralNorm(network) if normalisation == "spectral_norm" else network
        players[name] = Player(network, partial(torch.optim.SGD, lr=0.01), loss, some_terms)
    assert {term for player in players.values() for term in player.terms} == set(regularizers)
    return Game(players, Prior(**parts), sides=SIDES, conditions="labels", classes={"y": 8})


class Weights:
    """Records the weights of every player before each turn."""

    def __init__(self) -> None:
        self.turns: list[tuple[list[str], dict[str, torch.Tensor]]] = []

    def before_turn(self, game: Game, names: Sequence[str], batch: Batch) -> None:
        weights = {
            name: torch.cat([p.detach().flatten() for p in player.parameters()])
            for name, player in game.players.items()
        }
        self.turns.append((list(names), weights))

    def before_step(self, game: Game, names: Sequence[str]) -> None:
        pass


def check_one_round(game: Game, batch: Batch, what: str) -> None:
    """Play a round: each player moves in its own turn, and only then, and stays finite."""
    game._optimizers = {name: player.build_optimizer() for name, player in game.players.items()}
    game._trainable_parameters = {name: list(player.network.parameters()) for name, player in game.players.items()}
    weights = Weights()
    game.observers = [weights]
    game.round(batch)
    weights.before_turn(game, [], batch)
    assert [names for names, _ in weights.turns] == [["discriminator"], ["generator"], []], what
    for (names, before), (_, after) in pairwise(weights.turns):
        moved = [name for name in after if not torch.equal(before[name], after[name])]
        assert moved == names, what
    assert all(value.isfinite().all() for value in weights.turns[-1][1].values()), what


def one_batch() -> Batch:
    stream = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 8, 2, generator=stream), torch.arange(8)
    return Batch(x[0], y, (x[1], y))


# regularizers that share a game: a round evaluates each, as a term of its own; the last has a head of another size
TOGETHER: list[list[str]] = [[], [name for name in OF_TWO_PLAYERS if name != "multi_hinge"], ["multi_hinge"]]


@pytest.mark.parametrize("objective", catalogue.option_names("objective"))
def test_every_objective_plays_a_round_with_every_regularizer_and_normalisation_and_moves_only_the_mover(
    objective: str,
) -> None:
    torch.manual_seed(0)
    batch = one_batch()
    for together, normalisation in product(TOGETHER, NORMS):
        regularizers = [name for name in together if name not in REFUSED.get(normalisation, ())]
        game, what = small_game(objective, regularizers, normalisation), f"{objective}, {regularizers}, {normalisation}"
        run_data_dependent_init(game, [batch])
        check_one_round(game, batch, what)
        terms = {term for losses, _ in game.last_losses.values() for term in losses}
        assert terms == {"adversarial", *regularizers}, what


@pytest.mark.parametrize("regularizer", OF_TWO_PLAYERS)
def test_every_regularizer_alone_plays_a_round_with_every_normalisation(regularizer: str) -> None:
    """Under one objective; above, regularizers share a game."""
    torch.manual_seed(0)
    batch = one_batch()
    for normalisation in NORMS:
        if regularizer not in REFUSED.get(normalisation, ()):
            game = small_game("hinge", [regularizer], normalisation)
            run_data_dependent_init(game, [batch])
            check_one_round(game, batch, f"{regularizer}, {normalisation}")


@pytest.mark.parametrize("normalisation", NORMS)
def test_exactly_the_terms_of_a_slope_per_sample_are_refused_with_a_normalisation_over_the_batch(
    normalisation: str,
) -> None:
    refused = {}
    # each alone where some are refused, since a dry run stops at the first
    for regularizers in [[name] for name in OF_TWO_PLAYERS] if normalisation in REFUSED else TOGETHER:
        game = small_game("hinge", regularizers, normalisation)
        try:
            check_terms_and_makers(game)
            dry_run(game, one_batch())
        except Mistake as mistake:
            refused[",".join(regularizers)] = str(mistake)
    assert set(refused) == REFUSED.get(normalisation, set())
    assert all(f".{regularizer}" in message for regularizer, message in refused.items())


def test_every_normalisation_of_the_catalogue_is_in_the_table() -> None:
    assert {name for name in catalogue.option_names("layer") if name.endswith("_norm")} <= {*NORMS, *OF_MAPS}


# ------------------------------------------------------------------------------ large network x objective x penalties

WIDTH, WIDTHS = (
    [f"architecture.{player}.{key}" for player in ("discriminator", "generator")]
    for key in ("width=8", "widths=[8,8,8,8]")
)
SPECTRAL = [  # in both networks
    "+layer@game.players.discriminator.network=spectral_norm",
    "+layer@game.players.generator.network=spectral_norm",
    "game.players.generator.network.network=${architecture.generator}",
]
LARGE = {  # architectures for 32 x 32, at a small width
    "sngan": [*WIDTH, "+layer@game.players.discriminator.network=spectral_norm"],
    "wgan_gp_resnet": WIDTH,
    "sagan": [*WIDTH, "game=projection", *SPECTRAL],
    "biggan": [*WIDTH, "game=conditional", "+layer@architecture.discriminator.readout=projection", *SPECTRAL],
    "r3gan": [*WIDTHS, "architecture.discriminator.blocks=1", "architecture.generator.blocks=1"],
    "style": [*WIDTH, "architecture.generator.depth=2"],
}
# those of a slope of D per sample, and of the weights
ALLOWED = PER_SAMPLE | {"orthogonal", "historical_averaging", "lecam", "feature_matching"}


@pytest.mark.parametrize("architecture", LARGE)
def test_every_large_network_plays_a_round_under_every_objective_with_the_penalties_that_it_allows(
    architecture: str,
) -> None:
    """All penalties at once: each is a term of its own, so a round evaluates every one on these networks.

    The objectives play one after another with the same networks, each from where the previous one left them.
    """
    config = check(
        compose([f"architecture={architecture}", "data=cifar10_jpeg", "prior.z.dim=4", *LARGE[architecture]])
    )
    torch.manual_seed(0)
    networks = {
        name: instantiate(player.network, f"game.players.{name}.network")
        for name, player in config.game.players.items()
    }
    by_class = {"sides": BY_CLASS, "conditions": "labels", "classes": {"y": 10}}
    conditional = by_class if config.game.conditions == "labels" else {}
    batch = Batch(torch.rand(3, 3, 32, 32) * 2 - 1, torch.arange(3) if conditional else None)
    names = ALLOWED | ({"path_length"} if architecture == "style" else set())
    for objective in catalogue.option_names("objective"):
        players = {}
        for name, network in networks.items():
            loss = import_target("objective", f"saddlepoint.objective.{objective}.{name}")
            terms = components("hinge")[name][1]
            allowed = {key: copy.deepcopy(term) for key, term in terms.items() if key in names}
            players[name] = Player(network, partial(torch.optim.Adam, lr=1e-4), loss, allowed)
        game = Game(players, Prior(z=Normal(4)), **conditional)
        if objective == "hinge":
            warnings = dry_run(game, batch)  # no penalty is refused
            assert all("slope of the sum" in line and "MinibatchStandardDeviation" in line for line in warnings)
            assert len(warnings) == (len(PER_SAMPLE) if architecture == "style" else 0)
        check_one_round(game, batch, f"{architecture}, {objective}")
        assert {term for losses, _ in game.last_losses.values() for term in losses} == names | {"adversarial"}


# ------------------------------------------------------------------------------------------ architecture x condition

CONDITIONAL = {  # architectures with conditional forms, at a small size
    "mlp": ["data=digits", "architecture.discriminator.widths=[8]", "architecture.generator.widths=[8]"],
    "conv28": ["data=mnist"],
    "dcgan": ["data=cifar10_jpeg", "architecture.discriminator.width=4", "architecture.generator.width=4"],
    "sagan": ["data=cifar10_jpeg", "architecture.discriminator.width=8", "architecture.generator.width=8"],
}
CONDITIONS = {
    "concatenation": ["game=cgan"],
    "projection": ["game=projection"],
    "auxiliary classifier": ["game=acgan"],
    "conditional batch norm": [
        "game=acgan",
        "+layer@architecture.generator.norm=conditional_batch_norm",
        "architecture.generator.condition={}",
    ],
}


@pytest.mark.parametrize(("architecture", "condition"), list(product(CONDITIONAL, CONDITIONS)))
def test_every_architecture_plays_under_every_condition_and_its_samples_depend_on_the_class(
    architecture: str, condition: str
) -> None:
    config = check(compose([f"architecture={architecture}", *CONDITIONAL[architecture], *CONDITIONS[condition]]))
    torch.manual_seed(0)
    game = instantiate(config.game, "game")
    batch = Batch(torch.rand(4, *config.data.shape) * 2 - 1, torch.tensor([0, 1, 0, 1]))
    assert dry_run(game, batch) == []
    check_one_round(game, batch, f"{architecture}, {condition}")
    for player in game.players.values():
        assert ("classification" in player.terms) == ("game=acgan" in CONDITIONS[condition])
    latent = game.latent(3)
    zero, one = (game(latent, {"label": torch.full((3,), y)}, average=False) for y in (0, 1))
    assert not torch.equal(zero, one)


@pytest.mark.parametrize("condition", ["projection", "auxiliary classifier", "concatenation"])
def test_a_condition_on_data_without_classes_is_refused_with_what_to_do(condition: str) -> None:
    with pytest.raises(Mistake, match=r"data\.classes is null: these data have no classes.*game=two_player"):
        compose(["data=digits", "data.classes=null", *CONDITIONS[condition]])
