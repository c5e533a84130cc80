"""Why two runs score differently: one factor of the protocol at a time is measured again.

Split, number of samples, resizer, extractor, averaged or raw weights and batch-norm statistics all move a score. Where
two runs were measured by different protocols, a is measured by its own, then with one factor as b's, for each factor
that differs, then by all of b's protocol, under which b is measured too: what is left between the two is theirs.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from saddlepoint.callback.evaluation import Sampler, sampling_contract
from saddlepoint.config.check import check
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, Score, contract_differences, first_difference
from saddlepoint.experiment.build import build_game, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.evaluators import build_evaluator
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.game.lineage import generator_of
from saddlepoint.run.folder import Run

SETTINGS = ("n", "split", "extractor", "weights", "resizer", "average", "batch_norm", "batch", "seed")
STATISTICS = "statistics of the average"  # of its batch norm
FACTORS = (*SETTINGS, STATISTICS, "metric")  # of a protocol
Measured = dict[str, float]  # by metric


class ScoreDifference(NamedTuple):
    """What moved the scores of two runs, a and b."""

    run: Path
    other: Path
    verdict: str  # whether their recorded scores may stand in one column
    steps: list[tuple[str, Measured]]  # each measurement, in words, and its scores
    difference: Measured  # b less a, under one protocol


def explain_score_difference(
    run: Run,
    other: Run,
    overrides: Sequence[str],
    config_dir: str | Path | None,
    log: Callable[[str], None],
    progress: ProgressMeter,
    at: str | int = "last",
) -> ScoreDifference:
    """Measure two runs until one protocol is common to both; `overrides` and the moment `at` are for both.

    Raises Mistake where the runs' data differ, and where no protocol is common to both.
    """
    ours, theirs = (_Side(one, overrides, config_dir, log, progress, at) for one in (run, other))
    if (one := ours.data.split("train").sha256) != (two := theirs.data.split("train").sha256):
        raise Mistake(
            f"{run.folder} and {other.folder} were trained on different data (train split {one[:8]} and {two[:8]}): no "
            "protocol makes their scores comparable"
        )
    steps = [("a, as it was measured", ours.measured({}))]
    factors = {name: value for name in FACTORS if (value := theirs.told(name)) != ours.told(name)}
    for name, value in factors.items():
        before, after = ("default" if one is None else str(one) for one in (ours.told(name), value))
        told = "the metrics' settings" if name == "metric" else f"{name} {before} -> {after}"
        steps.append((f"a, {told}", ours.measured({name: value})))
    if len(factors) > 1:
        steps.append(("a, measured as b in all of it", ours.measured(factors)))
    last = ours.contracts
    steps.append(("b, as it was measured", theirs.measured({})))
    for metric in last.keys() & theirs.contracts.keys():
        if (field := first_difference(last[metric], theirs.contracts[metric])) is not None:
            raise Mistake(f"{metric}: no protocol is common to both runs, they still differ in {field}")
    base, found = steps[-2 if factors else 0][1], steps[-1][1]
    own = {metric: found[metric] - base[metric] for metric in steps[0][1] if metric in found and metric in base}
    return ScoreDifference(run.folder, other.folder, _verdict(run, other), steps, own)


class _Side:
    """One of the two runs, which can be measured by its own protocol or another."""

    def __init__(
        self,
        run: Run,
        overrides: Sequence[str],
        config_dir: str | Path | None,
        say: Callable[[str], None],
        progress: ProgressMeter,
        at: str | int,
    ) -> None:
        self.run, self.say, self.progress = run, say, progress
        self.contracts: dict[str, Contract] = {}  # of what was measured last, by metric
        self.config = check(load_run_config(run, overrides, say, config_dir))
        self.data = load_run_data(run, self.config, overrides, say)
        self.game = build_game(self.config, self.data)
        set_threads(self.config, self.game)
        self.at, kept = at, generator_of(self.game).average
        self.statistics = None if kept is None else kept.statistics
        self._put(self.statistics)

    def _put(self, statistics: str | None) -> None:
        """Load the run's weights; its average's batch norm is to have `statistics`, which replace those loaded."""
        kept = generator_of(self.game).average
        if kept is not None and statistics is not None:
            kept.statistics = statistics
        restore_checkpoint_or_snapshot(self.game, self.run, self.at, self.say)
        self.game.to(resolve_device(self.config))

    def told(self, name: str) -> Any:
        """What this run's protocol says of a factor, plain."""
        if name == "average":  # whose weights are drawn from: a run without an average has raw ones, whatever is asked
            return self.config.evaluation.average and generator_of(self.game).average is not None
        if name == STATISTICS:  # where there are none, nothing is re-estimated
            statistics = sampling_contract(self.game, self.config.evaluation.average, "running", 1)["batch_norm"]
            return "reestimated" if "reestimated" in statistics else "averaged"
        value = self.config.metric if name == "metric" else self.config.evaluation.get(name)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value

    def measured(self, factors: Mapping[str, Any]) -> Measured:
        """Scores by metric, under this run's protocol but for `factors`."""
        config = copy.deepcopy(self.config)
        OmegaConf.set_readonly(config, False)
        if STATISTICS in factors:
            self._put(factors[STATISTICS])
        for name, value in factors.items():
            if name == STATISTICS:
                continue
            key = name if name == "metric" else f"evaluation.{name}"
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        evaluator = build_evaluator(check(config), self.data, self.say, self.progress)
        if evaluator is None:
            raise Mistake(f"nothing can measure {self.run.folder}: name an extractor, evaluation.extractor=...")
        settings = config.evaluation
        sample = Sampler(self.game, settings.average, settings.get("batch_norm", "running"))
        found = sample.evaluate(evaluator, self.data)
        if STATISTICS in factors:
            self._put(self.statistics)
        self.contracts = {score.contract.metric: score.contract for score in found.values()}
        return {score.contract.metric: score.value for score in found.values()}


def _verdict(run: Run, other: Run) -> str:
    """Whether the recorded scores of two runs may stand in one column, by metric, of their first rulers."""
    finals = [[Score.from_dict(score) for score in (one.summary.get("final") or {}).values()] for one in (run, other)]
    ours, theirs = ({score.contract.metric: score.contract for score in reversed(final)} for final in finals)
    for metric in ours.keys() & theirs.keys():
        if differing := contract_differences(ours[metric], theirs[metric]):
            fields = ", ".join(
                name if "sha" in name or name == "data" else f"{name} ({x}, {y})" for name, (x, y) in differing.items()
            )
            return f"their recorded scores cannot stand in one column: they differ in {fields}"
    return "their recorded scores stand under one contract"
