"""Applying a run's networks to a user's images: repair, translation, super-resolution, colourisation, reconstruction.

Samples are drawn as in the run's evaluation: averaged networks in evaluation mode, the same random stream, batches of
`evaluation.batch`.  On the sources of the evaluation's split, in their order, they are therefore equal bit for bit.
With `side`, another side of the game is computed: the other direction of a cycle, a reconstruction from the mean code,
or an encoder's codes, which are written to an npz.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saddlepoint.callback.evaluation import Sampler
from saddlepoint.callback.pair_grid import pair_tiles
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.data import image_file, named_images
from saddlepoint.data.named_images import NamedImages
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.build import build_game, modality_from_config
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.restore import restore_checkpoint_or_snapshot
from saddlepoint.extractor.extractor import Features
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import condition_columns, condition_draws, sampling_players, upstream_sides
from saddlepoint.game.pairs import NOISE
from saddlepoint.game.sampling import sampling_contract
from saddlepoint.game.side import dependencies
from saddlepoint.metric.paired import Paired
from saddlepoint.modality import Image
from saddlepoint.modality.modality import png_bytes
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, load_json, unwritable_error, write_file
from saddlepoint.run.storage import atomic
from saddlepoint.run.storage.cache import Log
from saddlepoint.stream import Stream

SOURCE, MASK = "source", "mask"
MAX_SHOWN, GROUPS = 32, 4  # sources on the sheet, and how many beside each other


class ApplyRequest(NamedTuple):
    """The images of a command line."""

    source: str  # an image, a folder, a zip, an npz
    mask: str | None = None
    truth: str | None = None
    fit: str = "crop"  # of images of another aspect ratio: crop, pad
    side: str | None = None  # to compute; None: game.samples


class Applied(NamedTuple):
    """What was made."""

    sheet: Path  # PNG of input, output and, if given, truth; the page of it belongs beside it, as .html
    columns: tuple[str, ...]  # of the sheet
    scores: dict[str, float]  # distances from the truth, as the metric `paired` has them; {} without a truth
    facts: tuple[str, ...]  # sentences: what was read, changed and used


def apply(
    run: Run,
    config: CheckedConfig,
    request: ApplyRequest,
    to: str,
    at: str | int,
    seed: int | None,
    average: bool,
    log: Log,
) -> Applied | None:
    """Write the samples of the generator for each source to the folder `to`, and a sheet of them to `to`.png.

    The codes of a side that an encoder makes are written to the npz `to`, without a sheet; None is returned.
    seed  of noise (latents, dropout); None: that of the run's evaluation
    Raises Mistake if the game takes no image, or if the images do not fit; nothing is written then.
    """
    folder, sheet = (Path(to), Path(to)) if to.endswith(".npz") else _check_destination(to)
    if request.fit not in image_file.FIT_MODES:
        raise Mistake(f"fit={request.fit}: choose one of {', '.join(image_file.FIT_MODES)}.")
    modality, shape = modality_from_config(config), tuple(config.data.shape)
    if not isinstance(modality, Image):
        raise Mistake(f"{run.folder} makes {modality.plural}; apply is for images.")
    modality.check_suffix("/", shape)
    game = build_game(config)
    _select_side(game, request.side, at)
    columns = (load_json(run.folder / "provenance.json").get("data") or {}).get("columns") or {}
    entry, source_shape = _source_entry(game, request.source, {**columns, "x": shape})
    sources, condition, truth = _load_inputs(game, request, entry, source_shape, shape, modality, log)
    restore_checkpoint_or_snapshot(game, run, at, log)
    game.to(resolve_device(config))
    batch_norm, batch = config.evaluation.get("batch_norm", "running"), config.evaluation.batch
    sampler = Sampler(game, average, batch_norm)
    if seed is not None:
        sampler.stream = Stream(seed, "apply", device=game.device)
    batches = list(_sample_batches(sampler, condition, batch))
    if isinstance(batches[0], Mapping) or to.endswith(".npz"):
        if request.truth is not None:
            raise Mistake(f"truth={request.truth}: side {game.samples} makes codes, which have no distance to images")
        _write_codes(batches, sources.names, to)
        log(f"codes of {len(sources.names):,} images by {run.folder} after {game.images:,} images: {to}")
        return None
    made = modality.to_stored(torch.cat(batches))
    scores = {} if truth is None else _paired_scores(made, truth, condition.get(MASK), modality)
    _write(made, sources.names, folder, modality)
    shown = {"input": _shown_input(game, entry, condition), "output": made, "truth": truth}
    columns = {name: images for name, images in shown.items() if images is not None}
    write_file(sheet, _draw_sheet([*columns.values()], modality))
    mode = _describe_mode(sampling_contract(game, average, batch_norm, batch))
    made_by = f"{len(made):,} images of {run.folder} after {game.images:,} images; {mode}"
    log(made_by)
    if scores:
        where = "the pixels inside the mask" if MASK in condition else "all pixels"
        log(f"{', '.join(f'{name} {value:.4g}' for name, value in scores.items())}, of {where}")
    return Applied(sheet, tuple(columns), scores, (made_by, *sources.notes))


def _load_inputs(
    game: Game, request: ApplyRequest, entry: str, source_shape: Sequence[int], shape: Sequence[int], modality: Image,
    log: Log,
) -> tuple[NamedImages, dict[str, Tensor], Tensor | None]:  # fmt: skip
    """Return the sources, the condition of the samples and, if it was requested, their truth; log what was changed."""
    sources = named_images.load_images(request.source, source_shape, modality, request.fit, SOURCE)
    for note in sources.notes:
        log(note)
    condition = {entry: modality.to_float(sources.x), **_further_condition(game, request, sources)}
    if request.truth is None:
        return sources, condition, None
    return sources, condition, named_images.load_truths(request.truth, sources, shape, modality, request.fit)


def _describe_mode(fields: Mapping[str, Any]) -> str:
    """Return the weights and the mode of the generator, from the fields of its contract."""
    dropout = "on" if fields["dropout"] else "off"
    return f"{fields['weights']} weights, batch norm {fields['batch_norm']}, dropout {dropout}"


def _check_destination(to: str) -> tuple[Path, Path]:
    """Return the folder of the images and the file of the sheet.  Raises Mistake unless both, and its page, are new."""
    folder = destination.check_output_folder(to)
    if folder.exists() and any(folder.iterdir()):
        raise Mistake(f"to={to} is not empty; name another folder, so that images of two runs are not mixed.")
    sheet = folder.absolute().with_name(f"{folder.absolute().name}.png")
    if taken := next((file for file in (sheet, sheet.with_suffix(".html")) if file.exists()), None):
        raise Mistake(f"{taken}, where the sheet of to={to} would be written, exists; name another folder.")
    return folder, destination.check_output_file(sheet, (".png",), "a .png", makes_folders=True)


def _source_entry(game: Game, source: str, shapes: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Return the column that the user's images replace, and its shape.

    It is `source`, or the column that samples are made from.  If a maker makes the side `source` from x, images that
    have the maker's size and channels already take the place of the side, which becomes a column of the game.
    """
    columns = [column for column in condition_columns(game).values() if column not in game.conditions.classes]
    if not columns:
        sides = [name for name in game.sides if game.sides[name].by and "x" in game.dependencies[name]]
        others = f" Of x are made: {', '.join(f'side={name}' for name in sides)}." if sides else ""
        raise Mistake(
            f"samples of this run are not made from images (there is no source), so apply has nothing to do.{others}"
        )
    entry = SOURCE if SOURCE in columns else columns[0]
    if len(columns) > 1 and entry != SOURCE:
        raise Mistake(f"samples of this run are made from the columns {', '.join(columns)}; apply takes one, {SOURCE}.")
    if entry not in shapes:
        raise Mistake(f"the record of this run has no shape of {entry}; it has {', '.join(shapes)}.")
    side = upstream_sides(game).get(SOURCE)
    if side is None or side.of != entry:
        return entry, tuple(shapes[entry])
    derived = tuple(_make_source(game, torch.zeros(1, *shapes[entry])).shape[1:])
    if not _has_shape(source, derived, tuple(shapes[entry])):
        return entry, tuple(shapes[entry])
    game.sides = {name: other for name, other in game.sides.items() if name != SOURCE}
    game.dependencies = dependencies(game.sides)
    return SOURCE, derived


