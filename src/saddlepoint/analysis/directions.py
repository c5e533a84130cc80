"""Directions of a generator's latent: found from its features or its Jacobian, or its codes; what each of them changes.

features  the principal components of a layer's output over latents, taken back to the latent by least squares:
          with y_j = V x_j + mean,   U = argmin_U sum_j || U x_j - z_j ||^2        the columns of U, orthonormalised
          Haerkoenen et al. 2020 (GANSpace, arXiv:2004.02546), section 2.2; with a mapping network those of w itself
jacobian  the eigenvectors of E_z[J^T J], J = dG/dz: the directions in which samples change most
          Ramesh et al. 2018 (arXiv:1812.01161); Wang & Ponce 2021 (arXiv:2101.06006), section 2
codes     the parts of the latent that heads of D predict: each entry, or each value of a categorical part
          Chen et al. 2016 (InfoGAN, arXiv:1606.03657), section 7.2

The share of variance of a unit direction u, with t = u . z:
    features  || cov(y, t) ||^2 / (var(t) tr cov(y))        jacobian  u^T E[J^T J] u / tr E[J^T J]
An attribute is a class of the classifier that measures the data. Between samples at +1 and -1 standard deviation of t,
    moved  = E_z of the total variation between their class probabilities, in [0, 1]
    change = E_z of half the difference of one class's probability, per standard deviation
A random direction is listed as anchor.
"""

import io
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from rich import box
from rich.table import Table
from torch import Tensor

from saddlepoint.analysis.latent_space import LatentSpace, take_rows
from saddlepoint.config.check import check
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.evaluators import load_or_train_configured_extractor
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.sample import Request, resolve_request
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import judge_player, latent_part_names
from saddlepoint.game.sampling import draw_condition
from saddlepoint.modality import Modality, modality_of
from saddlepoint.modality.modality import figure_to_image
from saddlepoint.mode import in_mode
from saddlepoint.prior.categorical import Categorical
from saddlepoint.prior.traversal import traversal_of
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, load_json, write_file
from saddlepoint.run.storage.cache import Log
from saddlepoint.stream import Stream
from saddlepoint.turn import Condition

DIRECTIONS = 6  # the default number
LATENTS = {"features": 2000, "jacobian": 64, "codes": 2000}  # over which directions are found
MEASURED = 256  # latents over which the change of attributes is averaged
SHOWN = 3  # attributes of a direction in the table


class DirectionRequest(NamedTuple):
    """The keys of the command."""

    kind: str = "features"  # features, jacobian or codes
    n: int | None = None  # directions; None: 6, or all codes
    layer: str | None = None  # of kind=features; None: the first
    label: Any = None  # the class of all samples; None: drawn
    latents: int | None = None  # over which directions are found; None: by the kind
    steps: int = 7  # columns of the sheet, odd
    span: float = 3.0  # of the sheet, in standard deviations
    sample_seed: int = 0
    average: bool = True


class Direction(NamedTuple):
    """A row of the sheet: a unit vector of the latent space, or the values of a categorical part."""

    name: str
    vector: Tensor | None  # [dim]; None: a categorical part
    share: float | None  # of variance; None for codes
    std: float | None  # of the coordinate along the vector


class AttributeEffect(NamedTuple):
    """What a direction changes, by the classifier of the data."""

    moved: float  # the total variation, in [0, 1]
    change: dict[str, float]  # by class, per standard deviation; {} of a categorical part
    values: dict[str, str]  # of a categorical part: the most frequent class of each value


class DirectionsResult(NamedTuple):
    """The tables for the console, and their content."""

    tables: list[Table | str]
    row: dict[str, Any]


