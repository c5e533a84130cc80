"""Drawing samples of a run, for given conditions, or along paths of latents, and writing them to files."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saddlepoint.config.tree import CheckedConfig
from saddlepoint.data import named_images
from saddlepoint.data.array_file import CONTRACT
from saddlepoint.data.samples import load_samples
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.experiment.build import build_game, modality_from_config
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.restore import restore_checkpoint_or_snapshot
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import class_condition_name, condition_columns, condition_entries, latent_part_names
from saddlepoint.game.pairs import evaluated_networks, turn_of_rows
from saddlepoint.game.sampling import (
    build_sampling_turn,
    draw_condition,
    draw_dropout_seed,
    generate,
    ordered_condition,
    prepare_sampling_networks,
    sampling_contract,
    sampling_modules,
)
from saddlepoint.game.side import LATENT
from saddlepoint.layer.mapping_network import MappingNetwork
from saddlepoint.layer.standing_statistics import standing_statistics
from saddlepoint.modality import Image, Modality, default_modality
from saddlepoint.modality.modality import FOLDER
from saddlepoint.mode import in_mode
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.traversal import interpolate_by_prior, traversal_of
from saddlepoint.prior.truncated_normal import TruncatedNormal
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, load_json, unwritable_error, write_file
from saddlepoint.run.storage.cache import Log
from saddlepoint.stream import Stream
from saddlepoint.turn import UNCONDITIONAL, Batch, Condition


class Request(NamedTuple):
    """The samples that a command line requests; `by` excludes `label` and `source`."""

    n: int
    label: Any = None  # a class, or {label: class}
    by: str | None = None  # the name of a label
    source: Any = None  # a path, or {condition: path}
    truncation: float | None = None  # psi of mapping networks, otherwise the threshold of normal latents
    standing_statistics: int | None = None  # the number of forward passes
    interpolate: int | None = None  # steps from one latent to another
    between: Sequence[str] | str | None = None  # two images, the ends of the path
    kind: str | None = None  # of the interpolation: spherical, linear; None: by the prior
    traverse: str | None = None  # a part of the latent, or <part>.<entry>
    steps: int | None = None  # values of a continuous part
    span: Sequence[float] | None = None  # first and last of them


BATCH = 500  # samples that are computed at once
STEPS = 8  # of an interpolation between two images
LATENT_KEYS = ("truncation", "interpolate", "between", "kind", "traverse", "steps", "span")


@dataclass(frozen=True)
class ResolvedRequest:
    """A request as tensors: n samples under a condition of n rows; missing entries are drawn by `game.conditions`."""

    n: int
    condition: Condition = field(default_factory=dict)
    columns: int | None = None  # samples per row of the picture; None: a square
    labels: Tensor | None = None  # [n], the class of each sample, column y, if it was requested
    latent: Mapping[str, Tensor] | None = None  # n latents, under a complete condition; None: drawn with the samples


def resolve_request(
    game: Game, request: Request, modality: Modality, shapes: Mapping[str, Any], log: Log
) -> ResolvedRequest:
    """Resolve a request to tensors.

    shapes  the shape of one sample, for each column that a source may replace
    Raises Mistake if two requests contradict each other, or if the game has no such label or source.
    """
    if request.by is not None:
        if request.label is not None:
            raise Mistake("label= draws one class and by= draws all classes: give one of the two")
        if request.source is not None:
            raise Mistake("by= draws a row per class and source= a sample per source: give one of the two")
        size = _class_count(game, request.by)
        columns = max(1, request.n // size)  # the same number for each class
        resolved = ResolvedRequest(columns * size, {request.by: torch.arange(size).repeat_interleave(columns)}, columns)
    else:
        n, condition = request.n, {}
        if request.source is not None:
            name, x = _load_source(game, request.source, modality, shapes, log)
            n = min(n, len(x))
            condition[name] = x[:n]
        if request.label is not None:
            classes = request.label if isinstance(request.label, Mapping) else {"label": request.label}
            if not classes:
                raise Mistake("label={} names no label: give label=3, or {colour: 2} for one of several labels")
            for name, value in classes.items():
                condition[str(name)] = torch.full((n,), _class_number(game, str(name), value))
        resolved = ResolvedRequest(n, condition)
    name = class_condition_name(game)
    return resolved if name is None else replace(resolved, labels=resolved.condition.get(name))


def check_latent_request(game: Game, request: Request) -> int:
    """Return the number of samples per path; 1 without a path.

    Raises Mistake if a request of latents contradicts another, or if samples of the game are not made from them.
    """
    requested = [name for name in ("interpolate", "traverse", "truncation") if getattr(request, name) is not None]
    if request.between is not None:
        requested = [*requested, "interpolate"] if "interpolate" not in requested else requested
        used = [
            name for name in ("by", "label", "source", "truncation", "traverse") if getattr(request, name) is not None
        ]
        if used:
            raise Mistake(f"between= has the two images as ends, so {used[0]}= has no meaning: leave it out")
    for name, of in (("kind", "interpolate"), ("steps", "traverse"), ("span", "traverse")):
        if getattr(request, name) is not None and of not in requested:
            raise Mistake(f"{name}={getattr(request, name)}: it belongs to {of}=, which is not given")
    if "interpolate" in requested and "traverse" in requested:
        raise Mistake("interpolate= changes all parts of the latent and traverse= changes one: give one of the two")
    if request.by is not None and requested and requested[0] != "truncation":
        raise Mistake(f"by= draws a row per class and {requested[0]}= a row per latent: give label= instead of by=")
    parts = latent_part_names(game)
    for name in requested:
        if not parts:
            raise Mistake(f"{name}={getattr(request, name) or 8}: samples of this run are not made from latents")
    used = str(request.traverse).partition(".")[0]
    if request.traverse is not None and used in game.prior and used not in parts:
        raise Mistake(f"traverse={request.traverse}: samples of this run are made from {', '.join(parts)} only")
    if request.traverse is None:
        return request.interpolate or (STEPS if request.between is not None else 1)
    steps = len(traversal_of(game.prior, request.traverse, request.steps, request.span).rows)
    if request.steps not in (None, steps):
        raise Mistake(f"steps={request.steps}: {request.traverse} is categorical and takes each of its {steps} values")
    return steps


def truncate(game: Game, truncation: float, average: bool) -> None:
    """Move w toward its mean in the mapping networks of samples; without such networks, call `truncate_prior`."""
    networks, _ = sampling_modules(game, average)
    modules = [module for network in networks.values() for module in network.modules()]
    mappings = [module for module in modules if isinstance(module, MappingNetwork)]
    for mapping in mappings:
        mapping.psi = truncation
    if not mappings:
        truncate_prior(game, truncation)


def truncate_prior(game: Game, threshold: float) -> None:
    """Truncate the normal parts of the latent at +-threshold.  Raises Mistake if there are none, or if it is 0."""
    if threshold == 0:
        raise Mistake("truncation=0: a threshold of normal latents must be above 0")
    kinds = {name: type(game.prior[name]).__name__ for name in latent_part_names(game)}
    normal = {name: part for name, part in game.prior.items() if name in kinds and isinstance(part, Normal)}
    if not normal:
        described = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise Mistake(f"truncation={threshold}: it redraws the tails of normal latents, and here {described}")
    for name, part in normal.items():
        game.prior[name] = TruncatedNormal(part.dim, min(threshold, getattr(part, "threshold", threshold)))


def resolve_latents(game: Game, request: Request, resolved: ResolvedRequest, seed: int) -> ResolvedRequest:
    """Return a request with the latents of an interpolation or traversal; `resolved` has one row per path.

    Path i begins at the latent of sample i of the request without a path, and keeps its condition.
    """
    stream = Stream(seed, "sample", device=game.device)
    condition = draw_condition(game, resolved.n, stream, resolved.condition)
    latent = game.prior.sample(resolved.n, stream)
    if request.traverse is not None:
        latent = traversal_of(game.prior, request.traverse, request.steps, request.span).latents(latent)
    else:
        other = game.prior.sample(resolved.n, stream)
        latent = interpolate_by_prior(game.prior, latent, other, request.interpolate or 8, request.kind)
    n = len(next(iter(latent.values())))
    steps = n // resolved.n
    condition = {name: entry.repeat_interleave(steps, 0) for name, entry in condition.items()}
    labels = None if resolved.labels is None else resolved.labels.repeat_interleave(steps)
    return ResolvedRequest(n, condition, steps, labels, latent)


def resolve_between(
    game: Game, request: Request, steps: int, shape: Sequence[int], modality: Modality, average: bool, at: str | int,
    log: Log,
) -> ResolvedRequest:  # fmt: skip
    """Return a request with the latents between the codes of two images, both ends included.

    Raises Mistake unless the game has an encoder of the generator's latents, and the request two images.
    """
    paths = request.between.split(",") if isinstance(request.between, str) else list(request.between or ())
    maker = game.sides[game.samples].by
    codes = [side.of for side in game.sides.values() if side.by == maker and side.of in game.sides]
    if isinstance(at, int):
        raise Mistake(f"at={at}: snapshots have no weights of the encoder that between= needs; use at=last or best")
    if not codes or game.sides[game.samples].of != LATENT:
        raise Mistake(f"between={','.join(paths)}: this game has no encoder (game=vae, vae_gan and bigan have)")
    if len(paths) != 2 or not isinstance(modality, Image):
        raise Mistake(f"between={','.join(paths)}: give two images, between=a.png,b.png")
    loaded = [named_images.load_images(path.strip(), shape, modality, "crop", "between") for path in paths]
    for path, images in zip(paths, loaded, strict=True):
        for note in images.notes:
            log(note)
        if len(images.x) > 1:
            log(f"between: the first of the {len(images.x):,} images of {path.strip()}, {images.names[0]}")
    networks = evaluated_networks(game, average)
    rows = Batch(modality.to_float(torch.cat([images.x[:1] for images in loaded])))
    with in_mode(*networks.values()), torch.no_grad():
        stream = Stream(game.seed, "between", device=game.device)
        code = turn_of_rows(game, rows, stream, networks).side_sample(codes[0]).x
    one, other = ({name: z[i : i + 1] for name, z in code.items()} for i in (0, 1))
    latent = interpolate_by_prior(game.prior, one, other, steps, request.kind)
    return ResolvedRequest(steps, draw_condition(game, steps, stream), steps, None, latent)


def _class_number(game: Game, name: str, value: Any) -> int:
    """Return the number of a class, given by number or by its name in the data."""
    size = _class_count(game, name)
    if type(value) is int:
        if not 0 <= value < size:
            raise Mistake(f"{name}={value}: the classes are 0 to {size - 1}")
        return value
    names = game.conditions.load_dataset().class_names if condition_entries(game)[name] == "y" else []
    if str(value) not in names:
        words = [known for known in names if not known.isdecimal()]
        choices = f", or {', '.join(words[:10])}{', ...' if len(words) > 10 else ''}" if words else ""
        raise Mistake(
            f"{name}={value}: a class is a number from 0 to {size - 1}{choices}.{did_you_mean(str(value), names)}"
        )
    return names.index(str(value))


def _class_count(game: Game, name: str) -> int:
    """Return the number of classes of a label.  Raises Mistake if samples are not conditioned on it."""
    entries = condition_entries(game)
    labels = [entry for entry, column in entries.items() if game.conditions.classes.get(column) is not None]
    if name not in labels:
        known = f"its labels are {', '.join(labels)}" if labels else "its game has no label (game=conditional has)"
        raise Mistake(f"samples of this run are not conditioned on {name}; {known}.{did_you_mean(name, labels)}")
    return int(game.conditions.classes[entries[name]] or 0)


def _load_source(
    game: Game, source: Any, modality: Modality, shapes: Mapping[str, Any], log: Log
) -> tuple[str, Tensor]:
    """Load a source: the name of its condition, and its rows as networks take them."""
    sources = {key: column for key, column in condition_columns(game).items() if column not in game.conditions.classes}
    if not sources:
        raise Mistake("source: samples of this run have no source; they are made from latents (and classes) only")
    if isinstance(source, Mapping) and len(source) != 1:
        raise Mistake(f"source={dict(source)}: name one condition and its folder, {{{next(iter(sources))}: <folder>}}")
    name, path = next(iter(source.items())) if isinstance(source, Mapping) else (None, source)
    if name is None:
        name = "source" if "source" in sources else next(iter(sources))
        if len(sources) > 1 and name != "source":
            raise Mistake(
                f"source={path}: samples have the sources {', '.join(sources)}: name one, source={{{name}: {path}}}"
            )
    if name not in sources:
        raise Mistake(
            f"source.{name}: samples have the sources {', '.join(sources)}.{did_you_mean(str(name), sources)}"
        )
    column = sources[name]
    if column not in shapes:
        raise Mistake(f"source={path}: the record of this run has no shape for {column}, only for {', '.join(shapes)}")
    split = load_samples(path, tuple(shapes[column]), log, modality=modality, key="source", by_name=True)
    return name, split.batch_at(torch.arange(len(split))).x


def write_samples(
    run: Run, config: CheckedConfig, request: Request, to: str | None, at: str | int, seed: int, average: bool,
    log: Log,
) -> None:  # fmt: skip
    """Draw the requested samples from a run at `at` and write them to `to`; None: a format of the modality."""
    modality, shape = modality_from_config(config), tuple(config.data.shape)
    to = to or _default_name(request) + _default_suffix(modality, shape, request.n)
    path, suffix = _check_and_parse_destination(to, modality)
    modality.check_suffix(suffix, shape, request.n)
    game = build_game(config)
    steps = check_latent_request(game, request)
    restore_checkpoint_or_snapshot(game, run, at, log)
    if request.truncation is not None:
        truncate(game, request.truncation, average)
    columns = (load_json(run.folder / "provenance.json").get("data") or {}).get("columns") or {}
    rows = request._replace(n=max(1, request.n // steps))
    resolved = resolve_request(game, rows, modality, {**columns, "x": list(shape)}, log)
    game.to(resolve_device(config))
    if request.between is not None:
        resolved = resolve_between(game, request, steps, shape, modality, average, at, log)
    elif steps > 1:
        resolved = resolve_latents(game, request, resolved, seed)
    contract = {"images": game.images, "sample_seed": seed, **sampling_contract(game, average, "running", BATCH)}
    settings = {key: getattr(request, key) for key in LATENT_KEYS if getattr(request, key) is not None}
    period = resolved.columns if request.by is not None else None
    statistics = nullcontext()
    if passes := request.standing_statistics:
        networks, _ = prepare_sampling_networks(game, average)
        forwards = [_forward_pass(game, networks, config.batch, Stream(seed, "statistics"))] * passes
        statistics = standing_statistics(networks.values(), forwards)
        contract["batch_norm"] = f"standing, {passes} passes of {config.batch}"
    with statistics:
        x = draw_samples(game, resolved.n, seed, average, BATCH, modality, resolved.condition, period, resolved.latent)
    _write_samples(x, path, suffix, modality, resolved, contract | settings)
    layout = f" ({period} of each class, the same latents for each)" if period else ""
    layout = f" ({resolved.n // steps} rows of {steps})" if steps > 1 else layout
    log(f"{resolved.n} samples of {run.folder}, {game.images:,} images{layout}: {path}")
    if warning := modality.describe_information_loss(suffix):
        log(warning)


def _forward_pass(game: Game, networks: Mapping[str, Any], n: int, stream: Stream) -> Callable[[], Any]:
    """Return a function that draws n samples by `networks`, under conditions of `game.conditions`."""
    stream.device = game.device

    def forward() -> Any:
        latent, condition = game.prior.sample(n, stream), draw_condition(game, n, stream)
        return build_sampling_turn(game, latent, ordered_condition(game, condition), networks).side_sample(game.samples)

    return forward


def draw_samples(
    game: Game,
    n: int,
    seed: int = 0,
    average: bool = True,
    batch: int = BATCH,
    modality: Modality | None = None,
    condition: Condition = UNCONDITIONAL,
    period: int | None = None,
    latent: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Draw n samples, returned on the CPU in stored form; the samples depend on the seed, not on the batch size.

    modality   None: the one that the shape implies
    condition  entries of n rows; missing entries are drawn by game.conditions
    period     the latents repeat after this many samples; None: never
    latent     n latents, under a complete condition; None: drawn from the prior
    """
    stream, batches = Stream(seed, "sample", device=game.device), []
    for start in range(0, n, period or n):
        end = min(n, start + (period or n))
        stream = Stream(seed, "sample", device=game.device) if period else stream
        for i in range(start, end, batch):
            rows = slice(i, min(end, i + batch))
            batch_condition = {name: entry[rows].to(game.device) for name, entry in condition.items()}
            if latent is None:
                x = game.sample(rows.stop - rows.start, batch_condition, stream, average).cpu()
            else:
                z = {name: part[rows] for name, part in latent.items()}
                x = generate(game, z, batch_condition, average, seed=draw_dropout_seed(game, stream)).cpu()
            modality = modality or default_modality(x.shape[1:])
            batches.append(modality.to_stored(x))
    return torch.cat(batches)


