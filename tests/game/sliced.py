"""Games that several ranks train together, in a module that their processes can import."""

import logging
import os
import warnings
from functools import partial

import pytorch_lightning as pl
import torch
from play import Critic, Maker, Rounds, batches
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import nn

from saddlepoint import ranks
from saddlepoint.game.average import Average
from saddlepoint.game.data_parallel import UnwrappedDDPStrategy
from saddlepoint.game.game import Game
from saddlepoint.game.initialisation import run_data_dependent_init
from saddlepoint.game.player import Player
from saddlepoint.layer.mapping_network import MappingNetwork
from saddlepoint.layer.minibatch_discrimination import MinibatchDiscrimination
from saddlepoint.layer.minibatch_standard_deviation import MinibatchStandardDeviation
from saddlepoint.layer.weight_norm import WeightNorm
from saddlepoint.objective import nonsaturating, relativistic, relativistic_average, wasserstein
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.regularizer.dragan import Dragan
from saddlepoint.regularizer.feature_matching import FeatureMatching
from saddlepoint.regularizer.gradient_penalty import GradientPenalty
from saddlepoint.regularizer.gradient_ratio import GradientRatio
from saddlepoint.regularizer.lecam import LeCam
from saddlepoint.regularizer.r1 import R1
from saddlepoint.turn import Batch

ROUNDS, BATCH = 5, 16


class Trunk(nn.Sequential):
    """The first layers of D."""

    def __init__(self, neck=None):
        super().__init__(nn.Linear(2, 8), nn.LeakyReLU(0.2), *([neck] if neck else []))


def _networks(neck=None, norm=False, weight_norm=False):
    width = neck.features if neck else 8
    maker = Maker(nn.Sequential(nn.Linear(3, 8), *([nn.BatchNorm1d(8)] if norm else []), nn.ReLU(), nn.Linear(8, 2)))
    critic = Critic(Trunk(neck), nn.Linear(width, 1))
    if weight_norm:
        critic.trunk[0] = WeightNorm(8).wrap(critic.trunk[0])
    return maker, critic


def _games():
    """The settings of each game: objective, D's terms, G's terms, D's and G's settings, and the networks."""
    adam = partial(torch.optim.Adam, lr=0.01)
    return {
        "nonsaturating": (nonsaturating, {}, {}, {}, {}),
        "r1": (nonsaturating, {"r1": R1(weight=2.0)}, {}, {}, {}),
        "lazy r1": (nonsaturating, {"r1": R1(weight=2.0, every=2)}, {}, {}, {}),
        "wasserstein + gradient penalty at 5:1": (
            wasserstein, {"gradient_penalty": GradientPenalty(weight=10.0)}, {}, {}, {"every": 5},
        ),
        "relativistic": (relativistic, {}, {}, {}, {}),
        "feature matching": (nonsaturating, {}, {"feature_matching": FeatureMatching(features="trunk")}, {}, {}),
        "relativistic average with minibatch standard deviation": (relativistic_average, {}, {}, {}, {}),
        "lecam with a mapping network": (nonsaturating, {"lecam": LeCam(weight=1.0)}, {}, {}, {}),
        "dragan": (nonsaturating, {"dragan": Dragan()}, {}, {}, {}),
        "gradient ratio": (
            nonsaturating, {},
            {"feature_matching": FeatureMatching("trunk"), "gradient_ratio": GradientRatio("feature_matching")},
            {}, {"weight": 0.0},
        ),
        "minibatch discrimination": (nonsaturating, {}, {}, {}, {}),
        "minibatch discrimination with r1": (nonsaturating, {"r1": R1(weight=1e-3)}, {}, {}, {}),
        "minibatch discrimination with weight norm": (nonsaturating, {}, {}, {}, {}),
        "accumulation 2": (nonsaturating, {}, {}, {"accumulate": 2}, {"accumulate": 2}),
        "two fakes per real": (nonsaturating, {}, {}, {}, {"multiple": 2}),
        "clipped, averaged, adam": (
            nonsaturating, {}, {}, {"clip": 0.1, "optimizer": adam},
            {"optimizer": adam, "average": partial(Average, half_life=64)},
        ),
        "simultaneous": (nonsaturating, {"r1": R1(weight=2.0)}, {}, {}, {}),
    }  # fmt: skip


