"""From a config to living objects: the data, the game, the ruler, the observers."""

from __future__ import annotations

import copy
import inspect
import os
import random
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import platformdirs
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning import Callback
from torch import nn

from saddlepoint.callback.checkpoint import Checkpoint
from saddlepoint.config import allow_list, config_file
from saddlepoint.config.check import check, loggers_beside
from saddlepoint.config.compose import amended, register_resolvers
from saddlepoint.config.identity import code_changes
from saddlepoint.config.instantiate import instantiate, located
from saddlepoint.config.path import expanded, settle
from saddlepoint.console.terminal import Meter
from saddlepoint.data.data import ALL, Data, Split
from saddlepoint.error import Mistake, kind, line_of
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment import extractor
from saddlepoint.experiment.devices import device as device_of
from saddlepoint.extractor.extractor import Extractor
from saddlepoint.extractor.nearest import unmeasured
from saddlepoint.game.dry_run import ROWS, dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge, judged_alone, leaves, sampled, sampled_player
from saddlepoint.game.sampling import judged, load_sampling_state, sampling_modules
from saddlepoint.game.side import refuse_unknown_entries
from saddlepoint.game.state import accept
from saddlepoint.modality import Modality, of
from saddlepoint.mode import in_mode
from saddlepoint.run import data_content, snapshot
from saddlepoint.run.checkpoint import load as load_checkpoint
from saddlepoint.run.checkpoint import newest
from saddlepoint.run.folder import Run, read_json
from saddlepoint.stream import Stream, seed_of

# an override that says which data: not how they are read, measured or labelled
DATA_WORD = re.compile(r"[+~]*data(=|@|\.(?!(memory|workers|extractor|batch|seed|labels|label_seed|labelled_batch)\b))")
SELECTING = 5_000  # fakes that choose a checkpoint, where their number is not given
THREADS = torch.get_num_threads()  # what torch would take, before anybody set it
Say = Callable[[str], None]  # hears a line for people


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
    _labelled(game, data)
    _of_one_modality(game, data)
    set_threads(config, game)
    for line in dry_run(game, data.first(ROWS)):
        say(line)
    evaluator = evaluator_of(config, data, say, progress)
    if evaluator is None:
        return Experiment(config, data, game, None)
    selector, second = selector_of(config, data, evaluator, say), second_of(config, data, say, progress)
    return Experiment(config, data, game, evaluator, selector, second)


def _labelled(game: Game, data: Any) -> None:
    """Raises Mistake where a term learns from labelled images and the data give none: it would train on nothing."""
    for name in game.players:
        for term in game.player(name).terms.values():
            if "labelled" in getattr(term, "sides", ()) and getattr(data, "labels", None) is None:
                raise Mistake(
                    f"{name}: a term learns from labelled images, and these data give none: data.labels=10 gives ten "
                    "per class, where the data have classes"
                )


def _of_one_modality(game: Game, data: Any) -> None:
    """Raises Mistake where a network is for one modality, its attribute `modality`, and the data are of another."""
    for name, network in game.networks().items():
        wanted, found = getattr(network, "modality", None), of(data).name
        if isinstance(wanted, str) and wanted != found:
            raise Mistake(f"architecture.{name} is for {wanted}, and the data are {found}: choose architecture=mlp")


def load(run: str | Path | Run, checkpoint: str = "last", allow: Sequence[str] = ()) -> Game:
    """The game of a run folder, as its last (or best) checkpoint left it, on the CPU: load(run).sample(64).

    `allow` names modules of your own that its config may build from, as allow_target does on the command line.
    """
    record = run if isinstance(run, Run) else Run(run)
    config = config_of(record, say=print)
    if allow:
        allow_list.grant(config, [allow] if isinstance(allow, str) else list(allow))
    game = game_of(config)
    restore(game, record, checkpoint)
    return game


def restore(game: Game, run: Run, checkpoint: str = "last", say: Say = print) -> dict[str, Any]:
    """Put a checkpoint's weights and counters into `game`; returns the checkpoint.  See `put` for snapshots."""
    found = newest(run.checkpoints, say) if checkpoint == "last" else None
    path = run.checkpoints / f"{checkpoint}.ckpt"
    if found is None and not path.exists():
        there = ", ".join(sorted(p.stem for p in run.checkpoints.glob("*.ckpt"))) or "none"
        raise Mistake(f"{run.folder} has no {checkpoint} checkpoint; there: {there}")
    path, state = found or (path, load_checkpoint(path))
    fill(game, state, path)
    game.on_load_checkpoint(state)
    return state


