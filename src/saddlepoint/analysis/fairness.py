"""How often a generator makes each group of the data, and how much of each group it covers; the worst group first.

    q_g = n_g / n                 the frequency of the group in n samples, with its Wilson interval (Wilson 1927)
    q_g / p_g                     the same relative to p_g, the frequency among the reals: below 1, too rare
    coverage of m reals of g by m samples of g        (metric.coverage; Naeem et al. 2020, arXiv:2002.09797)
    discrepancy = |p - q|_2       (metric.fairness_discrepancy; Choi et al. 2020, arXiv:1910.12008)

The groups are the values of an attribute: the class (`label`), or an integer column of the data, such as a speaker.
The group of a real is in its column.  The group of a sample is given by the exact rule of the data, if there is one
(`Data.exact_rules`), else by the run's extractor if it is a classifier of the classes, else by a classifier that is
trained on the training split, once.  The result has the share of reals for which this assignment is right.

m is the same for each group (`metric.per_class.choose_equal_classes`), so that a rare group is not covered less because
it is rare; of a group with fewer samples than m, all are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from PIL import Image
from rich import box
from rich.table import Table
from scipy.stats import binomtest
from torch import Tensor

from saddlepoint.config.check import check
from saddlepoint.config.path import cache_folder
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.experiment.build import build_game, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.evaluators import load_or_train_configured_extractor
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.sample import draw_samples
from saddlepoint.extractor.extractor import Extractor, Features
from saddlepoint.extractor.trained import Trained
from saddlepoint.game.sampling import sampling_modules
from saddlepoint.metric.coverage import coverage
from saddlepoint.metric.per_class import MIN_SAMPLES, choose_equal_classes, draw_rows_per_class
from saddlepoint.modality import modality_of
from saddlepoint.modality.modality import figure_to_image
from saddlepoint.redaction import redact
from saddlepoint.run import destination
from saddlepoint.run.folder import Run, unwritable_error
from saddlepoint.run.provenance import timestamp
from saddlepoint.run.storage.cache import Log
from saddlepoint.stream import Stream

LABEL = "label"  # the attribute of the classes
SHARE = 0.5  # m is this share of the samples that a perfect generator would make of the rarest group
SHOWN_GROUPS = 20  # rows of the table, and bars of the picture
Assign = Callable[[Features], Tensor]  # samples -> their group, int64 [n]


class FairnessProtocol(NamedTuple):
    """How fairness is measured; the fields are keys of the command."""

    by: str  # the attribute
    at: str | int  # last, best or the images of a snapshot
    n: int
    split: str | None  # of the reals; None: the split that the run was measured against
    k: int  # of coverage
    sample_seed: int
    average: bool


@dataclass(frozen=True)
class Group:
    """One value of the attribute; an interval is [low, high], of 95%."""

    group: str
    n_real: int
    n_fake: int
    real: float  # frequency
    fake: float
    fake_interval: tuple[float, float]
    ratio: float  # of the frequencies
    coverage: float | None  # None: too few reals, or no extractor
    coverage_interval: tuple[float, float] | None


class FairnessResult(NamedTuple):
    """The result: a title, the groups, worst first, and the row of fairness.jsonl."""

    title: str
    groups: list[Group]
    row: dict[str, Any]


def measure_fairness(
    run: Run, config: DictConfig, overrides: Sequence[str], protocol: FairnessProtocol, to: str | None, log: Log,
    progress: ProgressMeter,
) -> FairnessResult:  # fmt: skip
    """Measure each group of an attribute in the samples of a run; the run's fairness.jsonl gets a row.

    to  the path of the picture; "-": no picture; None: in the run
    Raises Mistake if the data do not have the attribute, or if the output cannot be written.
    """
    _check_destination(to, run)
    config = check(config)
    data = load_run_data(run, config, overrides, log)
    names = attribute_values(data, protocol.by)
    game = build_game(config)
    set_threads(config, game)
    restore_checkpoint_or_snapshot(game, run, protocol.at, log)
    game.to(resolve_device(config))
    modality = modality_of(data)
    x = draw_samples(game, protocol.n, protocol.sample_seed, protocol.average, modality=modality)
    requested = data.extractor if config.evaluation.extractor == "auto" else config.evaluation.extractor
    extractor = load_or_train_configured_extractor(config, data, requested, log, progress)
    split = data.split(protocol.split or config.evaluation.split)
    real_group = _group_column(split, protocol.by)
    reals, fakes = (
        _features(part, extractor, config, log, progress) for part in (split, Split("samples", x, modality=modality))
    )
    assign, rule = _build_assignment(data, protocol.by, extractor, config, log, progress)
    fake_group, accuracy = assign(fakes), float((assign(reals) == real_group).to(torch.float64).mean())
    features = None if extractor is None else (reals.features, fakes.features)
    groups = measure_groups(names, real_group, fake_group, features, protocol.k, protocol.sample_seed)
    picture = None
    if to != "-":
        picture = Path(to or run.folder / "fairness" / f"{game.images:09d}-{protocol.by}.png")
        _save_picture(groups, protocol, picture)
        log(f"frequency and coverage of each group: {picture}")
    row = {
        "measured": timestamp(), "by": protocol.by, "at": protocol.at, "images": game.images,
        "weights": sampling_modules(game, protocol.average)[1], "overrides": redact(list(overrides)),
        "n": protocol.n, "split": split.name, "n_real": len(split), "k": protocol.k, "seed": protocol.sample_seed,
        "extractor": None if extractor is None else extractor.name,
        "assigned_by": rule, "assignment_accuracy": accuracy,
        "discrepancy": discrepancy(groups),
        "groups": [asdict(group) for group in groups],
        "picture": None if picture is None else str(picture),
    }  # fmt: skip
    run.append("fairness.jsonl", row)
    return FairnessResult(f"{run.folder}, {protocol.at}, {game.images:,} images: by {protocol.by}", groups, row)


def attribute_values(data: Data, by: str) -> list[str]:
    """Return the names of the values of an attribute, in order.  Raises Mistake if the data do not have it."""
    attributes = {} if data.classes is None else {LABEL: data.class_names}
    train = data.split("train")
    for name, column in train.extra_columns.items() if train.paired else ():
        if column.ndim == 1 and column.dtype == torch.int64:
            numbers = [str(value) for value in range(int(column.max()) + 1)]
            attributes[name] = list(data.value_names.get(name, numbers))
    if not attributes:
        raise Mistake(f"{data.name} has no classes and no integer column, so there are no groups to compare.")
    if by not in attributes:
        raise Mistake(
            f"by={by}: {data.name} has no such attribute.{did_you_mean(by, attributes)} "
            f"There are: {', '.join(attributes)}."
        )
    return attributes[by]


def measure_groups(
    names: list[str], real_group: Tensor, fake_group: Tensor, features: tuple[Tensor, Tensor] | None = None,
    k: int = 5, seed: int = 0,
) -> list[Group]:  # fmt: skip
    """Return the measured groups, worst first: by the ratio of frequencies, then by coverage.

    real_group, fake_group   int64 [N], [n]: the group of each, an index of `names`; groups without reals are left out
    features                 of the reals [N, d] and of the samples [n, d]; None: no coverage
    """
    n_real, n_fake = (group.bincount(minlength=len(names)) for group in (real_group, fake_group))
    covered: dict[int, tuple[float, int]] = {}
    if features is not None:
        reals, fakes = features
        least = max(k + 1, MIN_SAMPLES)
        measured, m = choose_equal_classes(n_real, len(fake_group), SHARE, least)
        stream = Stream(seed, "fairness").generator
        rows = [draw_rows_per_class(group, measured, m, stream) for group in (real_group, fake_group)]
        for number, real_rows, fake_rows in zip(measured.tolist(), *rows, strict=True):
            share = float(coverage(reals[real_rows], fakes[fake_rows], k)) if len(fake_rows) else 0.0
            covered[number] = share, m
    groups = []
    for number in n_real.nonzero().flatten().tolist():
        p, q = n_real[number].item() / len(real_group), n_fake[number].item() / len(fake_group)
        share, m = covered.get(number, (None, 0))
        groups.append(
            Group(
                names[number], int(n_real[number]), int(n_fake[number]), p, q,
                wilson_interval(int(n_fake[number]), len(fake_group)), q / p,
                share, None if share is None else wilson_interval(round(share * m), m),
            )
        )  # fmt: skip
    return sorted(groups, key=lambda group: (group.ratio, 2.0 if group.coverage is None else group.coverage))


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of a proportion of `count` in n."""
    interval = binomtest(count, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def discrepancy(groups: Sequence[Group]) -> float:
    """Return |p - q|_2 over the groups."""
    return sum((group.real - group.fake) ** 2 for group in groups) ** 0.5


def fairness_table(result: FairnessResult) -> Table:
    """Return the groups as a table for the console, worst first."""
    row = result.row
    table = Table(title=f"{result.title}: fairness", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("group", no_wrap=True)
    for name in ("reals", "samples", "95%", "ratio", "coverage", "95%"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in result.groups[:SHOWN_GROUPS]:
        table.add_row(
            group.group, f"{group.real:.3f}", f"{group.fake:.3f}", _format_interval(group.fake_interval),
            f"{group.ratio:.2f}", "-" if group.coverage is None else f"{group.coverage:.3f}",
            _format_interval(group.coverage_interval),
        )  # fmt: skip
    hidden = len(result.groups) - SHOWN_GROUPS
    table.caption = "\n".join(
        [
            *([f"{hidden:,} further groups are in --json"] if hidden > 0 else []),
            f"{row['n']:,} samples, {row['n_real']:,} reals of {row['split']}; |p - q| = {row['discrepancy']:.3f}",
            f"groups of samples by {row['assigned_by']}, right on {row['assignment_accuracy']:.1%} of the reals",
            "95%: Wilson intervals; of coverage, for these samples and independent reals",
        ]
    )
    table.caption_justify = "left"
    return table


def _format_interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f}-{interval[1]:.3f}"


def _group_column(split: Split, by: str) -> Tensor:
    """Return the group of each row of a split, int64 [n].  Raises Mistake if this split lacks the column."""
    if by == LABEL:
        labels = [y for _, y in split.batches(1000) if y is not None]
        column = torch.cat(labels) if labels else None
    else:
        column = split.extra_columns.get(by)
    if column is None:
        raise Mistake(f"by={by}: the split {split.name} has no such column. Choose another one with split=...")
    return column


def _features(split: Split, extractor: Extractor | None, config: CheckedConfig, log: Log, progress: Any) -> Features:
    """Return the features of a split with its samples; without an extractor, the samples alone."""
    if extractor is None:
        x = torch.cat([x for x, _ in split.batches(1000)])
        return Features(torch.empty(len(x), 0), None, x)
    evaluator = Evaluator(extractor, {}, 2, device=resolve_device(config), log=log, progress=progress)
    features = evaluator.extract_features(split.batches(config.evaluation.batch), len(split), f"the {split.name} split")
    return features.to("cpu")


def _build_assignment(
    data: Data, by: str, extractor: Extractor | None, config: CheckedConfig, log: Log, progress: Any
) -> tuple[Assign, str]:
    """Return the function from samples to their groups, and its name."""
    if by in data.exact_rules:
        rule = data.exact_rules[by]
        return (lambda features: rule(_samples_of(features))), "the exact rule of the data"
    if by == LABEL and extractor is not None and extractor.classes == data.classes:
        return _predicted_group, f"the extractor {extractor.name}"
    column = data if by == LABEL else _ColumnAsClass(data, by)
    classifier = Trained(column, config.evaluation.seed, cache=cache_folder(config), log=log, progress=progress)

    def classify(features: Features) -> Tensor:
        with torch.no_grad():
            parts = (classifier(part).logits for part in _samples_of(features).split(config.evaluation.batch))
            return torch.cat([logits.argmax(1) for logits in parts if logits is not None])

    return classify, f"{classifier.name}, a classifier of {by} trained on these data"


def _samples_of(features: Features) -> Tensor:
    assert features.x is not None
    return features.x


def _predicted_group(features: Features) -> Tensor:
    assert features.logits is not None
    return features.logits.argmax(1)


class _ColumnAsClass:
    """A data set whose classes are the values of an integer column, for `Trained`."""

    def __init__(self, data: Data, column: str) -> None:
        self.data, self.column = data, column
        self.shape, self.modality = data.shape, modality_of(data)
        self.classes = len(attribute_values(data, column))

    def split(self, name: str) -> Split:
        split = self.data.split(name)
        x, _ = split[torch.arange(len(split))]
        return Split(name, x, _group_column(split, self.column), self.classes, modality=self.modality)

    def describe(self) -> dict[str, Any]:
        return self.data.describe()


def _check_destination(to: str | None, run: Run) -> None:
    destination.check_run_file(run, "fairness.jsonl")
    if to not in ("-", None):
        Image.init()
        suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.SAVE}
        destination.check_output_file(to, suffixes, "the picture of the groups is a file that ends in .png or .jpg")


def _save_picture(groups: Sequence[Group], protocol: FairnessProtocol, path: Path) -> None:
    """Draw the frequencies and coverages with their intervals, worst group at the top."""
    from matplotlib.figure import Figure

    shown = list(groups[:SHOWN_GROUPS])[::-1]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(shown)), dpi=100, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    names = [group.group for group in shown]
    axes[0].barh(names, [group.fake for group in shown], xerr=_error_bars(shown, "fake"), color="0.75", capsize=3)
    axes[0].plot([group.real for group in shown], names, "k|", markersize=12, label="reals")
    axes[0].set_xlabel("frequency in samples")
    axes[0].legend(fontsize=8, loc="lower right")
    measured = [group for group in shown if group.coverage is not None]
    axes[1].barh(
        [group.group for group in measured], [group.coverage for group in measured],
        xerr=_error_bars(measured, "coverage"), color="0.75", capsize=3,
    )  # fmt: skip
    axes[1].set(xlabel=f"coverage, k = {protocol.k}", xlim=(0, 1.05))
    axes[0].set_ylabel(protocol.by)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure_to_image(figure).save(path)
    except OSError as error:
        raise unwritable_error(path, error) from None


def _error_bars(groups: Sequence[Group], name: str) -> list[list[float]]:
    """Return the distances from the value to both ends of its interval."""
    values = [(getattr(group, name), *getattr(group, f"{name}_interval")) for group in groups]
    return [[max(value - low, 0) for value, low, _ in values], [max(high - value, 0) for value, _, high in values]]
