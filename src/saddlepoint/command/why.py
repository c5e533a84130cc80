"""Why two runs score differently: one factor of the protocol at a time is measured again.

Split, number of samples, resizer, extractor, averaged or raw weights and batch-norm mode all move a score. Where two
runs were measured by different protocols, a is measured by its own, then with one factor as b's, for each factor that
differs, then by all of b's protocol, under which b is measured too: what is left between the two is theirs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table

from saddlepoint.callback.evaluation import scores
from saddlepoint.command.build import config_of, data_of, device_of, evaluator_of, game_of, put, set_threads
from saddlepoint.command.check import check
from saddlepoint.command.terminal import Meter, speaker
from saddlepoint.error import Mistake
from saddlepoint.metric.contract import Score, comparable, differences
from saddlepoint.record.run import Run

FACTORS = ("n", "split", "extractor", "weights", "resizer", "average", "batch_norm", "batch", "seed", "reference")
Measured = dict[str, float]  # by metric


def why(
    run: str | Path,
    against: str | Path,
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    console: Console | None = None,
) -> list[tuple[str, Measured]]:
    """Each measurement and its scores by metric, in order; printed with what moved each score by how much.

    `overrides` are for both runs.  Raises Mistake where the runs' data differ.
    """
    console = console or Console(stderr=True)
    say = speaker(console)
    ours, theirs = (_Side(Run(folder), overrides, config_dir, say, Meter(console)) for folder in (run, against))
    if (one := ours.data.split("train").sha256) != (two := theirs.data.split("train").sha256):
        raise Mistake(
            f"{run} and {against} were trained on different data (train split {one[:8]} and {two[:8]}): no protocol "
            "makes their scores comparable"
        )
    say(f"a: {run}\nb: {against}\n{_verdict(ours, theirs)}")
    steps = [("a, as it was measured", ours.measured({}))]
    factors = {
        name: value
        for name in FACTORS
        if (value := theirs.config.evaluation.get(name)) != ours.config.evaluation.get(name)
    }
    for name, value in factors.items():
        steps.append(
            (f"a, {name} {_told(ours.config.evaluation.get(name))} -> {_told(value)}", ours.measured({name: value}))
        )
    if len(factors) > 1:
        steps.append(("a, measured as b in all of it", ours.measured(factors)))
    steps.append(("b, as it was measured", theirs.measured({})))
    console.print(_table(steps, len(factors)))
    return steps


class _Side:
    """One of the two runs, which can be measured by its own protocol or another."""

    def __init__(
        self,
        run: Run,
        overrides: Sequence[str],
        config_dir: str | Path | None,
        say: Callable[[str], None],
        progress: Meter,
    ) -> None:
        self.run, self.say, self.progress = run, say, progress
        self.config = config_of(run, overrides, say, config_dir)
        check(self.config)
        self.data = data_of(self.config)
        self.game = game_of(self.config)
        set_threads(self.config, self.game)
        put(self.game, run, "last", say)
        self.game.to(device_of(self.config))

    def measured(self, factors: Mapping[str, Any]) -> Measured:
        """Scores by metric, under this run's protocol but for `factors`."""
        config = copy.deepcopy(self.config)
        for name, value in factors.items():
            OmegaConf.update(config, f"evaluation.{name}", value, merge=False, force_add=True)
        evaluator = evaluator_of(config, self.data, self.say, self.progress)
        if evaluator is None:
            raise Mistake(f"nothing can measure {self.run.folder}: name an extractor, evaluation.extractor=...")
        settings = config.evaluation
        found = scores(evaluator, self.game, self.data, settings.average, settings.get("batch_norm", "running"))
        return {score.contract.metric: score.value for score in found.values()}

    @property
    def recorded(self) -> dict[str, Score]:
        """The run's own final scores, by metric, of its first ruler."""
        final = [Score.from_dict(score) for score in (self.run.summary.get("final") or {}).values()]
        return {score.contract.metric: score for score in reversed(final)}


def _verdict(ours: _Side, theirs: _Side) -> str:
    """Whether the recorded scores may stand in one column, and what stands in the way."""
    for metric in ours.recorded.keys() & theirs.recorded.keys():
        pair = {str(side.run.folder): side.recorded[metric] for side in (ours, theirs)}
        try:
            comparable(pair)
        except Mistake:
            a, b = pair.values()
            differing = differences(a.contract, b.contract).items()
            fields = ", ".join(
                name if "sha" in name or name == "data" else f"{name} ({x}, {y})" for name, (x, y) in differing
            )
            return f"their recorded scores cannot stand in one column: they differ in {fields}"
    return "their recorded scores stand under one contract"


def _table(steps: Sequence[tuple[str, Measured]], factors: int) -> Table:
    """Every measurement, and below it how far it is from a's own."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("what moved the score", overflow="fold")
    first, last = steps[0][1], steps[-1][1]
    for metric in first:
        table.add_column(metric, justify="right")
    for told, found in steps:
        moved = ("" if found is first or m not in found else f"\n{found[m] - first[m]:+.3g}" for m in first)
        table.add_row(told, *(f"{found[m]:.4g}{by}" if m in found else "" for m, by in zip(first, moved, strict=True)))
    base = steps[-2][1] if factors else first
    table.add_section()
    rest = [f"{last[m] - base[m]:+.4g}" if m in last and m in base else "" for m in first]
    table.add_row("the runs' own difference", *rest, style="bold")
    return table


def _told(value: Any) -> str:
    return "default" if value is None else str(value)