def put(game: Game, run: Run, at: str | int, say: Say = print) -> None:
    """Put into `game` what a run was at `at`: last, best, previous, or the images of a snapshot, its generator alone.

    Raises Mistake where there is no such checkpoint or snapshot.
    """
    if not str(at).isdigit():
        restore(game, run, str(at), say)
        return
    path = snapshot.path_of(run, int(at))
    if not path.exists():
        there = ", ".join(map(str, snapshot.every(run))) or "none"
        raise Mistake(f"{run.folder} has no snapshot at {at} images; there: {there}")
    state, game.images, weights = snapshot.load(path)
    networks, whose = sampling_modules(game)
    if weights != whose:
        raise Mistake(f"{path} holds {weights} weights, which the config of this run does not; take it out")
    try:
        load_sampling_state(networks, state)
    except RuntimeError as error:
        raise Mistake(f"{path} holds the weights of another network: {_second_line(error)}") from None
    averages = {name: own for name in sampled(game) if (own := game.player(name).average) is not None}
    game.has_only_average = bool(averages)
    for name, kept in averages.items():
        # statistics that were re-estimated when the snapshot was written are all that it holds
        if OmegaConf.select(config_of(run), f"game.players.{name}.average.statistics") == "reestimated":
            kept.statistics = "reestimated"
        kept.stale = True


def fill(game: Game, state: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's weights into `game`.  Raises Mistake where they are another network's or run's."""
    accept(game, state["saddlepoint"])
    try:
        game.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise Mistake(f"{path} holds the weights of another network: {_second_line(error)}") from None
    game.has_only_average = False


def _second_line(error: Exception) -> str:
    """The line in which torch says which tensor does not fit."""
    return (str(error).splitlines()[1].strip() if "\n" in str(error) else str(error))[:160]


def config_of(
    run: Run,
    overrides: Sequence[str] = (),
    say: Say = lambda line: None,
    config_dir: str | Path | None = None,
) -> DictConfig:
    """A run's own config, with `overrides` on top, which `say` hears.  Raises Mistake where the folder is no run."""
    if not run.config.exists():
        raise Mistake(f"{run.folder} is no run folder: it has no config.yaml{_runs_within(run.folder)}")
    register_resolvers()
    config = config_file.read(run.config)
    if "imported" in config:
        raise Mistake(f"{run.folder} was imported: there is no game in it. Measure it again with saddlepoint import")
    settle(config)  # of an earlier edition's run they may be relative
    changed = code_changes(config)
    if overrides:
        config = amended(config, overrides, config_dir)
        check(config)
    for override in overrides:
        say(f"override: {override}")
    if changed:
        say(f"{'; '.join(changed)} changed since this run was trained: what follows is by the code of now")
    return config


def _runs_within(folder: Path) -> str:
    """ ". In it are run=<name>/seed0, ...": the runs in a folder of seeds, or of names; "" where there is none."""
    found = sorted(path.parent for way in ("*/", "*/*/") for path in folder.glob(f"{way}config.yaml"))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f". In it there {'is' if len(found) == 1 else 'are'} run={', run='.join(map(str, found[:3]))}{more}"
        if found
        else ""
    )


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


def data_of_run(run: Run, config: DictConfig, overrides: Sequence[str], say: Say) -> Any:
    """The data that a run was trained on, loaded as its config and `overrides` have it.

    Raises Mistake where they have changed since; where `overrides` name other data, `say` hears what differs.
    """
    data = data_of(config, say)
    if changed := data_changes(run, data):
        if not any(DATA_WORD.match(word) for word in map(str, overrides)):
            raise Mistake(
                f"{run.folder} was trained on other data than are there now: {'; '.join(changed)}. Bring those back, "
                f"say where they are (data.root=..., data.folder=...), or name these: {named(config)}"
            )
        say(f"these are not the data that the run was trained on: {'; '.join(changed)}")
    return data


