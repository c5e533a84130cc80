"""If one of several ranks fails or receives a signal, all end in the same round, and only rank 0 writes."""

import pytest
import several
import torch
from ranked import free_port, run_on_ranks

from saddlepoint.run.folder import Run


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    outcomes = run_on_ranks(several.on_ranks, 2, str(folder), [free_port() for _ in several.PREPARED], join=False)
    return folder, outcomes


def _run(folder, name):
    return Run(folder / name / "run" / "seed0")


def _saved(run):
    return torch.load(run.checkpoints / "last.ckpt", weights_only=True)["saddlepoint"]["images"]


def test_scores_grids_and_snapshots_of_reestimated_averages_keep_the_ranks_identical(results):
    assert [result["measured"] for result in results[1]] == [("finished", "")] * 2


def test_two_ranks_measure_the_same_bits_as_one_process_with_a_cold_cache(results, tmp_path):
    single, shared = several.train_run(tmp_path, *several.MEASURED), _run(results[0], "measured")
    one, other = (next(row for row in run.rows() if row["images"] == 0) for run in (single, shared))
    assert one.keys() == other.keys()
    assert {k: v for k, v in one.items() if k.startswith("fid")} == {
        k: v for k, v in other.items() if k.startswith("fid")
    }
    names = [
        sorted(path.name for path in (tmp_path / "cache").rglob("*.*[a-z]"))
        for tmp_path in (tmp_path, results[0] / "measured")
    ]
    assert names[0] == names[1]


def test_a_signal_to_one_rank_stops_both_in_the_same_round(results):
    assert [result["signal"] for result in results[1]] == [("Stopped", "signal SIGTERM")] * 2
    run = _run(results[0], "signal")
    assert (_saved(run), run.summary["status"], run.summary["exit"]) == (64, "interrupted", 143)


def test_a_signal_during_the_last_save_stops_the_run_before_the_final_scores(results):
    assert [result["signal at the end"] for result in results[1]] == [("Stopped", "signal SIGTERM")] * 2
    run = _run(results[0], "signal at the end")
    assert (_saved(run), run.summary["exit"], run.summary["final"]) == (96, 143, {})


def test_ranks_with_different_weights_save_nothing_and_name_the_first_tensor(results):
    for kind, message in (result["drift"] for result in results[1]):
        assert kind == "Mistake"
        assert "after 64 images the ranks differ, first in players.discriminator" in message
    assert _saved(_run(results[0], "drift")) == 32


@pytest.mark.parametrize(
    ("what", "named"),
    [("stream", "stream latent"), ("memory", "optimizer of generator, parameter 0, exp_avg")],
)
def test_ranks_with_different_streams_or_optimizers_save_nothing(results, what, named):
    kind, message = results[1][0][f"drift of a {what}"]
    assert kind == "Mistake"
    assert f"after 64 images the ranks differ, first in {named}" in message
    assert _saved(_run(results[0], f"drift of a {what}")) == 32


def test_a_non_finite_term_on_one_rank_is_named_by_all_with_its_dump(results):
    (kind, message), other = (result["no number"] for result in results[1])
    assert other == (kind, message)
    assert kind == "Diverged"
    assert "discriminator/adversarial = nan in round 4, after 48 images" in message
    dump = _run(results[0], "no number").folder / "dumps" / "48.pt"
    assert message.endswith(f"saddlepoint replay dump={dump}")
    assert torch.load(dump, weights_only=True)["rank"] == 1


def test_a_rank_that_fails_gives_the_reason_and_the_other_that_a_rank_is_lost(results):
    lost, failed = (result["lost"] for result in results[1])
    assert failed == ("RuntimeError", "rank 1's own words")
    assert lost == ("LostRank", "another rank has ended; its last message gives the reason")
    assert _run(results[0], "lost").summary["error"] == lost[1]
