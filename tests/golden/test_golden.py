"""Twenty rounds of each composition give the curve that is kept here: a refactoring must reproduce it.

A change that is meant to move a curve renews them, and says so in the changelog:  python tests/golden/test_golden.py
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # where this file is run as a script
from runs import rows, run

HERE = Path(__file__).parent
CURVES = {
    "nonsaturating": [],
    "minimax-smoothed": ["objective=minimax", "objective.discriminator.real_label=0.9"],
    "least_squares-lazy_r1": ["objective=least_squares", "regularizer=[r1]", "regularizer.discriminator.r1.every=4"],
    "hinge-simultaneous": ["objective=hinge", "game=simultaneous"],
    "wasserstein-gradient_penalty": [
        "objective=wasserstein", "regularizer=[gradient_penalty]", "game.players.generator.every=5",
    ],
    "relativistic-r1-r2": ["objective=relativistic", "regularizer=[r1,r2]"],
    "mlp-ring": ["data=gaussians", "data.number=1000"],
}  # fmt: skip


def curve(overrides, folder):
    """Losses, logits and gradient norms of twenty rounds, every second one."""
    record = run(folder, *overrides, "metric=[]", "callback.grid.images_between=9999999")
    return rows(record)


@pytest.mark.parametrize("name", CURVES)
def test_twenty_rounds_give_the_curve_that_is_kept(name, tmp_path):
    kept, ours = json.loads((HERE / f"{name}.json").read_text()), curve(CURVES[name], tmp_path)
    assert [sorted(row) for row in ours] == [sorted(row) for row in kept]
    for row, other in zip(ours, kept, strict=True):
        for key, value in row.items():
            # other processors round otherwise; twenty rounds let that grow to a thousandth, a wrong sign to much more
            assert value == pytest.approx(other[key], rel=5e-3, abs=2e-4), (row["images"], key)


if __name__ == "__main__":
    for name, overrides in CURVES.items():
        with tempfile.TemporaryDirectory() as folder:
            lines = [json.dumps(row) for row in curve(overrides, folder)]
            (HERE / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