def data_changes(run: Run, data: Any) -> list[str]:
    """How data differ from those that a run was trained on last; [] where nothing on record does."""
    return data_content.differences(read_json(run.folder / "provenance.json").get("data") or {}, data.describe())


def named(config: DictConfig) -> str:
    """The word that names the data of a config."""
    key = "folder" if "folder" in config.data else "root" if "root" in config.data else None
    return f"data={config.choice.get('data')}" if key is None else f"data.{key}={config.data[key]}"


def game_of(config: DictConfig, data: Any = None) -> Game:
    """A fresh game; initialisation draws from the global generators, which start from the config's seed.

    `data` are asked for conditions, where these are rows of a split; None: they are loaded when that is asked for.

    Raises Mistake where the generator does not make what the discriminator takes and the data are.
    """
    torch.manual_seed(seed_of(config.seed, "global"))
    np.random.seed(seed_of(config.seed, "numpy") % 2**32)
    random.seed(seed_of(config.seed, "python"))
    game = instantiate(copy.deepcopy(config).game, "game")  # a copy: Hydra resolves in place what a node points to
    for name in game.players:
        player = game.player(name)
        try:
            player.optimizer()
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            raise Mistake(f"optimizer.{name}: {_first(error)}") from _noted(error, f"optimizer.{name}")
    _whole(config, game)
    game.conditions.data = partial(data_of, config) if data is None else data
    if data is not None:
        refuse_unknown_entries(game.sides, list(data.first(1).columns()), list(game.priors))
        _refuse_other_classes(game, data)
    columns = any("." not in entry for entry in leaves(game).values())
    if data is not None or not columns or game.conditions.where == "labels":
        _fits(game, tuple(config.data.shape), config.data.get("classes"))
    return game


def _refuse_other_classes(game: Game, data: Any) -> None:
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


def _whole(config: DictConfig, game: Game) -> None:
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


def _fits(game: Game, shape: tuple[int, ...], classes: int | None) -> None:
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
            f"the generator does not take the prior's latents ({game.prior.size} numbers): {_first(error)}. {advice}"
        ) from _noted(error, note)
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
                raise Mistake(f"{why}: {_first(error)}") from _noted(error, why)
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
            f"the discriminator does not take images of data.shape {list(shape)}: {_first(error)}"
        ) from _noted(error, f"architecture.discriminator, given images of data.shape {list(shape)}")
    except TypeError as error:  # a readout is asked for (features, condition, heads), a neck for features alone
        raise Mistake(
            f"the discriminator's layers do not fit their places (neck, readout): {_first(error)}"
        ) from _noted(error, "architecture.discriminator")
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


