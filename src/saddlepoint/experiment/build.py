"""From a config to living objects: the data, the game, the observers; refused where they do not fit each other."""

import copy
import inspect
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback
from torch import nn

from saddlepoint.callback.checkpoint import Checkpoint
from saddlepoint.config import allow_list
from saddlepoint.config.check import check, extra_loggers
from saddlepoint.config.instantiate import instantiate, locate
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake, describe_value, first_line, source_location
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.evaluators import build_evaluator, build_second_evaluator, build_selector
from saddlepoint.game.dry_run import ROWS, dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import can_judge_samples, condition_entries, generator_of, judge_of
from saddlepoint.game.sampling import samples_for_judge
from saddlepoint.game.side import check_entries
from saddlepoint.modality import Modality, modality_of
from saddlepoint.mode import in_mode
from saddlepoint.run.storage.cache import Log
from saddlepoint.stream import Stream, derive_seed

THREADS = torch.get_num_threads()  # what torch would take, before anybody set it


@dataclass(frozen=True)
class Experiment:
    """What a config stands for; `evaluator` is None where the data have no extractor.

    `selector` says which checkpoint is best; `second` measures what is reported by another ruler, None without one.
    """

    config: CheckedConfig
    data: Any
    game: Game
    evaluator: Evaluator | None
    selector: Evaluator | None = None
    second_evaluator: Evaluator | None = None


def build(
    config: DictConfig, log: Log = lambda line: None, progress: ProgressMeter | None = None, data: Any = None
) -> Experiment:
    """The data (loaded, or as given), the game (fresh, from the config's seed) and the evaluator of a composed config.

    Raises Mistake where the config asks for what cannot be.
    """
    config = check(config)
    data = load_data(config, log) if data is None else data
    game = build_game(config, data)
    check_labels_exist(game, data)
    check_modality(game, data)
    set_threads(config, game)
    for line in dry_run(game, data.first_batch(ROWS)):
        log(line)
    evaluator = build_evaluator(config, data, log, progress)
    if evaluator is None:
        return Experiment(config, data, game, None)
    selector, second = build_selector(config, data, evaluator, log), build_second_evaluator(config, data, log, progress)
    return Experiment(config, data, game, evaluator, selector, second)


def load_data(config: CheckedConfig, log: Log = lambda line: None) -> Any:
    """The data, downloaded if need be, loaded and checked; `log` gets what reading left out or changed.

    Raises Mistake for what is no `Data`.
    """
    data = instantiate(config.data, "data")
    if not isinstance(data, Data):
        raise Mistake(
            f"data: {config.data._target_} gives {describe_value(data)}, and it is to give a saddlepoint.data.data.Data: a "
            f"subclass whose splits() gives train, validation and test{source_location(getattr(type(data), '__init__', None))}"
        )
    data.prepare_data()
    data.setup("fit")
    if not isinstance(split := data.split("train"), Split):
        raise Mistake(
            f"{data.name}: split() gives {describe_value(split)}, and it is to give a saddlepoint.data.data.Split"
            f"{source_location(type(data).split)}"
        )
    for line in getattr(data, "notes", ()):
        log(line)
    return data


def modality_from_config(config: CheckedConfig) -> Modality:
    """The modality of a config's data, which are not read for it: it follows from facts that the config holds."""
    return modality_of(instantiate(config.data, "data"))


def build_game(config: CheckedConfig, data: Any = None) -> Game:
    """A fresh game; initialisation draws from the global generators, which start from the config's seed.

    `data` are asked for conditions, where these are rows of a split; None: they are loaded when that is asked for.

    Raises Mistake where the generator does not make what the discriminator takes and the data are.
    """
    torch.manual_seed(derive_seed(config.seed, "global"))
    np.random.seed(derive_seed(config.seed, "numpy") % 2**32)
    random.seed(derive_seed(config.seed, "python"))
    game = instantiate(config.game, "game")
    for name in game.players:
        player = game.player(name)
        try:
            player.optimizer()
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            raise Mistake(f"optimizer.{name}: {first_line(error)}") from noted(error, f"optimizer.{name}")
    check_batch_sizes(config, game)
    game.conditions.data = partial(load_data, config) if data is None else data
    if data is not None:
        check_entries(game.sides, list(data.first_batch(1).columns()), list(game.priors))
        check_classes(game, data)
    columns = any("." not in entry for entry in condition_entries(game).values())
    if data is not None or not columns or game.conditions.source == "labels":
        check_networks_fit(game, tuple(config.data.shape), config.data.get("classes"))
    return game


