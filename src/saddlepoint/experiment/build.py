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
from saddlepoint.config.check import check, loggers_beside
from saddlepoint.config.instantiate import instantiate, located
from saddlepoint.config.tree import Checked
from saddlepoint.console.terminal import Meter
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake, first_line, kind, line_of
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.evaluators import evaluator_of, second_of, selector_of
from saddlepoint.game.dry_run import ROWS, dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge, judged_alone, leaves, sampled_player
from saddlepoint.game.sampling import judged
from saddlepoint.game.side import refuse_unknown_entries
from saddlepoint.modality import Modality, of
from saddlepoint.mode import in_mode
from saddlepoint.run.storage.cache import Say
from saddlepoint.stream import Stream, seed_of

THREADS = torch.get_num_threads()  # what torch would take, before anybody set it


@dataclass(frozen=True)
class Experiment:
    """What a config stands for; `evaluator` is None where the data have no extractor.

    `selector` says which checkpoint is best; `second` measures what is reported by another ruler, None without one.
    """

    config: Checked
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
    config = check(config)
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


def data_of(config: Checked, log: Say = lambda line: None) -> Any:
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


def modality_of(config: Checked) -> Modality:
    """The modality of a config's data, which are not read for it: it follows from facts that the config holds."""
    return of(instantiate(config.data, "data"))


def game_of(config: Checked, data: Any = None) -> Game:
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


def loggers_of(config: Checked) -> list[Any]:
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


def callbacks_of(config: Checked, **at_hand: Any) -> list[Callback]:
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


def set_threads(config: Checked, game: Game) -> None:
    """Give torch the threads that the config says.  A perceptron's layers are too short to share: on a machine with
    other work two threads, waiting for each other, were ten times slower than one."""
    shares = False
    for module in game.modules():
        shares = shares or isinstance(module, nn.modules.conv._ConvNd)
    torch.set_num_threads(config.get("threads") or (THREADS if shares else 1))


def refuse_missing_labels(game: Game, data: Any) -> None:
    """Raises Mistake where a term learns from labelled images and the data give none: it would train on nothing."""
    for name in game.players:
        for term in game.player(name).terms.values():
            if "labelled" in getattr(term, "sides", ()) and getattr(data, "labels", None) is None:
                raise Mistake(
                    f"{name}: a term learns from labelled images, and these data give none: data.labels=10 gives ten "
                    "per class, where the data have classes"
                )


def refuse_other_modality(game: Game, data: Any) -> None:
    """Raises Mistake where a network is for one modality, its attribute `modality`, and the data are of another."""
    for name, network in game.networks().items():
        wanted, found = getattr(network, "modality", None), of(data).name
        if isinstance(wanted, str) and wanted != found:
            raise Mistake(f"architecture.{name} is for {wanted}, and the data are {found}: choose architecture=mlp")


def refuse_other_classes(game: Game, data: Any) -> None:
    """Raise Mistake where a label column of the data has other classes than `game.classes` says."""
    for column, size in game.conditions.classes.items():
        if column == "y" and None not in (size, data.classes) and size != data.classes:
            raise Mistake(
                f"game.classes.y={size}: these data have {data.classes} classes: say game.classes.y={data.classes}"
            )
        labels = data.split("train").more.get(column)
        if size is not None and labels is not None and (top := int(labels.max())) >= size:
            raise Mistake(
                f"game.classes.{column}={size}: the labels of these data go from {int(labels.min())} to {top}"
            )


def refuse_batch_sizes(config: Checked, game: Game) -> None:
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


def refuse_misfits(game: Game, shape: tuple[int, ...], classes: int | None) -> None:
    """Play nothing, but let G make two samples and D look at them."""
    stream = Stream(game.seed, "fits", device=game.device)
    try:
        x = game.sample(2, stream=stream, average=False)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        advice = "architecture.generator.latent follows the prior unless it is set"
        note = f"architecture.generator, given the prior's latents: {game.prior.size} numbers"
        if isinstance(error, TypeError):
            advice = "a network is called network(latent, condition), the condition a mapping of named tensors"
            note = f"{note}; {advice}"
        raise Mistake(
            f"the generator does not take the prior's latents ({game.prior.size} numbers): {first_line(error)}. "
            f"{advice}"
        ) from noted(error, note)
    where = line_of(sampled_player(game).network)
    if not isinstance(x, torch.Tensor):
        raise Mistake(f"the generator gives {kind(x)}, and it is to give a tensor{where}")
    if tuple(x.shape[1:]) != shape:
        raise Mistake(f"the generator makes {list(x.shape[1:])}, data.shape is {list(shape)}{where}")
    output = _judged(game, stream, shape) if judged_alone(game) else None
    for name in game.players:
        player = game.player(name)
        for fakes in dict.fromkeys((2, 2 * player.multiple)) if player.objective is not None else ():
            zeros = {"real": torch.zeros(2), "fake": torch.zeros(fakes)}
            try:
                loss = cast(Any, player.objective)(**{side: zeros[side] for side in player.looks[0].sides})
            except (ValueError, RuntimeError) as error:
                pairs = f"pairs reals and fakes, so not with game.players.{name}.multiple={player.multiple}"
                why = f"objective.{name}" if fakes == 2 else f"the objective of {name} {pairs}"
                raise Mistake(f"{why}: {first_line(error)}") from noted(error, why)
            if not isinstance(loss, torch.Tensor) or loss.ndim:
                raise Mistake(
                    f"objective.{name} gives {kind(loss)}, and it is to give a scalar tensor: take the mean"
                    f"{line_of(player.objective)}"
                )
        for own, term in player.terms.items():
            if output is None:
                break
            try:
                term.fits(output)
                _knows_all(getattr(term, "head", None), output.heads, classes)
            except Mistake as mistake:
                raise Mistake(f"regularizer.{name}.{own}: {mistake}") from None


def _judged(game: Game, stream: Stream, shape: tuple[int, ...]) -> Any:
    """What D says of two samples, in evaluation mode.  Raises Mistake where it does not take them."""
    network = judge(game).network
    try:
        with in_mode(game):
            sample = judged(game, 2, stream)
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
            f"the discriminator gives {kind(output)}, and it is to give a saddlepoint.turn.DiscriminatorOutput("
            f"logits, features, heads){line_of(network)}"
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
