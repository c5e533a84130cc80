"""Whether a game fits its data and its config: refused before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from omegaconf import DictConfig

from saddlepoint.error import Mistake, kind, line_of
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge, judged_alone, sampled_player
from saddlepoint.game.sampling import judged
from saddlepoint.modality import of
from saddlepoint.mode import in_mode
from saddlepoint.stream import Stream


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


def refuse_batch_sizes(config: DictConfig, game: Game) -> None:
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


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
