"""Building the objects of a config: the data, the game, the loggers and callbacks, with checks that they fit."""

import copy
import inspect
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from saddlepoint.callback.checkpoint import Checkpoint
from saddlepoint.config import allow_list
from saddlepoint.config.check import check, extra_loggers
from saddlepoint.config.instantiate import import_target, instantiate
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake, describe_type_of, first_line, format_source_location
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.evaluators import (
    attach_extractors,
    build_evaluator,
    build_second_evaluator,
    build_selection_evaluator,
    check_extractors_score_nothing,
)
from saddlepoint.game.dry_run import ROWS, dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import can_judge_samples, condition_entries, generator_player, judge_player
from saddlepoint.game.pairs import PairSource, has_pairs, rows_of_side, truth_column, turn_of_rows
from saddlepoint.game.sampling import samples_for_judge
from saddlepoint.game.side import LATENT, check_entries
from saddlepoint.layer.weight_clip import WeightClip
from saddlepoint.modality import Modality, modality_of
from saddlepoint.mode import in_mode
from saddlepoint.objective.logit_gradient import logit_gradient
from saddlepoint.run.storage.cache import Log
from saddlepoint.stream import Stream, derive_seed, preserve_random_state

BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softmax": (0.0, 1.0)}  # the ranges of functions of torch
RESHAPES = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Alias", "ToCopy")
FAR = 1e4  # a logit at which every loss with a minimum is flat or rises
THREADS = torch.get_num_threads()  # torch's default, before it is changed


