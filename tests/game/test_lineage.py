"""What samples are made of is found once for a wiring, and anew for another."""

from types import SimpleNamespace

from saddlepoint.game.lineage import column_leaves, leaves, sampled, upstream
from saddlepoint.game.side import sides_of

CHAIN = sides_of({
    "real": {"of": "x"},
    "code": {"by": "encoder", "of": "x"},
    "fake": {"by": "generator", "condition": {"label": "y"}},
    "again": {"by": "generator", "of": "code"},
})  # fmt: skip


def test_lineage_follows_the_side_that_samples_are_drawn_from_and_the_sides_there_are() -> None:
    game = SimpleNamespace(sides=CHAIN, samples="fake", players={"generator": 0, "encoder": 0}, priors={"latent": ()})
    assert (list(upstream(game)), sampled(game), leaves(game)) == (["fake"], ["generator"], {"label": "y"})
    assert upstream(game) is upstream(game), "found once"
    game.samples = "again"
    assert (list(upstream(game)), sampled(game)) == (["again", "code"], ["generator", "encoder"])
    assert column_leaves(game) == {"x": "x"}
    game.sides = {**CHAIN, "again": CHAIN["fake"]}
    assert (list(upstream(game)), leaves(game)) == (["again"], {"label": "y"})