def build_loggers(config: CheckedConfig) -> list[Any]:
    """The loggers that the config lists, W&B first: it may be switched off, or not be there at all."""
    if config.logger is None:
        return []
    beside = {name: config.logger[name] for name in extra_loggers(config.logger)}
    found = [instantiate(part, f"logger.{name}") for name, part in beside.items()]
    node = copy.deepcopy(config.logger)
    node._set_flag(["struct", "readonly"], [False, False])
    for name in beside:
        node.pop(name)
    return [instantiate(node, "logger"), *found] if "_target_" in node else found


def build_callbacks(config: CheckedConfig, **at_hand: Any) -> list[Callback]:
    """The observers in order; each gets, of what is at hand (run, evaluator, ...), what its signature names.

    A checkpoint comes last: what others write of a round must be there once the round counts as played.
    """
    made, last, allowed = [], [], allow_list.allowed_names(config)
    for name, node in config.callback.items():
        asked = inspect.signature(locate(f"callback.{name}", node._target_, allowed)).parameters
        given = {key: value for key, value in at_hand.items() if key in asked and key not in node}
        observer = instantiate(node, f"callback.{name}", **given)
        if not isinstance(observer, Callback):
            raise Mistake(
                f"callback.{name}: {node._target_} gives {describe_value(observer)}, and it is to give a Lightning Callback"
            )
        (last if isinstance(observer, Checkpoint) else made).append(observer)
    return [*made, *last]


def set_threads(config: CheckedConfig, game: Game) -> None:
    """Give torch the threads that the config says.  A perceptron's layers are too short to share: on a machine with
    other work two threads, waiting for each other, were ten times slower than one."""
    shares = False
    for module in game.modules():
        shares = shares or isinstance(module, nn.modules.conv._ConvNd)
    torch.set_num_threads(config.get("threads") or (THREADS if shares else 1))


def check_labels_exist(game: Game, data: Any) -> None:
    """Raises Mistake where a term learns from labelled images and the data give none: it would train on nothing."""
    for name in game.players:
        for term in game.player(name).terms.values():
            if "labelled" in getattr(term, "sides", ()) and getattr(data, "labels", None) is None:
                raise Mistake(
                    f"{name}: a term learns from labelled images, and these data give none: data.labels=10 gives ten "
                    "per class, where the data have classes"
                )


def check_modality(game: Game, data: Any) -> None:
    """Raises Mistake where a network is for one modality, its attribute `modality`, and the data are of another."""
    for name, network in game.networks().items():
        wanted, found = getattr(network, "modality", None), modality_of(data).name
        if isinstance(wanted, str) and wanted != found:
            raise Mistake(f"architecture.{name} is for {wanted}, and the data are {found}: choose architecture=mlp")


def check_classes(game: Game, data: Any) -> None:
    """Raise Mistake where a label column of the data has other classes than `game.classes` says."""
    for column, size in game.conditions.classes.items():
        if column == "y" and None not in (size, data.classes) and size != data.classes:
            raise Mistake(
                f"game.classes.y={size}: these data have {data.classes} classes: say game.classes.y={data.classes}"
            )
        labels = data.split("train").extra_columns.get(column)
        if size is not None and labels is not None and (top := int(labels.max())) >= size:
            raise Mistake(
                f"game.classes.{column}={size}: the labels of these data go from {int(labels.min())} to {top}"
            )


def check_batch_sizes(config: CheckedConfig, game: Game) -> None:
    """Raise Mistake where batches are not what the players need: labelled ones in equal parts, coupled ones above 1."""
    sizes = {"batch": config.batch}
    if config.data.get("labels") is not None:
        sizes["data.labelled_batch"] = config.data.get("labelled_batch") or config.batch
    for name in game.players:
        player = game.player(name)
        layers = [type(m).__name__ for m in player.network.modules() if getattr(m, "coupled", False)]
        for key, size in sizes.items():
            if size % player.accumulate:
                parts = f"game.players.{name}.accumulate={player.accumulate}"
                raise Mistake(f"{key}={size} cannot be split in {parts} equal parts")
            if layers and size == 1:
                raise Mistake(
                    f"{key}=1: {layers[0]} compares the samples of a batch, and one has nothing to be compared with"
                )