@dataclass(frozen=True)
class Experiment:
    """The objects of a config.

    evaluator         None if the data have no extractor
    selector          selects the best checkpoint
    second_evaluator  measures the reported scores with a second extractor; None without one
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
    """Build the data (unless given), the game (new, from the config's seed) and the evaluators of a composed config.

    Raises Mistake if a setting is wrong or the parts do not fit each other.
    """
    config = check(config)
    data = load_data(config, log) if data is None else data
    game = build_game(config, data)
    check_labels_exist(game, data)
    check_modality(game, data)
    check_codes(game, data)
    set_threads(config, game)
    for line in (
        *game.prepare(data, config.images),
        *check_terms_and_makers(game),
        *dry_run(game, data.first_batch(ROWS)),
        *objective_warnings(game),
    ):
        log(line)
    for name, network in game.networks().items():
        if (size := getattr(network, "receptive_field", None)) is not None:
            log(f"{name}: each logit depends on {size} x {size} pixels of {data.shape[1]} x {data.shape[2]}")
    evaluator = build_evaluator(config, data, log, progress)
    if evaluator is None:
        return Experiment(config, data, game, None)
    selector = build_selection_evaluator(config, data, evaluator, log)
    second_evaluator = build_second_evaluator(config, data, log, progress)
    check_extractors_score_nothing(game, (evaluator, second_evaluator))
    evaluator.privacy = game.planned_privacy
    set_pairs(game, data, (evaluator, selector, second_evaluator))
    return Experiment(config, data, game, evaluator, selector, second_evaluator)


def set_pairs(game: Game, data: Any, evaluators: Iterable[Evaluator | None]) -> None:
    """Give the evaluators the pairs of a game from image to image, for metrics and anchors that need the truth.

    Without pairs, they get the number of different inputs.

    Raises Mistake if samples should look like another column than x, the reals of all scores.
    """
    if not any(evaluators):
        return
    if (column := truth_column(game)) != "x":
        raise Mistake(
            f"game.samples={game.samples}: scores compare samples with x, and these should look like {column}. Set "
            "metric=[], or train with data.folder and data.source exchanged"
        )
    if not has_pairs(game):
        return
    split = data.split(game.conditions.split_name)
    for evaluator in evaluators:
        if evaluator is not None and split.paired:
            evaluator.set_pairs(PairSource(game, data))
        elif evaluator is not None:
            evaluator.inputs = rows_of_side(game, game.samples, split)


def load_data(config: CheckedConfig, log: Log = lambda line: None) -> Any:
    """Download the data if necessary, load and check them; what reading left out or changed is logged.

    Raises Mistake if the result is not a `Data`.
    """
    data = instantiate(config.data, "data")
    if not isinstance(data, Data):
        raise Mistake(
            f"data: {config.data._target_} returns {describe_type_of(data)}, but must return a saddlepoint.data.data."
            "Data: a subclass whose splits() returns train, validation and test"
            f"{format_source_location(getattr(type(data), '__init__', None))}"
        )
    data.prepare_data()
    data.setup("fit")
    if not isinstance(split := data.split("train"), Split):
        raise Mistake(
            f"{data.name}: split() returns {describe_type_of(split)}, but must return a saddlepoint.data.data.Split"
            f"{format_source_location(type(data).split)}"
        )
    for line in getattr(data, "notes", ()):
        log(line)
    return data


def modality_from_config(config: CheckedConfig) -> Modality:
    """Return the modality of a config's data, from the facts in the config, without reading the data."""
    return modality_of(instantiate(config.data, "data"))


def build_game(config: CheckedConfig, data: Any = None) -> Game:
    """Build a new game; it is initialised from the global random generators, which are seeded from the config.

    data  the source of conditions that are rows of a split; None: loaded when first needed
    Raises Mistake if the networks do not fit each other or the shape of the data.
    """
    torch.manual_seed(derive_seed(config.seed, "global"))
    np.random.seed(derive_seed(config.seed, "numpy") % 2**32)
    random.seed(derive_seed(config.seed, "python"))
    game = instantiate(config.game, "game")
    for name, player in game.players.items():
        try:
            player.build_optimizer()
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            raise Mistake(f"optimizer.{name}: {first_line(error)}") from with_note(error, f"optimizer.{name}")
    check_batch_sizes(config, game)
    game.conditions.data = partial(load_data, config) if data is None else data
    attach_extractors(game, config, game.conditions.data)
    if data is not None:
        columns = data.first_batch(1).columns()
        check_entries(game.sides, list(columns), list(game.priors))
        for player in cast(Any, game.players.values()):
            for term in player.regularizers.values():
                term.check_columns(columns)
        check_classes(game, data)
    columns = any("." not in entry for entry in condition_entries(game).values())
    if data is not None or not columns or game.conditions.source == "labels":
        check_networks_fit(game, tuple(config.data.shape), config.data.get("classes"))
    return game


def build_loggers(config: CheckedConfig) -> list[Any]:
    """Build the loggers of a config, W&B first, if it is listed."""
    if config.logger is None:
        return []
    extra_nodes = {name: config.logger[name] for name in extra_loggers(config.logger)}
    extra = [instantiate(extra_node, f"logger.{name}") for name, extra_node in extra_nodes.items()]
    node = copy.deepcopy(config.logger)
    node._set_flag(["struct", "readonly"], [False, False])
    for name in extra_nodes:
        node.pop(name)
    return [instantiate(node, "logger"), *extra] if "_target_" in node else extra


def build_callbacks(config: CheckedConfig, **available: Any) -> list[Callback]:
    """Build the callbacks in order; each gets those of `available` (run, evaluator, ...) that are in its signature.

    Checkpoint callbacks come last, so that the output of the others for a round is written before its checkpoint.
    """
    callbacks, checkpoints, allowed = [], [], allow_list.allowed_names(config)
    for name, node in config.callback.items():
        parameters = inspect.signature(import_target(f"callback.{name}", node._target_, allowed)).parameters
        arguments = {key: value for key, value in available.items() if key in parameters and key not in node}
        callback = instantiate(node, f"callback.{name}", **arguments)
        if not isinstance(callback, Callback):
            raise Mistake(
                f"callback.{name}: {node._target_} returns {describe_type_of(callback)}, not a Lightning Callback"
            )
        (checkpoints if isinstance(callback, Checkpoint) else callbacks).append(callback)
    return [*callbacks, *checkpoints]


def set_threads(config: CheckedConfig, game: Game) -> None:
    """Set the number of torch threads; the default is one for networks without convolutions.

    The layers of a perceptron are too small to share: on a busy machine, two threads were ten times slower than one.
    """
    has_convolution = False
    for module in game.modules():
        has_convolution = has_convolution or isinstance(module, nn.modules.conv._ConvNd)
    torch.set_num_threads(config.get("threads") or (THREADS if has_convolution else 1))


def check_labels_exist(game: Game, data: Any) -> None:
    """Raise Mistake if a term needs labelled images and the data have none: it would train on nothing."""
    for name, player in game.players.items():
        for term in player.terms.values():
            if "labelled" in getattr(term, "sides", ()) and getattr(data, "labels", None) is None:
                raise Mistake(
                    f"{name}: a term needs labelled images, and these data have none: data.labels=10 labels ten per "
                    "class, if the data have classes"
                )


def check_modality(game: Game, data: Any) -> None:
    """Raise Mistake if a network has another `modality` than the data."""
    for name, network in game.networks().items():
        expected, actual = getattr(network, "modality", None), modality_of(data).name
        if isinstance(expected, str) and expected != actual:
            raise Mistake(f"architecture.{name} is for {expected}, but the data are {actual}: choose architecture=mlp")


@torch.no_grad()
def check_codes(game: Game, data: Any) -> None:
    """Raise Mistake if a network that makes samples from latents also gets a code with other parts or sizes."""
    decoders = set()
    for side in game.sides.values():
        if side.of == LATENT:
            decoders.update(side.by[:1])
    for name, side in game.sides.items():
        if side.of not in game.sides or not decoders.intersection(side.by[:1]):
            continue
        expected: dict[str, int] = {part: cast(Any, prior).dim for part, prior in game.prior.items()}
        stream = Stream(game.seed, "codes", device=game.device)
        with in_mode(game), preserve_random_state(game.device):
            code = (
                turn_of_rows(game, data.first_batch(2), stream, {**game.networks(), **game.makers})
                .side_sample(side.of)
                .x
            )
        sizes = {part: z[0].numel() for part, z in code.items()} if isinstance(code, Mapping) else None
        if sizes is not None and sizes != expected:
            raise Mistake(
                f"game.sides.{name}: the code of {side.of} has the parts {_format_sizes(sizes)}, and the prior has "
                f"{_format_sizes(expected)}: set {'+'.join(game.sides[side.of].by)}'s dim to that of the prior"
            )


def _format_sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} of {size} numbers" for name, size in sizes.items())


