"""From a config to living objects: the data, the game, the ruler, the observers."""

from __future__ import annotations

import copy
import inspect
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback
from torch import nn

from saddlepoint.callback.checkpoint import Checkpoint
from saddlepoint.config import allow_list
from saddlepoint.config.check import check, loggers_beside
from saddlepoint.config.instantiate import instantiate, located
from saddlepoint.console.terminal import Meter
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake, kind, line_of
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.evaluators import evaluator_of, second_of, selector_of
from saddlepoint.experiment.fits import (
    first_line,
    noted,
    refuse_batch_sizes,
    refuse_misfits,
    refuse_missing_labels,
    refuse_other_classes,
    refuse_other_modality,
)
from saddlepoint.game.dry_run import ROWS, dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import leaves
from saddlepoint.game.side import refuse_unknown_entries
from saddlepoint.modality import Modality, of
from saddlepoint.run.storage.cache import Say
from saddlepoint.stream import seed_of

THREADS = torch.get_num_threads()  # what torch would take, before anybody set it


@dataclass(frozen=True)
class Experiment:
    """What a config stands for; `evaluator` is None where the data have no extractor.

    `selector` says which checkpoint is best; `second` measures what is reported by another ruler, None without one.
    """

    config: DictConfig
    data: Any
    game: Game
    evaluator: Evaluator | None
    selector: Evaluator | None = None
    second: Evaluator | None = None


def build(
    config: DictConfig, say: Say = lambda line: None, progress: Meter | None = None, data: Any = None
) -> Experiment:
    """The data (loaded, or as given), the game (fresh, from the config's seed) and the evaluator of a composed config.

    Raises Mistake where the config asks for what cannot be.
    """
    check(config)
    data = data_of(config, say) if data is None else data
    game = game_of(config, data)
    refuse_missing_labels(game, data)
    refuse_other_modality(game, data)
    set_threads(config, game)
    for line in dry_run(game, data.first(ROWS)):
        say(line)
    evaluator = evaluator_of(config, data, say, progress)
    if evaluator is None:
        return Experiment(config, data, game, None)
    selector, second = selector_of(config, data, evaluator, say), second_of(config, data, say, progress)
    return Experiment(config, data, game, evaluator, selector, second)


def data_of(config: DictConfig, log: Say = lambda line: None) -> Any:
    """The data, downloaded if need be, loaded and checked; `log` gets what reading left out or changed.

    Raises Mistake for what is no `Data`.
    """
    data = instantiate(config.data, "data")
    if not isinstance(data, Data):
        raise Mistake(
            f"data: {config.data._target_} gives {kind(data)}, and it is to give a saddlepoint.data.data.Data: a "
            f"subclass whose splits() gives train, validation and test{line_of(getattr(type(data), '__init__', None))}"
        )
    data.prepare_data()
    data.setup("fit")
    if not isinstance(split := data.split("train"), Split):
        raise Mistake(
            f"{data.name}: split() gives {kind(split)}, and it is to give a saddlepoint.data.data.Split"
            f"{line_of(type(data).split)}"
        )
    for line in getattr(data, "notes", ()):
        log(line)
    return data


def modality_of(config: DictConfig) -> Modality:
    """The modality of a config's data, which are not read for it: it follows from facts that the config holds."""
    return of(instantiate(config.data, "data"))


def game_of(config: DictConfig, data: Any = None) -> Game:
    """A fresh game; initialisation draws from the global generators, which start from the config's seed.

    `data` are asked for conditions, where these are rows of a split; None: they are loaded when that is asked for.

    Raises Mistake where the generator does not make what the discriminator takes and the data are.
    """
    torch.manual_seed(seed_of(config.seed, "global"))
    np.random.seed(seed_of(config.seed, "numpy") % 2**32)
    random.seed(seed_of(config.seed, "python"))
    game = instantiate(config.game, "game")
    for name in game.players:
        player = game.player(name)
        try:
            player.optimizer()
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            raise Mistake(f"optimizer.{name}: {first_line(error)}") from noted(error, f"optimizer.{name}")
    refuse_batch_sizes(config, game)
    game.conditions.data = partial(data_of, config) if data is None else data
    if data is not None:
        refuse_unknown_entries(game.sides, list(data.first(1).columns()), list(game.priors))
        refuse_other_classes(game, data)
    columns = any("." not in entry for entry in leaves(game).values())
    if data is not None or not columns or game.conditions.where == "labels":
        refuse_misfits(game, tuple(config.data.shape), config.data.get("classes"))
    return game


def loggers_of(config: DictConfig) -> list[Any]:
    """The loggers that the config lists, W&B first: it may be switched off, or not be there at all."""
    if config.logger is None:
        return []
    beside = {name: config.logger[name] for name in loggers_beside(config.logger)}
    found = [instantiate(part, f"logger.{name}") for name, part in beside.items()]
    node = copy.deepcopy(config.logger)
    node._set_flag(["struct", "readonly"], [False, False])
    for name in beside:
        node.pop(name)
    return [instantiate(node, "logger"), *found] if "_target_" in node else found


def callbacks_of(config: DictConfig, **at_hand: Any) -> list[Callback]:
    """The observers in order; each gets, of what is at hand (run, evaluator, ...), what its signature names.

    A checkpoint comes last: what others write of a round must be there once the round counts as played.
    """
    made, last, allowed = [], [], allow_list.granted(config)
    for name, node in config.callback.items():
        asked = inspect.signature(located(f"callback.{name}", node._target_, allowed)).parameters
        given = {key: value for key, value in at_hand.items() if key in asked and key not in node}
        observer = instantiate(node, f"callback.{name}", **given)
        if not isinstance(observer, Callback):
            raise Mistake(
                f"callback.{name}: {node._target_} gives {kind(observer)}, and it is to give a Lightning Callback"
            )
        (last if isinstance(observer, Checkpoint) else made).append(observer)
    return [*made, *last]


def set_threads(config: DictConfig, game: Game) -> None:
    """Give torch the threads that the config says.  A perceptron's layers are too short to share: on a machine with
    other work two threads, waiting for each other, were ten times slower than one."""
    shares = False
    for module in game.modules():
        shares = shares or isinstance(module, nn.modules.conv._ConvNd)
    torch.set_num_threads(config.get("threads") or (THREADS if shares else 1))
