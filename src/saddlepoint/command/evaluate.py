"""saddlepoint evaluate: measures a run again, by the protocol of its own config or another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table

from saddlepoint.callback.evaluation import scores
from saddlepoint.command.build import config_of, data_of, device_of, evaluator_of, game_of, restore, set_threads
from saddlepoint.command.check import check
from saddlepoint.command.terminal import Meter, speaker
from saddlepoint.error import Mistake
from saddlepoint.metric.contract import Score
from saddlepoint.record.provenance import now
from saddlepoint.record.run import Run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` overrides the run's own config."""
    evaluate(config.run, config.checkpoint, rest, config_dir)
    return 0


def evaluate(
    run: str | Path,
    checkpoint: str = "last",
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Score]:
    """The scores of a run's checkpoint, printed with their contracts and added to its evaluations.jsonl.

    Raises Mistake where the run, the checkpoint or an extractor is missing.
    """
    console = console or Console(stderr=True)
    say = speaker(console)
    folder = Run(run)
    config = config_of(folder, overrides, say, config_dir)
    check(config)
    data = data_of(config)
    evaluator = evaluator_of(config, data, say, Meter(console))
    if evaluator is None:
        raise Mistake("nothing can measure these data: name an extractor, evaluation.extractor=inception for one")
    game = game_of(config)
    set_threads(config, game)
    restore(game, folder, checkpoint, say)
    found = scores(evaluator, game.to(device_of(config)), data, config.evaluation.average)
    row: dict[str, Any] = {
        "evaluated": now(),
        "checkpoint": checkpoint,
        "images": game.images,
        "overrides": list(overrides),
        "scores": {key: score.to_dict() for key, score in found.items()},
    }
    folder.append("evaluations.jsonl", row)
    console.print(_table(f"{folder.folder}, {checkpoint} checkpoint, {game.images:,} images", found))
    return found


def _table(title: str, found: dict[str, Score]) -> Table:
    """One row per score: its value and what it was measured by."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("score", "value", "reals", "extractor", "weights", "settings"):
        table.add_column(column, justify="right" if column == "value" else "left", overflow="fold")
    for key, score in found.items():
        c = score.contract
        value = f"{score.value:.5g}" + (f" ± {score.std:.2g}" if score.std is not None else "")
        settings = ", ".join(f"{name}={v}" for name, v in c.settings.items())
        table.add_row(
            key, value, f"{c.n_real} {c.split}", f"{c.extractor} {c.extractor_sha256[:8]}", c.weights, settings
        )
    return table