def check_classes(game: Game, data: Any) -> None:
    """Raise Mistake if a label column of the data has other classes than `game.classes`."""
    for column, size in game.conditions.classes.items():
        if column == "y" and None not in (size, data.classes) and size != data.classes:
            raise Mistake(
                f"game.classes.y={size}: these data have {data.classes} classes: set game.classes.y={data.classes}"
            )
        labels = data.split("train").extra_columns.get(column)
        if size is not None and labels is not None and (largest := int(labels.max())) >= size:
            raise Mistake(
                f"game.classes.{column}={size}: the labels of these data go from {int(labels.min())} to {largest}"
            )


def check_batch_sizes(config: CheckedConfig, game: Game) -> None:
    """Raise Mistake if `accumulate` does not divide a batch, or if a batch of 1 meets a layer that compares samples."""
    sizes = {"batch": config.batch}
    if config.data.get("labels") is not None:
        sizes["data.labelled_batch"] = config.data.get("labelled_batch") or config.batch
    for name, player in game.players.items():
        layers = [type(m).__name__ for m in player.network.modules() if getattr(m, "coupled", False)]
        for key, size in sizes.items():
            if size % player.accumulate:
                division = f"game.players.{name}.accumulate={player.accumulate}"
                raise Mistake(f"{key}={size} cannot be split in {division} equal parts")
            if layers and size == 1:
                raise Mistake(f"{key}=1: {layers[0]} compares the samples of a batch, so it needs at least 2")


def check_terms_and_makers(game: Game) -> list[str]:
    """Call `check_game` of every term that counts, and of makers that define it; return the warnings."""
    terms = {f"regularizer.{p}.{key}": term for p, player in game.players.items() for key, term in player.terms.items()}
    makers = {f"game.makers.{key}": maker for key, maker in game.makers.items() if hasattr(maker, "check_game")}
    lines: dict[str, str] = {}  # each once, although both generators of a cycle may have the term
    for path, component in {**terms, **makers}.items():
        try:
            line = cast(Any, component).check_game(game) if getattr(component, "weight", None) != 0 else None
        except Mistake as mistake:
            raise Mistake(f"{path}: {mistake}") from None
        if line:
            lines.setdefault(line, path)
    return [f"{path}: {line}" for line, path in lines.items()]


def objective_warnings(game: Game) -> list[str]:
    """Return a warning for each player whose loss has no minimum and whose network nothing bounds."""
    lines = []
    for name, player in game.players.items():
        if player.objective is None or player.regularizers or name not in [side.judge for side in game.sides.values()]:
            continue
        real, fake = logit_gradient(player.objective, FAR, -FAR)
        if (real < 0 or fake > 0) and not any(
            is_parametrized(module) or isinstance(module, WeightClip) for module in player.network.modules()
        ):
            lines.append(
                f"objective.{name} falls without limit as logits grow, and nothing limits the slope of {name}: add for "
                f"example +regularizer=gradient_penalty, or +layer@game.players.{name}.network=spectral_norm"
            )
    return lines


def _wraps_network_of_judge(game: Game) -> bool:
    """Whether G is a layer around a network of the class of D, the default of spectral_norm and weight_clip."""
    wrapped = getattr(generator_player(game).network, "network", None)
    return can_judge_samples(game) and type(wrapped) in map(type, judge_player(game).network.modules())