def _has_shape(path: str, derived: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether the first image at `path` has the size of a derived source, or is grey if only the channels differ."""
    if named_images.has_array_suffix(path):
        return derived in named_images.array_shapes(path)
    files = named_images.list_images(path, SOURCE)
    if derived[1:] != whole[1:]:
        return image_file.read_size(files, files.names[0]) == derived[1:]
    return image_file.is_grey(files, files.names[0]) and derived[0] <= 2


def _make_source(game: Game, x: Tensor) -> Tensor:
    """Return the side `source` of images x, in float form."""
    for name in game.sides[SOURCE].by:
        x = game.makers[name](x, {})
    return x


def _further_condition(game: Game, request: ApplyRequest, sources: NamedImages) -> dict[str, Tensor]:
    """Return what samples need besides the sources: masks, and noise of 0, with which an encoder returns its mean."""
    condition, draws = {}, condition_draws(game)
    if (mask := _load_mask(game, request, sources)) is not None:
        condition[MASK] = mask
    if NOISE in draws:
        draw, part = draws[NOISE]
        condition[NOISE] = torch.zeros(len(sources.x), game.priors[draw][part].dim)  # pyright: ignore[reportArgumentType]
    return condition


def _load_mask(game: Game, request: ApplyRequest, sources: NamedImages) -> Tensor | None:
    """Return the masks of the sources, None if samples have none.  Raises Mistake for missing and unused masks."""
    space = tuple(sources.x.shape[2:])
    if MASK not in condition_draws(game):
        if request.mask is not None:
            raise Mistake(f"mask={request.mask}: samples of this run have no mask (game=inpainting has).")
        return None
    if request.mask is None:
        return named_images.masks_from_transparency(sources, (space[0], space[1]), request.fit)
    return named_images.load_masks(request.mask, sources, (space[0], space[1]), request.fit)


def _sample_batches(sampler: Sampler, condition: Mapping[str, Tensor], batch: int) -> Any:
    """Yield the samples of the next rows of the condition, on the CPU."""
    n = len(next(iter(condition.values())))
    for start in range(0, n, batch):
        rows = {name: entry[start : start + batch].to(sampler.game.device) for name, entry in condition.items()}
        x: Any = sampler(min(batch, n - start), rows)[0]
        yield {name: part.cpu() for name, part in x.items()} if isinstance(x, Mapping) else x.cpu()


def _select_side(game: Game, side: str | None, at: str | int) -> None:
    """Make `side` the one that samples are drawn from.  Raises Mistake if it, or a snapshot of it, does not exist."""
    if side is None:
        return
    if side not in game.sides:
        raise Mistake(
            f"side={side}: this game has no such side.{did_you_mean(side, game.sides)} There are: "
            f"{', '.join(game.sides)}"
        )
    saved = {*sampling_players(game)}
    game.samples = side
    if isinstance(at, int) and (missing := {*sampling_players(game)} - saved):
        raise Mistake(f"at={at}: snapshots have no weights of {', '.join(sorted(missing))}; use at=last or best")


def _write_codes(batches: Sequence[Any], names: Sequence[str], to: str) -> None:
    """Write the parts of the codes, [n, dim] each, and the names of the images.  Raises Mistake for images."""
    if not isinstance(batches[0], Mapping):
        raise Mistake(f"to={to}: an npz is for codes (side=code), and these are images: name a new folder")
    path = destination.check_output_file(to, (".npz",), "codes are written to an .npz", makes_folders=True)
    content = io.BytesIO()
    parts: dict[str, Any] = {name: torch.cat([codes[name] for codes in batches]).numpy() for name in batches[0]}
    np.savez(content, name=np.array(names), **parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content.getvalue())


def _shown_input(game: Game, entry: str, condition: Mapping[str, Tensor]) -> Tensor:
    """Return what the generator was given, uint8: the source of a maker, or the image with its region hidden."""
    x = condition[entry]
    if SOURCE in upstream_sides(game):
        x = _make_source(game, x.to(game.device)).cpu()
    return Image().to_stored(torch.where(condition[MASK] > 0, 0.0, x) if MASK in condition else x)


def _paired_scores(made: Tensor, truth: Tensor, mask: Tensor | None, modality: Image) -> dict[str, float]:
    """Return the distances of stored images from their truth."""
    metric = Paired()
    metric.update(Features(torch.empty(len(made), 0), x=made, target=modality.to_float(truth), mask=mask), real=False)
    return {f"paired_{name}": float(result.value) for name, result in metric.compute().items()}


def _draw_sheet(columns: Sequence[Tensor], modality: Image) -> bytes:
    """Return a PNG with input, output and truth of the first sources beside each other."""
    source, x, *truth = (modality.to_float(images[:MAX_SHOWN]) for images in columns)
    tiles = pair_tiles(source, x, truth[0] if truth else None)
    return png_bytes(modality.picture(tiles, len(columns) * min(GROUPS, len(x))))


def _write(x: Tensor, names: list[str], folder: Path, modality: Image) -> None:
    """Write one PNG per image, all or none."""
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_folder(folder.absolute()) as temporary:
            for name, (_, content) in zip(names, modality.folder_contents(x), strict=True):
                path = temporary / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    except OSError as error:
        raise unwritable_error(folder, error, key="to") from None
