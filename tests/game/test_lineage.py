"""The lineage of samples is computed once per wiring."""

from types import SimpleNamespace

from saddlepoint.game.lineage import condition_columns, condition_entries, sampling_players, upstream_sides
from saddlepoint.game.side import parse_sides

CHAIN = parse_sides({
    "real": {"of": "x"},
    "code": {"by": "encoder", "of": "x"},
    "fake": {"by": "generator", "condition": {"label": "y"}},
    "again": {"by": "generator", "of": "code"},
})  # fmt: skip


def test_lineage_is_recomputed_if_the_sides_or_the_sampled_side_change() -> None:
    game = SimpleNamespace(sides=CHAIN, samples="fake", players={"generator": 0, "encoder": 0}, priors={"latent": ()})
    assert (list(upstream_sides(game)), sampling_players(game), condition_entries(game)) == (
        ["fake"],
        ["generator"],
        {"label": "y"},
    )
    assert upstream_sides(game) is upstream_sides(game), "computed once"
    game.samples = "again"
    assert (list(upstream_sides(game)), sampling_players(game)) == (["again", "code"], ["generator", "encoder"])
    assert condition_columns(game) == {"x": "x"}
    game.sides = {**CHAIN, "again": CHAIN["fake"]}
    assert (list(upstream_sides(game)), condition_entries(game)) == (["again"], {"label": "y"})