def _noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def evaluator_of(
    config: DictConfig, data: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Evaluator | None:
    """The evaluator that the config describes, None where nothing can measure these data; `say` hears why.

    `progress` sees long passes: a classifier in training, reference statistics.
    """
    wanted = _wanted(config, data)
    ruler = ruler_of(config, data, wanted, say, progress)
    metrics = metrics_of(config)
    if ruler is None or not metrics:
        missing = "these data have no extractor (evaluation.extractor=...)"
        modality = of(data)
        too_large = wanted is None and not modality.planar and modality.extractor(tuple(data.shape)) is None
        if too_large or wanted is not None:
            missing = unmeasured(data)
        say("no scores: " + ("metric=[]" if not metrics else missing))
        return None
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    evaluator = Evaluator(ruler, metrics, *protocol, cache_of(config), settings.seed, device_of(config), say, progress)
    return evaluator if evaluator.metrics else None


def selector_of(config: DictConfig, data: Any, evaluator: Evaluator, say: Say = lambda line: None) -> Evaluator | None:
    """What decides which checkpoint is best: the first metric, on reals that are not reported on, by the same ruler."""
    settings = config.evaluation.get("selection") or {}
    split = settings.get("split")
    if split is None:
        return None
    if split == config.evaluation.split:
        say(
            f"no best checkpoint: {split} is the split that is reported; choose by another, evaluation.selection.split="
        )
        return None
    if config.evaluation.split == ALL:
        say(f"no best checkpoint: evaluation.split={ALL} reports on {split} too; choose by what is not reported")
        return None
    n = settings.get("n") or min(SELECTING, len(data.split(split)))
    first = next(iter(evaluator.metrics))
    metrics = {first: metrics_of(config)[first]}
    rest = cache_of(config), config.evaluation.seed, device_of(config), evaluator.say
    return Evaluator(evaluator.extractor, metrics, n, split, config.evaluation.batch, *rest)


def second_of(
    config: DictConfig, data: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Evaluator | None:
    """The same protocol by the ruler beside it: an order of models that one ruler alone supports is no finding.

    Of the metrics that stand on an extractor: the others have been measured.  None without any.
    """
    name = config.evaluation.get("second")
    if name == "auto":
        wanted = _wanted(config, data)
        name = extractor.second(wanted) if isinstance(wanted, str) else None
    metrics = {key: metric for key, metric in metrics_of(config).items() if metric.needs_features}
    if name is None or not metrics:
        return None
    ruler = ruler_of(config, data, name, say, progress)
    settings = config.evaluation
    protocol = settings.n, settings.split, settings.batch
    rest = cache_of(config), settings.seed, device_of(config), lambda line: None, progress
    return None if ruler is None else Evaluator(ruler, metrics, *protocol, *rest)


def loggers_of(config: DictConfig) -> list[Any]:
    """The loggers that the config lists, W&B first: it may be switched off, or not be there at all."""
    node = copy.deepcopy(config).logger
    if node is None:
        return []
    beside = {name: node[name] for name in loggers_beside(node)}
    found = [instantiate(part, f"logger.{name}") for name, part in beside.items()]
    with open_dict(node):
        for name in beside:
            node.pop(name)
    return [instantiate(node, "logger"), *found] if "_target_" in node else found


def metrics_of(config: DictConfig) -> dict[str, Any]:
    """The metrics that the config lists, fresh."""
    return {name: instantiate(node, f"metric.{name}") for name, node in config.metric.items()}


def ruler_of(
    config: DictConfig, data: Any, wanted: Any, say: Say = lambda line: None, progress: Meter | None = None
) -> Extractor | None:
    """The extractor `wanted`: a name, a node with a `_target_` (a network of the user's own), or None."""
    settings = config.evaluation
    where = cache_of(config), device_of(config)
    resizer = settings.get("resizer")
    return extractor.build(wanted, data, *where, settings.weights, say, progress, resizer, settings.seed)


def _wanted(config: DictConfig, data: Any) -> Any:
    return data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor


def callbacks_of(config: DictConfig, **at_hand: Any) -> list[Callback]:
    """The observers in order; each gets, of what is at hand (run, evaluator, ...), what its signature names.

    A checkpoint comes last: what others write of a round must be there once the round counts as played.
    """
    made, allowed = [], allow_list.granted(config)
    for name, node in config.callback.items():
        asked = inspect.signature(located(f"callback.{name}", node._target_, allowed)).parameters
        given = {key: value for key, value in at_hand.items() if key in asked and key not in node}
        made.append(instantiate(node, f"callback.{name}", **given))
        if not isinstance(made[-1], Callback):
            raise Mistake(
                f"callback.{name}: {node._target_} gives {kind(made[-1])}, and it is to give a Lightning Callback"
            )
    return sorted(made, key=lambda observer: isinstance(observer, Checkpoint))


def set_threads(config: DictConfig, game: Game) -> None:
    """Give torch the threads that the config says.  A perceptron's layers are too short to share: on a machine with
    other work two threads, waiting for each other, were ten times slower than one."""
    shares = any(isinstance(module, nn.modules.conv._ConvNd) for module in game.modules())
    torch.set_num_threads(config.get("threads") or (THREADS if shares else 1))


def cache_of(config: DictConfig) -> Path:
    """Where shared things lie: cache=..., else SADDLEPOINT_CACHE, else the user's cache folder.

    A user without a home folder has it among the temporary files.
    """
    if chosen := config.cache or expanded("SADDLEPOINT_CACHE", os.environ.get("SADDLEPOINT_CACHE")):
        return Path(chosen)
    try:
        return Path(platformdirs.user_cache_dir("saddlepoint"))
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"saddlepoint-{os.getuid()}")