def analyse_directions(
    run: Run, config: DictConfig, overrides: Sequence[str], request: DirectionRequest, at: str | int, to: str | None,
    log: Log, progress: ProgressMeter,
) -> DirectionsResult:  # fmt: skip
    """Find directions of a run's generator, write a sheet of traversals to `to`, and measure what they change.

    to  a .png or .jpg; None: in the run, directions/<images>_<kind>.png
    Raises Mistake if samples are not images or not made from latents, or for more directions than the latent has.
    """
    if to is not None:
        destination.check_output_file(to, {".png", ".jpg", ".jpeg"}, "the sheet is a file that ends in .png or .jpg")
    if request.steps < 3 or not request.steps % 2:
        raise Mistake(f"steps={request.steps}: an odd number from 3 on, so that the middle column is the plain sample")
    if request.layer is not None and request.kind != "features":
        raise Mistake(f"layer={request.layer}: it belongs to kind=features, not to kind={request.kind}")
    checked = check(config)
    data = load_run_data(run, checked, overrides, log)
    modality = modality_of(data)
    if modality.image_shape(tuple(data.shape)) is None:
        raise Mistake(f"directions are drawn as a sheet of images, and samples of this run are {modality.plural}")
    game = build_game(checked)
    set_threads(checked, game)
    restore_checkpoint_or_snapshot(game, run, at, log)
    game.to(resolve_device(checked))
    space = LatentSpace(game, request.average)
    latent, condition = _draw(game, request, run, modality, tuple(data.shape), log)
    directions = find_directions(space, latent, condition, request)
    requested = data.extractor if checked.evaluation.extractor == "auto" else checked.evaluation.extractor
    extractor = load_or_train_configured_extractor(checked, data, requested, log, progress)

    def probabilities(x: Tensor) -> Tensor:
        assert extractor is not None
        batches = (extractor(modality.to_stored(part)).logits for part in x.split(500))
        return torch.cat([logits.softmax(1).cpu() for logits in batches if logits is not None])

    effects: list[AttributeEffect | None] = [None] * len(directions)
    if extractor is not None and extractor.classes is not None:
        is_of_data = extractor.classes == len(data.class_names)
        names = list(data.class_names) if is_of_data else list(map(str, range(extractor.classes)))
        few = take_rows(latent, slice(MEASURED)), take_rows(condition, slice(MEASURED))
        effects = [measure_effect(space, direction, *few, probabilities, names) for direction in directions]
    else:
        log("no attributes: these data have no classifier (evaluation.extractor=trained)")
    path = Path(to) if to is not None else run.folder / "directions" / f"{game.images:09d}_{request.kind}.png"
    tiles = _pad([traverse(space, direction, latent, condition, request) for direction in directions])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, _draw_sheet(tiles, directions, effects, request, modality, path.suffix))
    log(f"{len(directions)} directions of {run.folder}, {game.images:,} images: {path}")
    rows = [_plain(direction, effect) for direction, effect in zip(directions, effects, strict=True)]
    title = f"{run.folder}, {at}, {game.images:,} images: directions by {request.kind}"
    content = {"run": str(run.folder), "at": at, "images": game.images, **request._asdict(), "sheet": str(path)}
    return DirectionsResult([title, _table(directions, effects)], {**content, "directions": rows})


def _draw(
    game: Game, request: DirectionRequest, run: Run, modality: Modality, shape: tuple[int, ...], log: Log
) -> tuple[dict[str, Tensor], Condition]:
    """Draw latents and conditions as `saddlepoint sample` does; the first ones are those of its first samples."""
    n = max(MEASURED, request.latents or LATENTS[request.kind])
    columns = (load_json(run.folder / "provenance.json").get("data") or {}).get("columns") or {}
    resolved = resolve_request(game, Request(n, label=request.label), modality, {**columns, "x": list(shape)}, log)
    stream = Stream(request.sample_seed, "sample", device=game.device)
    given = {name: entry.to(game.device) for name, entry in resolved.condition.items()}
    condition = draw_condition(game, n, stream, given)
    return dict(game.prior.sample(n, stream)), condition


def find_directions(
    space: LatentSpace, latent: Mapping[str, Tensor], condition: Condition, request: DirectionRequest,
    batch: int | None = None,
) -> list[Direction]:  # fmt: skip
    """Return the directions, the most important first, and a random one as the last; their vectors are orthonormal.

    batch  latents at once: it changes the results by rounding only
    Raises Mistake for more directions than the latent has entries, and for kind=codes without codes.
    """
    n = DIRECTIONS if request.n is None else request.n
    if request.kind != "codes" and n > space.dim:
        default = f" (the default is {DIRECTIONS})" if request.n is None else ""
        raise Mistake(
            f"n={n}{default}: the latent of this run has {space.dim} continuous entries. Set n={space.dim} or fewer"
        )
    z = space.coordinates(latent, condition)
    unit = Stream(request.sample_seed, "directions").normal(1, space.dim)[0].to(torch.float64)
    anchor = unit / unit.norm()

    def along(name: str, vector: Tensor, share: float | None) -> Direction:
        return Direction(name, vector.to(torch.float32), share, float((z @ vector).std()))

    if request.kind == "codes":
        codes = _codes(space, z, request.n)
        return [*codes, along("random", anchor, None)]
    limit = request.latents or LATENTS[request.kind]
    latent, condition = take_rows(latent, slice(limit)), take_rows(condition, slice(limit))
    if request.kind == "jacobian":
        gram = space.squared_jacobian(latent, condition, batch)
        vectors = torch.linalg.eigh(gram).eigenvectors.flip(1).T[:n]
        shares = [float(u @ gram @ u / gram.trace()) for u in (*vectors, anchor)]
    else:
        _, y = space.features(latent, condition, request.layer, *([batch] if batch else []))
        vectors, shares = _principal_directions(y, z[:limit], n, anchor)
    vectors = vectors * vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()  # a sign for each
    names = [*map(str, range(1, len(vectors) + 1)), "random"]
    return [along(*row) for row in zip(names, (*vectors, anchor), shares, strict=True)]


