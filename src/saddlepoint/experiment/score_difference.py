"""Why two runs score differently: repeat the measurement with one factor of the protocol changed at a time.

Split, number of samples, resizer, extractor, averaged or raw weights and batch-norm statistics all change a score. If
two runs a and b were measured by different protocols, a is measured by its own protocol, then with each factor that
differs set as in b, one at a time, then by the whole protocol of b, as b is. The difference that remains under one
protocol is the difference between the runs.
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
from saddlepoint.evaluation.contract import Contract, Score, contract_differences, first_differing_field
from saddlepoint.experiment.build import build_game, set_threads
from saddlepoint.experiment.devices import resolve_device
from saddlepoint.experiment.evaluators import build_evaluator
from saddlepoint.experiment.restore import load_run_data, restore_checkpoint_or_snapshot
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.game.lineage import generator_player
from saddlepoint.run.folder import Run

SETTINGS = ("n", "split", "extractor", "weights", "resizer", "average", "batch_norm", "batch", "seed")
STATISTICS = "statistics of the average"  # how the batch-norm statistics of the average are made
FACTORS = (*SETTINGS, STATISTICS, "metric")  # of a protocol
Values = dict[str, float]  # by metric


class ScoreDifference(NamedTuple):
    """The scores of two runs, a and b, as the protocol changes from that of a to that of b."""

    run: Path
    other: Path
    verdict: str  # whether their recorded scores are comparable
    steps: list[tuple[str, Values]]  # a description of each measurement, and its scores
    difference: Values  # b minus a, under one protocol


def explain_score_difference(
    run: Run,
    other: Run,
    overrides: Sequence[str],
    config_dir: str | Path | None,
    log: Callable[[str], None],
    progress: ProgressMeter,
    at: str | int = "last",
) -> ScoreDifference:
    """Measure `run` with the factors of its protocol changed one at a time to those of `other`.

    `overrides` and `at` apply to both runs.  Raises Mistake if the data of the runs differ, or if their contracts still
    differ at the end.
    """
    ours, theirs = (_Side(each, overrides, config_dir, log, progress, at) for each in (run, other))
    our_hash, their_hash = (side.data.split("train").sha256 for side in (ours, theirs))
    if our_hash != their_hash:
        raise Mistake(
            f"{run.folder} and {other.folder} were trained on different data (train split {our_hash[:8]} and "
            f"{their_hash[:8]}): their scores are not comparable under any protocol"
        )
    steps = [("a, by its own protocol", ours.measure({}))]
    factors = {
        name: value for name in FACTORS if (value := theirs.protocol_setting(name)) != ours.protocol_setting(name)
    }
    for name, value in factors.items():
        old, new = ("default" if state is None else str(state) for state in (ours.protocol_setting(name), value))
        change = "the metrics' settings" if name == "metric" else f"{name} {old} -> {new}"
        steps.append((f"a, {change}", ours.measure({name: value})))
    if len(factors) > 1:
        steps.append(("a, by the protocol of b", ours.measure(factors)))
    last = ours.contracts
    steps.append(("b, by its own protocol", theirs.measure({})))
    for metric in last.keys() & theirs.contracts.keys():
        if (field := first_differing_field(last[metric], theirs.contracts[metric])) is not None:
            raise Mistake(f"{metric}: the runs cannot be measured by the same protocol; they still differ in {field}")
    base, final = steps[-2 if factors else 0][1], steps[-1][1]
    differences = {metric: final[metric] - base[metric] for metric in steps[0][1] if metric in final and metric in base}
    return ScoreDifference(run.folder, other.folder, _contract_verdict(run, other), steps, differences)


class _Side:
    """One of the two runs, to be measured by its own protocol or another."""

    def __init__(
        self,
        run: Run,
        overrides: Sequence[str],
        config_dir: str | Path | None,
        log: Callable[[str], None],
        progress: ProgressMeter,
        at: str | int,
    ) -> None:
        self.run, self.log, self.progress = run, log, progress
        self.contracts: dict[str, Contract] = {}  # of the last measurement, by metric
        self.config = check(load_run_config(run, overrides, log, config_dir))
        self.data = load_run_data(run, self.config, overrides, log)
        self.game = build_game(self.config, self.data)
        set_threads(self.config, self.game)
        self.at, average = at, generator_player(self.game).average
        self.statistics = None if average is None else average.statistics
        self._restore_run(self.statistics)

    def _restore_run(self, statistics: str | None) -> None:
        """Restore the run, with `statistics` as the batch-norm statistics of its average if given."""
        average = generator_player(self.game).average
        if average is not None and statistics is not None:
            average.statistics = statistics
        restore_checkpoint_or_snapshot(self.game, self.run, self.at, self.log)
        self.game.to(resolve_device(self.config))

    def protocol_setting(self, name: str) -> Any:
        """Return the value of a factor of this run's protocol, as plain Python."""
        if name == "average":  # a run without an average always uses raw weights
            return self.config.evaluation.average and generator_player(self.game).average is not None
        if name == STATISTICS:  # without batch norm, nothing is re-estimated
            statistics = sampling_contract(self.game, self.config.evaluation.average, "running", 1)["batch_norm"]
            return "reestimated" if "reestimated" in statistics else "averaged"
        value = self.config.metric if name == "metric" else self.config.evaluation.get(name)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value

    def measure(self, factors: Mapping[str, Any]) -> Values:
        """Measure this run by its protocol with `factors` replaced; returns the scores by metric."""
        config = copy.deepcopy(self.config)
        OmegaConf.set_readonly(config, False)
        if STATISTICS in factors:
            self._restore_run(factors[STATISTICS])
        for name, value in factors.items():
            if name == STATISTICS:
                continue
            key = name if name == "metric" else f"evaluation.{name}"
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        evaluator = build_evaluator(check(config), self.data, self.log, self.progress)
        if evaluator is None:
            raise Mistake(f"nothing can measure {self.run.folder}: name an extractor, evaluation.extractor=...")
        settings = config.evaluation
        sample = Sampler(self.game, settings.average, settings.get("batch_norm", "running"))
        scores = sample.evaluate(evaluator, self.data)
        if STATISTICS in factors:
            self._restore_run(self.statistics)
        self.contracts = {score.contract.metric: score.contract for score in scores.values()}
        return {score.contract.metric: score.value for score in scores.values()}


def _contract_verdict(run: Run, other: Run) -> str:
    """State whether the recorded scores of two runs have the same contract, by metric, for the first extractor."""
    finals = [[Score.from_dict(score) for score in (each.summary.get("final") or {}).values()] for each in (run, other)]
    ours, theirs = ({score.contract.metric: score.contract for score in reversed(final)} for final in finals)
    for metric in ours.keys() & theirs.keys():
        if differing := contract_differences(ours[metric], theirs[metric]):
            fields = ", ".join(
                name if "sha" in name or name == "data" else f"{name} ({x}, {y})" for name, (x, y) in differing.items()
            )
            return f"their recorded scores are not comparable: their contracts differ in {fields}"
    return "their recorded scores have the same contract"
