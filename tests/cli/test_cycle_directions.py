"""The other direction of a cycle: its export, samples and `apply` use the reverse generator, without foreign scores."""

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from test_cycle import Domains

import saddlepoint
from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.experiment.restore import load
from saddlepoint.experiment.train import train
from saddlepoint.pixel import to_float, to_uint8

CYCLE = [
    "game=cycle", "objective=least_squares", "regularizer=[cycle_consistency]", "architecture=resnet_translator",
    "architecture.generator.condition={source: 1}", "architecture.generator.blocks=1", "architecture.generator.width=2",
    "architecture.discriminator.norm=null", "architecture.discriminator.width=2",
    "batch=4", "cache=null", "images=8", "metric=[frechet_distance]", "evaluation.extractor=identity",
    "callback=[evaluation,checkpoint]", "callback.evaluation.images_between=8", "callback.checkpoint.images_between=8",
    "evaluation.selection.split=null", "evaluation.n=20", "logger=none", "allow_target=[test_cycle]",
    "data={_target_: test_cycle.Domains, shape: [1,16,16], classes: 10, extractor: null, paired: false, channels: 1, "
    "batch: 4, seed: 0}",
]  # fmt: skip
REVERSE = ["game.samples=reverse_fake", "allow_target=[test_cycle]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Any:
    """A folder, the record of a run, and the first sources and images of the validation split, uint8."""
    folder = tmp_path_factory.mktemp("cycle")
    record = train(compose([*CYCLE, f"outputs={folder}"]), Console(file=io.StringIO()))
    split = Domains((1, 16, 16), 10).split("validation")
    return folder, record, split.extra_columns["source"][:5], split.x[:5]


def translated(record: Any, name: str, images: Any) -> Any:
    """The translation of stored images by the averaged weights of a generator, as stored."""
    with torch.no_grad():
        return to_uint8(load(record).player(name).average.network.eval()(to_float(images), {}))


def test_samples_and_apply_of_the_other_direction_are_those_of_the_reverse_generator(trained: Any) -> None:
    folder, record, _, x = trained
    expected = translated(record, "reverse_generator", x)
    assert not torch.equal(expected, translated(record, "generator", x))
    assert main(["sample", f"run={record.folder}", "n=5", f"to={folder / 's.npz'}", *REVERSE]) == 0
    drawn = torch.from_numpy(np.load(folder / "s.npz")["arr_0"]).reshape(5, 16, 16)
    assert torch.equal(drawn, expected[:, 0])
    (folder / "x").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image[0].numpy()).save(folder / "x" / f"{i}.png")
    words = ["apply", f"run={record.folder}", f"source={folder / 'x'}", "side=reverse_fake", f"to={folder / 'made'}"]
    assert main([*words, *REVERSE[1:]]) == 0
    for i, image in enumerate(expected):
        assert np.array_equal(np.asarray(Image.open(folder / "made" / f"{i}.png")), image[0].numpy())


def test_an_export_of_the_other_direction_has_its_generator_and_no_score_of_the_first(trained: Any) -> None:
    folder, record, source, x = trained
    for to, words, name, given in (("first", REVERSE[1:], "generator", {"source": source}),
                                   ("other", REVERSE, "reverse_generator", {"x": x})):  # fmt: skip
        assert main(["export", f"run={record.folder}", "formats=[safetensors]", f"to={folder / to}", *words]) == 0
        made = saddlepoint.exported(folder / to)({}, {key: to_float(images) for key, images in given.items()})
        assert torch.equal(to_uint8(made), translated(record, name, *given.values()))
    card = {to: json.loads((folder / to / "card.json").read_text()) for to in ("first", "other")}
    assert [*card["first"]["scores"]] == ["fid_identity_20_train"]
    assert (card["other"]["scores"], card["other"]["anchors"], card["other"]["seeds"]) == ({}, {}, {})
    assert "fid_" not in (folder / "other" / "README.md").read_text()