def check_networks_fit(game: Game, shape: tuple[int, ...], classes: int | None) -> None:
    """Play nothing, but let G make two samples and D look at them."""
    stream = Stream(game.seed, "fits", device=game.device)
    try:
        x = game.sample(2, stream=stream, average=False)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        advice = "architecture.generator.latent follows the prior unless it is set"
        note = f"architecture.generator, given the prior's latents: {game.prior.total_dim} numbers"
        if isinstance(error, TypeError):
            advice = "a network is called network(latent, condition), the condition a mapping of named tensors"
            note = f"{note}; {advice}"
        raise Mistake(
            f"the generator does not take the prior's latents ({game.prior.total_dim} numbers): {first_line(error)}. "
            f"{advice}"
        ) from noted(error, note)
    where = source_location(generator_of(game).network)
    if not isinstance(x, torch.Tensor):
        raise Mistake(f"the generator gives {describe_value(x)}, and it is to give a tensor{where}")
    if tuple(x.shape[1:]) != shape:
        raise Mistake(f"the generator makes {list(x.shape[1:])}, data.shape is {list(shape)}{where}")
    output = _judged(game, stream, shape) if can_judge_samples(game) else None
    for name in game.players:
        player = game.player(name)
        for fakes in dict.fromkeys((2, 2 * player.multiple)) if player.objective is not None else ():
            zeros = {"real": torch.zeros(2), "fake": torch.zeros(fakes)}
            try:
                loss = cast(Any, player.objective)(**{side: zeros[side] for side in player.adversarial_terms[0].sides})
            except (ValueError, RuntimeError) as error:
                pairs = f"pairs reals and fakes, so not with game.players.{name}.multiple={player.multiple}"
                why = f"objective.{name}" if fakes == 2 else f"the objective of {name} {pairs}"
                raise Mistake(f"{why}: {first_line(error)}") from noted(error, why)
            if not isinstance(loss, torch.Tensor) or loss.ndim:
                raise Mistake(
                    f"objective.{name} gives {describe_value(loss)}, and it is to give a scalar tensor: take the mean"
                    f"{source_location(player.objective)}"
                )
        for own, term in player.terms.items():
            if output is None:
                break
            try:
                term.check_output(output)
                _knows_all(getattr(term, "head", None), output.heads, classes)
            except Mistake as mistake:
                raise Mistake(f"regularizer.{name}.{own}: {mistake}") from None


def _judged(game: Game, stream: Stream, shape: tuple[int, ...]) -> Any:
    """What D says of two samples, in evaluation mode.  Raises Mistake where it does not take them."""
    network = judge_of(game).network
    try:
        with in_mode(game):
            sample = samples_for_judge(game, 2, stream)
            output = network(sample.x, sample.condition)
    except (RuntimeError, ValueError) as error:
        raise Mistake(
            f"the discriminator does not take images of data.shape {list(shape)}: {first_line(error)}"
        ) from noted(error, f"architecture.discriminator, given images of data.shape {list(shape)}")
    except TypeError as error:  # a readout is asked for (features, condition, heads), a neck for features alone
        raise Mistake(
            f"the discriminator's layers do not fit their places (neck, readout): {first_line(error)}"
        ) from noted(error, "architecture.discriminator")
    if not all(hasattr(output, part) for part in ("logits", "features", "heads")):
        raise Mistake(
            f"the discriminator gives {describe_value(output)}, and it is to give a saddlepoint.turn.DiscriminatorOutput("
            f"logits, features, heads){source_location(network)}"
        )
    return output


def _knows_all(head: str | None, heads: Mapping[str, torch.Tensor], classes: int | None) -> None:
    """Raise Mistake where the head that a term reads has fewer outputs than the data have classes."""
    if head is not None and head in heads and (size := heads[head].shape[1]) < (classes or 0):
        raise Mistake(
            f"head {head} has {size} outputs, and the data {classes} classes: say "
            f"'architecture.discriminator.heads={{{head}: {classes}}}'"
        )


def noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error
