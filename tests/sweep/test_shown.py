"""What a search shows while it runs, and its report: tables, plots, importances."""

import io
import json
from pathlib import Path

import pytest
from formula import EVERY, KIND, RATE, Formula, plan, search, study
from matplotlib import pyplot
from PIL import Image
from rich.console import Console

from saddlepoint.sweep import plot
from saddlepoint.sweep.report import trial_sheet, write_report
from saddlepoint.sweep.space import Range
from saddlepoint.sweep.study import FAILED, FINISHED, PRUNED, RUNNING, TrialRecord
from saddlepoint.sweep.trial_table import TrialTable
from saddlepoint.sweep.worker import AttemptResult, run_trials


def mixed_trials(number: int, params: dict, seed: int, slot: int) -> Formula:
    """Trial 2 fails, trials 9 and 11 are bad, and each other trial is better than those before it."""
    if number == 2:
        return Formula(AttemptResult(reason="it diverged"))
    level = 100.0 if number in (9, 11) else 10.0 - number / 10
    return Formula(AttemptResult(level), [(1, level), (2, level)])


def run_and_capture(folder: Path, terminal: bool) -> str:
    out = io.StringIO()
    mixed_study = study(folder, plan(RATE, EVERY, KIND, trials=12, pruner="median"))
    table = TrialTable(mixed_study, Console(file=out, width=160, force_terminal=terminal), 1)
    table.seconds = 0.0  # read the study at each refresh
    table.log("it begins")
    with table:
        run_trials(mixed_study, mixed_trials, watch=table.refresh, pause=0)
        lines = out.getvalue() if not terminal else ""
    return lines or out.getvalue()


def test_without_a_terminal_each_event_is_a_line_with_values_score_best_and_progress(tmp_path: Path) -> None:
    lines = run_and_capture(tmp_path, terminal=False).splitlines()
    assert lines[:2] == ["it begins", "12 trials, 1 at a time"]
    (failed,) = (line for line in lines if line.startswith("failed"))
    assert "trial 2  rate=" in failed
    assert "it diverged" in failed
    assert sum(line.startswith("pruned") for line in lines) == 2
    last = [line for line in lines if line.startswith("finished")][-1]
    assert "fid " in last
    assert "best " in last
    assert "12/12" in lines[-1] or "11/12" in last


def test_a_terminal_shows_a_live_table(tmp_path: Path) -> None:
    output = run_and_capture(tmp_path, terminal=True)
    for part in ("rate", "every", "kind", "fid", "12 of 12 trials over", "best", "failed: it diverged", "pruned"):
        assert part in output


@pytest.mark.parametrize(("metric", "best"), [("fid", 1), ("coverage", 2)])
def test_the_best_trial_follows_the_direction_of_the_metric(metric: str, best: int, tmp_path: Path) -> None:
    scores = (0.5, 0.1, 0.9, 0.3)
    search_plan = plan(metric=metric, trials=4)
    finished = search(tmp_path, search_plan, lambda number, *rest: Formula(AttemptResult(scores[number])))
    with TrialTable(finished, Console(file=io.StringIO()), 1) as table:
        assert table.best is table.trials[best]
    assert [row[2].best for row in trial_sheet(search_plan, table.trials).rows] == [i == best for i in range(4)]


def test_the_best_trial_and_the_time_left_depend_on_finished_trials(tmp_path: Path) -> None:
    table = TrialTable(study(tmp_path, plan(trials=10)), Console(file=io.StringIO()), 2)
    done = [TrialRecord(i, FINISHED, {}, float(value), {}, {"seconds": 10.0}) for i, value in enumerate((3, 1, 2))]
    table.trials = [*done, TrialRecord(3, FAILED, {}, None, {}, {"seconds": 99.0})]
    assert table.best == done[1]
    assert table.time_left == pytest.approx(10.0 * 6 / 2)
    table.trials = []
    assert (table.best, table.time_left, table.n_ended) == (None, None, 0)


def test_the_report_has_every_trial(tmp_path: Path) -> None:
    finished = search(tmp_path, plan(RATE, EVERY, KIND, trials=12, pruner="median", seeds=(0, 1)), mixed_trials)
    lines = write_report(finished, tmp_path)
    assert lines[0].startswith("12 trials: 9 finished, 1 failed, 2 pruned")
    report = json.loads((tmp_path / "report" / "trials.json").read_text())
    assert [trial["number"] for trial in report["trials"]] == list(range(12))
    assert report["trials"][2]["reason"] == "seed 0: it diverged"
    assert report["trials"][9]["curve"] == {"1": 100.0}
    assert report["trials"][0]["values"] == [report["trials"][0]["value"]] * 2
    table = (tmp_path / "report" / "trials.md").read_text()
    assert table.count("**") == 2  # only one best trial
    assert "it diverged" in table
    for name in ("history", "importance", "parallel"):
        with Image.open(tmp_path / "report" / f"{name}.png") as image:
            assert len(set(image.convert("L").resize((40, 40)).getdata())) > 5  # the plot is not empty


def test_the_dimension_that_matters_has_the_largest_importance(tmp_path: Path) -> None:
    finished = search(
        tmp_path,
        plan(RATE, KIND, trials=40),
        lambda n, params, *_: Formula(AttemptResult(float(params["kind"] == "b"))),
    )
    shares = plot.importances(finished)
    assert next(iter(shares)) == "kind"
    assert shares["kind"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_few_or_equal_scores_have_no_importances(tmp_path: Path) -> None:
    assert plot.importances(search(tmp_path / "few", plan(trials=2))) == {}
    equal = search(tmp_path / "equal", plan(trials=6), lambda *arguments: Formula(AttemptResult(1.0)))
    assert plot.importances(equal) == {}


@pytest.mark.parametrize("trials", [1, 12])
def test_plots_of_any_search_are_png_files_and_restore_the_state_of_pyplot(trials: int, tmp_path: Path) -> None:
    before = dict(pyplot.rcParams)
    finished = search(
        tmp_path, plan(RATE, EVERY, KIND, Range("one", 2.0, 2.0), trials=trials, metric="coverage"), mixed_trials
    )
    plots = [plot.history_plot, plot.parallel_plot, *([plot.importance_plot] if trials > 1 else [])]
    for make_plot in plots:
        assert make_plot(finished).startswith(b"\x89PNG")
    assert pyplot.get_fignums() == []
    assert {key: value for key, value in pyplot.rcParams.items() if key != "backend"} == {
        key: value for key, value in before.items() if key != "backend"
    }


def test_the_table_marks_the_best_of_the_finished_trials() -> None:
    trials = [
        TrialRecord(0, FINISHED, {"rate": 1e-4, "every": 5, "kind": "b"}, 0.5, {}),
        TrialRecord(1, PRUNED, {"rate": 1.0, "every": 1, "kind": "a"}, None, {1: 0.2}),
        TrialRecord(2, FAILED, {"rate": 1.0, "every": 1, "kind": "a"}, None, {}),
        TrialRecord(3, FINISHED, {"rate": 0.1, "every": 2, "kind": "a"}, 0.7, {1: 0.4}),
        TrialRecord(4, RUNNING, {}, None, {}),
    ]
    best = [[cell.best for cell in row] for row in trial_sheet(plan(RATE, EVERY, KIND, metric="coverage"), trials).rows]
    assert [any(row) for row in best] == [False, False, False, True, False]