def check_networks_fit(game: Game, shape: tuple[int, ...], classes: int | None) -> None:
    """Raise Mistake if a forward pass of G and D on two samples, or an objective on their logits, fails."""
    stream = Stream(game.seed, "fits", device=game.device)
    try:
        x = game.sample(2, stream=stream, average=False)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        advice = "architecture.generator.latent follows the prior unless it is set"
        error_note = f"architecture.generator, given the prior's latents: {game.prior.total_dim} numbers"
        if isinstance(error, TypeError):
            advice = "a network is called network(latent, condition), the condition a mapping of named tensors"
            error_note = f"{error_note}; {advice}"
        if _wraps_network_of_judge(game):
            advice = (
                "the layer around it has the network of D: set "
                "game.players.generator.network.network='${architecture.generator}'"
            )
        raise Mistake(
            f"the generator does not take the prior's latents ({game.prior.total_dim} numbers): {first_line(error)}. "
            f"{advice}"
        ) from with_note(error, error_note)
    location = format_source_location(generator_player(game).network)
    if not isinstance(x, torch.Tensor):
        raise Mistake(f"the generator returns {describe_type_of(x)}, but must return a tensor{location}")
    if tuple(x.shape[1:]) != shape:
        raise Mistake(f"the generator makes {list(x.shape[1:])}, but data.shape is {list(shape)}{location}")
    output = _discriminator_output(game, stream, shape) if can_judge_samples(game) else None
    if output is not None and (judge := str(game.sides[game.samples].judge)):
        _check_logits_unbounded(judge, judge_player(game).objective, output.logits)
    for name, player in game.players.items():
        for fakes in dict.fromkeys((2, 2 * player.multiple)) if player.objective is not None else ():
            zeros = {"real": torch.zeros(2), "fake": torch.zeros(fakes)}
            try:
                loss = cast(Any, player.objective)(**{side: zeros[side] for side in player.adversarial_terms[0].sides})
            except (ValueError, RuntimeError) as error:
                multiple = f"pairs reals and fakes, so it does not allow game.players.{name}.multiple={player.multiple}"
                reason = f"objective.{name}" if fakes == 2 else f"the objective of {name} {multiple}"
                raise Mistake(f"{reason}: {first_line(error)}") from with_note(error, reason)
            if not isinstance(loss, torch.Tensor) or loss.ndim:
                raise Mistake(
                    f"objective.{name} returns {describe_type_of(loss)}, but must return a scalar tensor: take the mean"
                    f"{format_source_location(player.objective)}"
                )
        for term_name, term in player.terms.items():
            if output is None:
                break
            try:
                term.check_output(output)
                _check_head_size(getattr(term, "head", None), output.heads, classes)
            except Mistake as mistake:
                raise Mistake(f"regularizer.{name}.{term_name}: {mistake}") from None


def _discriminator_output(game: Game, stream: Stream, shape: tuple[int, ...]) -> Any:
    """Return D's output for two samples, in evaluation mode. Raises Mistake if D does not accept them."""
    network = judge_player(game).network
    try:
        with in_mode(game):
            sample = samples_for_judge(game, 2, stream)
            output = network(sample.x, sample.condition)
    except (RuntimeError, ValueError) as error:
        raise Mistake(
            f"the discriminator does not take images of data.shape {list(shape)}: {first_line(error)}"
        ) from with_note(error, f"architecture.discriminator, given images of data.shape {list(shape)}")
    except TypeError as error:  # a readout is called with (features, condition, heads), a neck with features only
        message = f"the discriminator's layers do not fit as neck or readout: {first_line(error)}"
        raise Mistake(message) from with_note(error, "architecture.discriminator")
    if not all(hasattr(output, field) for field in ("logits", "features", "heads")):
        raise Mistake(
            f"the discriminator returns {describe_type_of(output)}, but must return a saddlepoint.turn."
            f"DiscriminatorOutput(logits, features, heads){format_source_location(network)}"
        )
    return output


def _check_logits_unbounded(judge: str, objective: Callable[..., torch.Tensor] | None, logits: torch.Tensor) -> None:
    """Raise Mistake if D ends with a function of bounded range and the optimum of its objective is outside."""
    node = logits.grad_fn
    while node is not None and node.name().startswith(RESHAPES):
        node = node.next_functions[0][0]
    function = node.name().partition("Backward")[0].lower() if node is not None else ""
    if objective is None or function not in BOUNDED:
        return
    low, high = BOUNDED[function]
    real, fake = logit_gradient(objective, high, low)
    if real < 0 or fake > 0:  # reals should be above the upper bound, or fakes below the lower one
        raise Mistake(
            f"objective.{judge}: its optimum is out of reach of {judge}, which ends with a {function}, from {low:g} to "
            f"{high:g}: return logits, without the {function}, or choose objective=least_squares"
        )


def _check_head_size(head: str | None, heads: Mapping[str, torch.Tensor], classes: int | None) -> None:
    """Raise Mistake if the head that a term reads has fewer outputs than the data have classes."""
    if head is not None and head in heads and (size := heads[head].shape[1]) < (classes or 0):
        raise Mistake(
            f"head {head} has {size} outputs, but the data have {classes} classes: set "
            f"'architecture.discriminator.heads={{{head}: {classes}}}'"
        )


def with_note(error: Exception, note: str) -> Exception:
    """Add a note to an error and return it."""
    error.add_note(note)
    return error