def _principal_directions(y: Tensor, z: Tensor, n: int, anchor: Tensor) -> tuple[Tensor, list[float]]:
    """Return GANSpace's directions for features y [N, F] at z [N, dim], orthonormal, [n, dim], and their shares.

    The last share is that of `anchor`. Raises Mistake if the features have fewer components.
    """
    y, z = y - y.mean(0), z - z.mean(0)
    scores, values, _ = torch.linalg.svd(y, full_matrices=False)  # x_k = values_k scores_k
    rank = int((values > values[0] * 1e-10).sum())
    if n > rank:
        raise Mistake(f"n={n}: the features of this layer have {rank} components. Set n={rank} or fewer")
    q, r = torch.linalg.qr(z.T @ scores[:, :n])  # the least-squares solution is z^T x_k / || x_k ||^2
    vectors = (q * r.diagonal().sign()).T

    def share(u: Tensor) -> float:
        t = z @ u
        return float((y.T @ t).square().sum() / (t.square().sum() * y.square().sum()))

    return vectors, [share(u) for u in (*vectors, anchor)]


def _codes(space: LatentSpace, z: Tensor, n: int | None) -> list[Direction]:
    """Return the parts of the latent that D predicts: an entry for each of a continuous part."""
    game = space.game
    judge = judge_player(game)
    with torch.no_grad(), in_mode(judge.network, *space.networks.values()):
        stream = Stream(0, "directions/codes", device=game.device)
        condition = draw_condition(game, 2, stream)
        x = space.samples(game.prior.sample(2, stream), condition).to(game.device)
        heads = judge.network(x, condition).heads if not game.sides[game.samples].judge_condition else {}
    codes = [name for name in latent_part_names(game) if name in heads]
    if not codes:
        raise Mistake(
            "kind=codes: D of this run predicts no part of its latent (InfoGAN's does: experiment=mnist_infogan). Use "
            "kind=features or kind=jacobian"
        )
    directions: list[Direction] = []
    for name in codes:
        if isinstance(game.prior[name], Categorical):
            directions.append(Direction(name, None, None, None))
            continue
        if name not in space.parts:
            raise Mistake(f"kind=codes: the code {name} passes a mapping network; use kind=features or kind=jacobian")
        size = space.parts[name]
        for entry in range(size):
            u = space.unit_vector(name, entry)
            std = float((z @ u.to(z.dtype)).std())
            directions.append(Direction(f"{name}.{entry}" if size > 1 else name, u, None, std))
    return directions[:n]


def traverse(
    space: LatentSpace, direction: Direction, latent: Mapping[str, Tensor], condition: Condition,
    request: DirectionRequest,
) -> Tensor:  # fmt: skip
    """Return samples [steps, *shape] along a direction from the first latent; the middle one is the plain sample.

    Of a categorical part: a sample for each of its values.
    """
    one = take_rows(latent, slice(1)), take_rows(condition, slice(1))
    if direction.vector is None:
        moved = traversal_of(space.game.prior, direction.name).latents(one[0])
        return space.samples(moved, _repeat(one[1], len(moved[direction.name])))
    offset = _positions(request)[:, None] * float(direction.std or 0) * direction.vector
    rows = _repeat(one[0], request.steps), _repeat(one[1], request.steps)
    return space.samples(*rows, offset)


def _pad(rows: Sequence[Tensor]) -> Tensor:
    """Return rows of tiles [columns, *shape] as one tensor, with white tiles after a shorter row."""
    most = max(map(len, rows))
    return torch.stack([torch.cat([x, torch.ones(most - len(x), *x.shape[1:])]) for x in rows])


def _positions(request: DirectionRequest) -> Tensor:
    """Return the columns of the sheet, in standard deviations; exactly 0 in the middle."""
    half = request.steps // 2
    return torch.arange(-half, half + 1) * (request.span / half)


def _repeat(rows: Mapping[str, Tensor], times: int) -> dict[str, Tensor]:
    return {name: x.repeat_interleave(times, 0) for name, x in rows.items()}


