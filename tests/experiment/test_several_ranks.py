"""Whatever one of several ranks sees or is told, all end in the same round, and one of them writes."""

import pytest
import several
import torch
from ranked import free_port, played

from saddlepoint.run.folder import Run


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    found = played(several.on_ranks, 2, str(folder), [free_port() for _ in several.PREPARED], join=False)
    return folder, found


def _run(folder, name):
    return Run(folder / name / "run" / "seed0")


def _saved(run):
    return torch.load(run.checkpoints / "last.ckpt", weights_only=True)["saddlepoint"]["images"]


def test_scores_grids_and_snapshots_of_reestimated_averages_leave_the_ranks_alike(both):
    assert [own["measured"] for own in both[1]] == [("finished", "")] * 2


def test_two_ranks_measure_what_one_process_does_to_the_last_bit_with_a_cold_cache(both, tmp_path):
    alone, shared = several.trained(tmp_path, *several.MEASURED), _run(both[0], "measured")
    one, other = (next(row for row in run.rows() if row["images"] == 0) for run in (alone, shared))
    assert one.keys() == other.keys()
    assert {k: v for k, v in one.items() if k.startswith("fid")} == {
        k: v for k, v in other.items() if k.startswith("fid")
    }
    names = [
        sorted(path.name for path in (tmp_path / "cache").rglob("*.*[a-z]"))
        for tmp_path in (tmp_path, both[0] / "measured")
    ]
    assert names[0] == names[1]


def test_a_rank_that_is_told_to_end_takes_the_other_with_it_in_the_same_round(both):
    assert [own["told"] for own in both[1]] == [("Halted", "signal SIGTERM")] * 2
    run = _run(both[0], "told")
    assert (_saved(run), run.summary["status"], run.summary["exit"]) == (64, "interrupted", 143)


def test_who_is_told_to_end_while_the_last_round_is_saved_is_heard_before_the_final_scores(both):
    assert [own["told at the end"] for own in both[1]] == [("Halted", "signal SIGTERM")] * 2
    run = _run(both[0], "told at the end")
    assert (_saved(run), run.summary["exit"], run.summary["final"]) == (96, 143, {})


def test_ranks_that_have_drifted_apart_save_nothing_and_name_the_first_tensor(both):
    for kind, said in (own["drift"] for own in both[1]):
        assert kind == "Mistake"
        assert "after 64 images the ranks have drifted apart, first in players.discriminator" in said
    assert _saved(_run(both[0], "drift")) == 32


@pytest.mark.parametrize(
    ("what", "named"),
    [("stream", "stream latent"), ("memory", "optimizer of generator, parameter 0, exp_avg")],
)
def test_ranks_whose_draws_or_optimizers_have_drifted_apart_save_nothing_though_their_weights_agree(both, what, named):
    kind, said = both[1][0][f"drift of a {what}"]
    assert kind == "Mistake"
    assert f"after 64 images the ranks have drifted apart, first in {named}" in said
    assert _saved(_run(both[0], f"drift of a {what}")) == 32


def test_a_term_that_is_no_number_on_one_rank_is_named_by_all_with_the_dump_that_holds_it(both):
    (kind, said), other = (own["no number"] for own in both[1])
    assert other == (kind, said)
    assert kind == "Diverged"
    assert "discriminator/adversarial = nan in round 4, after 48 images" in said
    dump = _run(both[0], "no number").folder / "dumps" / "48.pt"
    assert said.endswith(f"saddlepoint replay dump={dump}")
    assert torch.load(dump, weights_only=True)["rank"] == 1


def test_a_rank_that_fails_says_why_and_the_other_that_it_is_lost(both):
    lost, failed = (own["lost"] for own in both[1])
    assert failed == ("RuntimeError", "rank 1's own words")
    assert lost == ("Lost", "another rank is gone; what it said last tells why")
    assert _run(both[0], "lost").summary["error"] == lost[1]