GAMES = list(_games())


def build_game(name, norm=False):
    """The game of that name, always with the same initial weights."""
    torch.manual_seed(3)
    objective, d_terms, g_terms, d, g = _games()[name]
    neck = MinibatchDiscrimination(8, kernels=4, dimensions=3) if name.startswith("minibatch") else None
    neck = MinibatchStandardDeviation(8, group=0) if name.endswith("minibatch standard deviation") else neck
    generator, discriminator = _networks(neck, norm, name.endswith("weight norm"))
    if name.endswith("mapping network"):
        generator.network[0] = MappingNetwork(3, 8, depth=1)
    sgd = {"optimizer": partial(torch.optim.SGD, lr=0.1)}
    players = {
        "discriminator": Player(discriminator, **{**sgd, **d}, objective=objective.discriminator, regularizers=d_terms),
        "generator": Player(generator, **{**sgd, **g}, objective=objective.generator, regularizers=g_terms),
    }
    order = [list(players)] if name == "simultaneous" else None
    return Game(players, Prior(z=Normal(3)), seed=5, order=order)


def slices(rank, world):
    """This rank's slice of each global batch."""
    n = BATCH // world
    return [
        Batch(batch.x[rank * n : (rank + 1) * n]) for batch in batches(ROUNDS, BATCH, dtype=torch.get_default_dtype())
    ]


def play(game, rank, data=None):
    """Train on this rank's slices; return the game."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    world = ranks.world_size()
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), GROUP_RANK="0")
    environment = LightningEnvironment() if world == 1 else TorchElasticEnvironment()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=world, plugins=[environment],
        strategy=UnwrappedDDPStrategy() if world > 1 else "auto",
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False,
    )  # fmt: skip
    run_data_dependent_init(game, data or batches(ROUNDS, BATCH, dtype=torch.get_default_dtype()))
    trainer.fit(game, Rounds(data or slices(rank, world)))
    return game


class Messages:
    """A context manager that records the size of each message between ranks."""

    def __enter__(self):
        self.sizes, self.original = [], ranks.dist.all_reduce

        def counted(tensor, *arguments, **keywords):
            if tensor.numel() > 1:  # Lightning sends single numbers at the start and the end
                self.sizes.append(tensor.numel())
            return self.original(tensor, *arguments, **keywords)

        ranks.dist.all_reduce = counted
        return self

    def __exit__(self, *error):
        ranks.dist.all_reduce = self.original


def weights(game):
    """Every tensor of the game, as arrays."""
    return {key: value.clone().numpy() for key, value in game.state_dict().items() if isinstance(value, torch.Tensor)}


def all_games(rank):
    """The weights after five rounds of each game and of one with batch norm, the report of that one, and messages.

    In double precision, so that only a wrong gradient makes a noticeable difference.
    """
    torch.set_default_dtype(torch.float64)
    results = {name: weights(play(build_game(name), rank)) for name in GAMES}
    norm = play(build_game("clipped, averaged, adam", norm=True), rank)
    report, results["batch norm"] = norm.report(), weights(norm)
    messages = {}
    for name in (
        "nonsaturating",
        "r1",
        "lazy r1",
        "wasserstein + gradient penalty at 5:1",
        "accumulation 2",
        "simultaneous",
    ):
        with Messages() as recorder:
            play(build_game(name, norm=name != "accumulation 2"), rank)  # batch norm is not accumulated
        messages[name] = recorder.sizes
    return {**results, "report": report, "messages": messages}