def measure_effect(
    space: LatentSpace, direction: Direction, latent: Mapping[str, Tensor], condition: Condition, probabilities: Any,
    names: Sequence[str],
) -> AttributeEffect:  # fmt: skip
    """Return what a direction changes, averaged over N latents.

    probabilities  samples [N, *shape] -> class probabilities [N, classes]
    For a categorical part, `moved` is the mean over all pairs of its values.
    """
    n = len(next(iter(latent.values())))
    if direction.vector is None:
        walk = traversal_of(space.game.prior, direction.name)
        x = space.samples(walk.latents(latent), _repeat(condition, len(walk.rows)))
        p = probabilities(x).unflatten(0, (n, len(walk.rows)))  # [N, values, classes]
        pairs = list(combinations(range(p.shape[1]), 2))
        moved = sum(float((p[:, a] - p[:, b]).abs().sum(1).mean()) / 2 for a, b in pairs) / len(pairs)
        frequent: list[int] = p.argmax(2).mode(0).values.tolist()
        return AttributeEffect(moved, {}, {str(value): str(names[label]) for value, label in enumerate(frequent)})
    step = float(direction.std or 0) * direction.vector.expand(n, -1)
    difference = probabilities(space.samples(latent, condition, step)) - probabilities(
        space.samples(latent, condition, -step)
    )
    change = dict(zip(names, (difference.mean(0) / 2).tolist(), strict=True))
    return AttributeEffect(float(difference.abs().sum(1).mean()) / 2, change, {})


def _describe(effect: AttributeEffect | None) -> str:
    if effect is None:
        return ""
    if effect.values:
        return ", ".join(f"{value} -> {name}" for value, name in effect.values.items())
    largest = sorted(effect.change.items(), key=lambda item: -abs(item[1]))[:SHOWN]
    return ", ".join(f"{name} {change:+.3f}" for name, change in largest)


def _plain(direction: Direction, effect: AttributeEffect | None) -> dict[str, Any]:
    """Return a direction as plain values, with its vector."""
    vector = None if direction.vector is None else direction.vector.tolist()
    return {**direction._asdict(), "vector": vector, **({} if effect is None else effect._asdict())}


def _table(directions: Sequence[Direction], effects: Sequence[AttributeEffect | None]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("direction", "share", "moved", "attributes"):
        table.add_column(name, justify="right" if name in ("share", "moved") else "left")
    for direction, effect in zip(directions, effects, strict=True):
        share = "-" if direction.share is None else f"{direction.share:.3f}"
        moved = "-" if effect is None else f"{effect.moved:.3f}"
        table.add_row(
            direction.name, share, moved, _describe(effect), style="dim" if direction.name == "random" else None
        )
    table.caption = (
        "share: of the variance; moved: total variation of the class probabilities from -1 to +1 standard deviation\n"
        "attributes: the classes whose probability changes most, per standard deviation; random: a random direction"
    )
    table.caption_justify = "left"
    return table


def _draw_sheet(
    tiles: Tensor, directions: Sequence[Direction], effects: Sequence[AttributeEffect | None],
    request: DirectionRequest, modality: Modality, suffix: str,
) -> bytes:  # fmt: skip
    """Draw tiles [directions, columns, *shape] with a row per direction and its numbers beside it."""
    from matplotlib.figure import Figure

    rows, columns = tiles.shape[:2]
    grid = modality.picture(modality.to_stored(tiles.flatten(0, 1)), columns)
    height, width = grid.height / 100, grid.width / 100
    figure = Figure((width + 4.2, height + 0.6), dpi=100)
    axes = figure.add_axes((0.9 / (width + 4.2), 0.1 / (height + 0.6), width / (width + 4.2), height / (height + 0.6)))
    axes.imshow(grid, interpolation="nearest", aspect="auto")
    centres = [(i + 0.5) * grid.height / rows for i in range(rows)]
    is_plain = columns == request.steps
    ends = "" if is_plain else f"\n±{request.span:g} sd"
    axes.set_yticks(centres, [one.name + ("" if one.vector is None else ends) for one in directions])
    axes.xaxis.tick_top()
    positions = [f"{position:+.2g} sd" if position else "0" for position in _positions(request).tolist()]
    axes.set_xticks([(i + 0.5) * grid.width / columns for i in range(columns)] if is_plain else [])
    axes.set_xticklabels(positions if is_plain else [])
    axes.tick_params(length=0, labelsize=8)
    for y, direction, effect in zip(centres, directions, effects, strict=True):
        share = "" if direction.share is None else f"share {direction.share:.3f}   "
        moved = "" if effect is None else f"moved {effect.moved:.3f}"
        axes.text(grid.width + 8, y, f"{share}{moved}\n{_describe(effect)}", va="center", fontsize=8)
    content = io.BytesIO()
    figure_to_image(figure).save(content, "PNG" if suffix.lower() == ".png" else "JPEG")
    return content.getvalue()
