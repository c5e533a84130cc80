"""What a search shows while it runs and leaves when it is over: a table, lines, drawings, what mattered."""

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


def mixed(number: int, params: dict, seed: int, place: int) -> Formula:
    """Trial 2 fails, trials 9 and 11 are hopeless, and each other one is better than those before it."""
    if number == 2:
        return Formula(AttemptResult(reason="it diverged"))
    level = 100.0 if number in (9, 11) else 10.0 - number / 10
    return Formula(AttemptResult(level), [(1, level), (2, level)])


def shown(folder: Path, terminal: bool) -> str:
    out = io.StringIO()
    found = study(folder, plan(RATE, EVERY, KIND, trials=12, pruned="median"))
    board = TrialTable(found, Console(file=out, width=160, force_terminal=terminal), 1)
    board.log("it begins")
    with board:
        run_trials(found, mixed, watch=lambda: (setattr(board, "_looked", -9.0), board.refresh())[1], pause=0)
        said = out.getvalue() if not terminal else ""
    return said or out.getvalue()


def test_elsewhere_each_event_is_a_line_with_values_score_best_and_how_far_all_is(tmp_path: Path) -> None:
    lines = shown(tmp_path, terminal=False).splitlines()
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
    said = shown(tmp_path, terminal=True)
    for part in ("rate", "every", "kind", "fid", "12 of 12 trials over", "best", "failed: it diverged", "pruned"):
        assert part in said


@pytest.mark.parametrize(("metric", "best"), [("fid", 1), ("coverage", 2)])
def test_the_best_has_the_lowest_score_where_low_is_good_and_the_highest_where_high_is(
    metric: str, best: int, tmp_path: Path
) -> None:
    scores = (0.5, 0.1, 0.9, 0.3)
    asked = plan(metric=metric, trials=4)
    found = search(tmp_path, asked, lambda number, *rest: Formula(AttemptResult(scores[number])))
    with TrialTable(found, Console(file=io.StringIO()), 1) as board:
        assert board.best is board.trials[best]
    assert [row[2].best for row in trial_sheet(asked, board.trials).rows] == [i == best for i in range(4)]


def test_the_best_and_the_time_left_are_of_what_ended(tmp_path: Path) -> None:
    board = TrialTable(study(tmp_path, plan(trials=10)), Console(file=io.StringIO()), 2)
    done = [TrialRecord(i, FINISHED, {}, float(value), {}, {"seconds": 10.0}) for i, value in enumerate((3, 1, 2))]
    board.trials = [*done, TrialRecord(3, FAILED, {}, None, {}, {"seconds": 99.0})]
    assert board.best == done[1]
    assert board.time_left == pytest.approx(10.0 * 6 / 2)
    board.trials = []
    assert (board.best, board.time_left, board.n_ended) == (None, None, 0)


def test_what_is_left_behind_holds_every_trial(tmp_path: Path) -> None:
    found = search(tmp_path, plan(RATE, EVERY, KIND, trials=12, pruned="median", seeds=(0, 1)), mixed)
    lines = write_report(found, tmp_path)
    assert lines[0].startswith("12 trials: 9 finished, 1 failed, 2 pruned")
    whole = json.loads((tmp_path / "report" / "trials.json").read_text())
    assert [one["number"] for one in whole["trials"]] == list(range(12))
    assert whole["trials"][2]["reason"] == "seed 0: it diverged"
    assert whole["trials"][9]["curve"] == {"1": 100.0}
    assert whole["trials"][0]["values"] == [whole["trials"][0]["value"]] * 2
    table = (tmp_path / "report" / "trials.md").read_text()
    assert table.count("**") == 2  # one best
    assert "it diverged" in table
    for name in ("history", "importance", "parallel"):
        with Image.open(tmp_path / "report" / f"{name}.png") as drawn:
            assert len(set(drawn.convert("L").resize((40, 40)).getdata())) > 5  # something is drawn


def test_what_matters_has_the_largest_share(tmp_path: Path) -> None:
    found = search(
        tmp_path,
        plan(RATE, KIND, trials=40),
        lambda n, params, *_: Formula(AttemptResult(float(params["kind"] == "b"))),
    )
    shares = plot.importances(found)
    assert next(iter(shares)) == "kind"
    assert shares["kind"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_of_few_or_equal_scores_nothing_matters(tmp_path: Path) -> None:
    assert plot.importances(search(tmp_path / "few", plan(trials=2))) == {}
    assert (
        plot.importances(search(tmp_path / "equal", plan(trials=6), lambda *asked: Formula(AttemptResult(1.0)))) == {}
    )


@pytest.mark.parametrize("trials", [1, 12])
def test_drawings_hold_for_one_trial_for_words_and_for_ranges_of_one_value_and_leave_pyplot_as_it_was(
    trials: int, tmp_path: Path
) -> None:
    before = dict(pyplot.rcParams)
    found = search(tmp_path, plan(RATE, EVERY, KIND, Range("one", 2.0, 2.0), trials=trials, metric="coverage"), mixed)
    drawings = [plot.history_plot, plot.parallel_plot, *([plot.importance_plot] if trials > 1 else [])]
    for draw in drawings:
        assert draw(found).startswith(b"\x89PNG")
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
