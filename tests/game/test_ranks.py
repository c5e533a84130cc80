"""N ranks train the game of one process: each has a slice of the batch and the draws, and gradients are averaged."""

from functools import cache

import numpy as np
import pytest
import torch
from ranked import run_on_ranks
from sliced import GAMES, all_games, build_game

from saddlepoint import ranks
from saddlepoint.error import Mistake
from saddlepoint.game.data_parallel import check_coupled_modules
from saddlepoint.layer.minibatch_discrimination import MinibatchDiscrimination
from saddlepoint.turn import Batch

WORLDS = [2, pytest.param(4, marks=pytest.mark.slow)]


@cache
def _weights(world):
    return run_on_ranks(all_games, world)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("world", WORLDS)
def test_several_ranks_match_one_process_on_the_same_global_batch(name, world):
    (expected,) = _weights(1)
    for actual in _weights(world):
        for key, value in expected[name].items():
            np.testing.assert_allclose(actual[name][key], value, rtol=1e-8, atol=1e-8, err_msg=f"{name}: {key}")


def test_each_step_sends_one_message_with_gradients_and_batch_norm_statistics():
    messages, statistics = _weights(2)[0]["messages"], 2 * 8
    d, g = 2 * 8 + 8 + 8 + 1 + statistics, 3 * 8 + 8 + 8 * 2 + 2 + 2 * 8 + statistics
    assert messages.pop("wasserstein + gradient penalty at 5:1") == [d] * 5 + [g]
    assert messages.pop("simultaneous") == [d + g - statistics] * 5
    g_plain = g - statistics - 2 * 8  # a generator without batch norm
    assert messages.pop("accumulation 2") == [d - statistics, g_plain] * 5
    for name, sizes in messages.items():  # however many backward passes there are
        assert sizes == [d, g] * 5, name


@pytest.mark.parametrize("world", WORLDS)
def test_ranks_hold_exactly_the_same_game_with_batch_norm_too(world):
    first, *others = _weights(world)
    for name in [*GAMES, "batch norm"]:
        for other in others:
            for key, value in first[name].items():
                assert (other[name][key] == value).all(), f"{name}: {key}"
    assert all(other["report"] == first["report"] for other in others)


def test_a_module_with_batch_statistics_of_one_rank_only_is_refused(monkeypatch):
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    check_coupled_modules(build_game("minibatch discrimination"))
    monkeypatch.setattr(MinibatchDiscrimination, "over_ranks", False)
    with pytest.raises(Mistake, match=r"discriminator: MinibatchDiscrimination .* each of 2 ranks has a slice"):
        check_coupled_modules(build_game("minibatch discrimination"))


def test_layer_noise_differs_between_ranks_and_rank_0_has_that_of_one_process(monkeypatch):
    draws = []
    for rank in (0, 1, 2):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        game = build_game("nonsaturating")
        torch.manual_seed(7)
        game.on_train_batch_start(Batch(torch.zeros(1, 2)), 0)
        draws.append(torch.randn(()).item())
    torch.manual_seed(7)
    assert draws[0] == torch.randn(()).item()
    assert len(set(draws)) == 3