def _default_name(request: Request) -> str:
    """Return the name of the file or folder of samples, without its suffix; paths of latents have their own."""
    if request.traverse is not None:
        return "traversal"
    return "samples" if request.interpolate is None and request.between is None else "interpolation"


def _default_suffix(modality: Modality, shape: tuple[int, ...], n: int) -> str:
    """Return the first file suffix of the modality that fits these samples; audio without a rate cannot be wav."""
    for suffix in modality.suffixes:
        with suppress(Mistake):
            modality.check_suffix(suffix, shape, n)
            return suffix
    return next(iter(modality.suffixes))


def _check_and_parse_destination(to: str, modality: Modality) -> tuple[Path, str]:
    """Return the path of the samples and its suffix, which decides the format.

    Raises Mistake if the modality does not have the suffix, or if the path cannot be written.
    """
    suffix = Path(to).suffix.lower()
    if to.endswith(("/", os.sep)) or not suffix:
        if destination.check_output_folder(to).exists() and any(Path(to).iterdir()):
            raise Mistake(f"{to} is not empty; name another folder, so that samples of two runs are not mixed")
        return Path(to), FOLDER
    destination.check_output_file(to, modality.suffixes, modality.format_destinations())
    return Path(to), suffix


def _write_samples(
    x: Tensor, to: Path, suffix: str, modality: Modality, resolved: ResolvedRequest, contract: Mapping[str, Any]
) -> None:
    """Write one file atomically, or a folder of files; an npz also gets the requested classes and the contract."""
    try:
        (to if suffix == FOLDER else to.parent).mkdir(parents=True, exist_ok=True)
        if suffix != FOLDER:
            content = modality.file_content(x, suffix, resolved.columns, resolved.labels)
            write_file(to, _with_contract(content, contract) if suffix == ".npz" else content)
            return
        for name, file_content in modality.folder_contents(x):
            (to / name).write_bytes(file_content)
    except OSError as error:
        raise unwritable_error(to, error) from None


def _with_contract(npz: bytes, contract: Mapping[str, Any]) -> bytes:
    """Return an npz with a further array, the contract of the samples as JSON text."""
    content, array = io.BytesIO(npz), io.BytesIO()
    np.save(array, np.array(json.dumps(contract)))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(zipfile.ZipInfo(f"{CONTRACT}.npy"), array.getvalue())
    return content.getvalue()
