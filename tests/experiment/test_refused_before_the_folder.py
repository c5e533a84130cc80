"""Impossible settings of a training are refused before its folder exists, and leave neither folder nor lock."""

from pathlib import Path

import pytest
from PIL import Image

from saddlepoint.cli import main

SMALL = ["logger=none", "metric=[]", "images=192", "architecture.discriminator.widths=[8]"]
IMPOSSIBLE = {
    "a split that the data lack": (["callback.health.held_out=tets"], "callback.health.held_out=tets"),
    "the split that D is trained on": (["callback.health.held_out=train"], "D is trained on these"),
    "a head that D lacks": (["+callback=classification_error"], "callback.classification_error.head=label"),
    "a split without that name": (
        ["+callback=classification_error", "callback.classification_error.split=tets"],
        "callback.classification_error.split=tets",
    ),
    "an equilibrium of another size": (
        ["+callback=equilibrium_distance", "callback.equilibrium_distance.equilibrium={generator: [1.0]}"],
        "callback.equilibrium_distance.equilibrium.generator has 1 values",
    ),
    "more threads than can be started": (["threads=1000000"], "threads=1000000: threads is an integer"),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_a_callback_with_wrong_settings_is_refused_and_leaves_no_folder(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, message = IMPOSSIBLE[kind]
    outputs = tmp_path / "outputs"
    assert main(["train", *SMALL, f"outputs={outputs}", *overrides]) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not outputs.exists()


def test_a_negative_number_of_workers_is_refused_under_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    for i in range(20):
        Image.new("L", (8, 8), i).save(tmp_path / "images" / f"{i}.png")
    overrides = ["data=image_folder", f"data.folder={tmp_path / 'images'}", "data.channels=1", "data.workers=-1"]
    assert main(["train", *SMALL, f"outputs={tmp_path / 'outputs'}", *overrides]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("saddlepoint: data.workers=-1: ")
    assert not (tmp_path / "outputs").exists()
