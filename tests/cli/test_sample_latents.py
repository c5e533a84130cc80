"""saddlepoint sample along paths of latents, with truncated latents and with standing statistics."""

import json
from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image
from runs import run

from saddlepoint.cli import main
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.experiment.restore import load
from saddlepoint.experiment.sample import Request, check_latent_request, draw_samples
from saddlepoint.prior.traversal import interpolate_by_prior, traversal_of
from saddlepoint.prior.truncated_normal import TruncatedNormal
from saddlepoint.stream import Stream

SETTINGS = ["game=conditional", "architecture.generator.condition={label: 10}", "prior=[normal,categorical]",
            "prior.z.dim=6", "+architecture.generator.norm={_target_: torch.nn.BatchNorm1d, _partial_: true}",
            "metric=[]", "images=320"]  # fmt: skip


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), *SETTINGS)


@pytest.fixture
def sample(record, tmp_path):
    """Draw samples with the command; return its npz."""

    def draw(*overrides, to="x.npz"):
        assert main(["sample", f"run={record.folder}", f"to={tmp_path / to}", *overrides]) == 0
        return np.load(tmp_path / to) if to.endswith("npz") else tmp_path / to

    return draw


def drawn(record, n):
    """The first n latents of the command, and the n after them, with the game."""
    game, stream = load(record), Stream(0, "sample")
    return game, game.prior.sample(n, stream), game.prior.sample(n, stream)


def made(game, latent, label):
    n = len(latent["z"])
    x = draw_samples(game, n, condition={"label": torch.full((n,), label)}, latent=latent)
    return x[:, 0].numpy()


def test_an_interpolation_has_a_row_per_pair_of_latents_and_begins_at_the_usual_samples(record, sample):
    file = sample("interpolate=5", "n=17", "label=3")
    x = file["arr_0"][..., 0].reshape(3, 5, 8, 8)
    game, one, other = drawn(record, 3)
    assert np.array_equal(x.reshape(15, 8, 8), made(game, interpolate_by_prior(game.prior, one, other, 5), 3))
    assert np.array_equal(x[:, 0], sample("n=3", "label=3", to="usual.npz")["arr_0"][..., 0])
    other["category"] = one["category"]  # no mixture of codes
    assert np.array_equal(x[:, -1], made(game, other, 3))
    assert file["arr_1"].tolist() == [3] * 15
    assert json.loads(str(file["contract"])) == {
        "images": 320, "sample_seed": 0, "weights": "averaged", "batch_norm": "running", "dropout": False,
        "interpolate": 5,
    }  # fmt: skip


@pytest.mark.parametrize(("key", "settings", "steps"), [("category", [], 10), ("z.2", ["steps=4", "span=[-1,3]"], 4)])
def test_a_traversal_has_a_row_per_latent_as_picture_and_as_npz(record, sample, key, settings, steps):
    file = sample(f"traverse={key}", "n=24", "label=1", *settings)
    rows = 24 // steps
    game, latent, _ = drawn(record, rows)
    traversal = traversal_of(game.prior, key, *([4, (-1, 3)] if settings else []))
    assert np.array_equal(file["arr_0"][..., 0], made(game, traversal.latents(latent), 1))
    contract = json.loads(str(file["contract"]))
    assert contract["traverse"] == key
    assert contract.get("span") == ([-1, 3] if settings else None)
    if settings:
        with Image.open(sample(f"traverse={key}", "n=24", *settings, to="x.png")) as picture:
            assert picture.size == (2 + 58 * steps, 2 + 58 * rows)


def test_classes_that_are_not_requested_are_constant_along_a_path(record, sample):
    file = sample("traverse=category", "n=30")
    game, latent, _ = drawn(record, 3)
    label = game.conditions.draw_columns({"label": "y"}, 3, Stream(0, "sample"))["label"].repeat_interleave(10)
    latent = traversal_of(game.prior, "category").latents(latent)
    expected = draw_samples(game, 30, condition={"label": label}, latent=latent)
    assert np.array_equal(file["arr_0"][..., 0], expected[:, 0].numpy())


def test_truncation_truncates_normal_parts_only_also_of_paths_and_classes(record, sample):
    file = sample("truncation=0.3", "n=20", "by=label")
    game, *_ = drawn(record, 1)
    game.prior["z"] = TruncatedNormal(6, 0.3)
    latent = game.prior.sample(2, Stream(0, "sample"))
    for label in (0, 9):
        assert np.array_equal(file["arr_0"][2 * label : 2 * label + 2, ..., 0], made(game, latent, label))
    assert json.loads(str(file["contract"]))["truncation"] == 0.3
    path = sample("truncation=0.3", "interpolate=2", "n=4", "label=0", to="path.npz")["arr_0"][..., 0]
    assert np.array_equal(path[::2], made(game, latent, 0))


def test_standing_statistics_change_samples_and_nothing_of_the_run(record, sample):
    files = {path: sha256(path.read_bytes()).hexdigest() for path in record.folder.rglob("*") if path.is_file()}
    standing = sample("n=8", "standing_statistics=4", "average=false")
    plain = draw_samples(load(record), 8, average=False)
    assert not np.array_equal(standing["arr_0"][..., 0], plain[:, 0].numpy())
    contract = json.loads(str(standing["contract"]))
    assert (contract["weights"], contract["batch_norm"]) == ("raw", "standing, 4 passes of 64")
    assert files == {path: sha256(path.read_bytes()).hexdigest() for path in record.folder.rglob("*") if path.is_file()}


def test_samples_with_a_contract_can_be_evaluated(sample, capsys, tmp_path):
    sample("n=60", "truncation=0.3")
    words = ["evaluation.extractor=identity", "evaluation.second_extractor=null", "evaluation.n=60", "data=digits"]
    assert main(["evaluate", f"samples={tmp_path}/x.npz", "metric=[frechet_distance]", *words]) == 0
    assert "arr_0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["interpolate=-8"], "interpolate=-8"),
        (["interpolate=1"], "interpolate=1"),
        (["truncation=0"], "truncation=0"),
        (["truncation=-0.5"], "truncation=-0.5"),
        (["standing_statistics=-1"], "standing_statistics=-1"),
        (["interpolate=8", "kind=cubic"], "kind=cubic"),
        (["traverse=categroy"], "the latent has the parts z, category. Did you mean category?"),
        (["traverse=z"], "name one entry of z, 0 to 5"),
        (["traverse=z.0", "span=[1,-1]"], "an increasing span"),
        (["traverse=z.0", "span=1"], "span=1"),
        (["traverse=category", "steps=4"], "steps=4: category is categorical and takes each of its 10 values"),
        (["traverse=category", "interpolate=8"], "give one of the two"),
        (["traverse=category", "by=label"], "give label= instead of by="),
        (["interpolate=8", "by=label"], "give label= instead of by="),
        (["kind=linear"], "kind=linear: it belongs to interpolate=, which is not given"),
        (["steps=4"], "steps=4: it belongs to traverse="),
        (["interp=8"], "interpolate=8"),
    ],
)
def test_impossible_requests_are_refused_in_a_line(record, tmp_path, capsys, words, message):
    assert main(["sample", f"run={record.folder}", f"to={tmp_path}/x.png", *words]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "x.png").exists()


def game_of(*overrides):
    return build_game(check(compose([*overrides, "architecture.generator.widths=[8]", "logger=none"])))


def test_latents_of_a_generator_that_takes_none_are_refused():
    game = game_of("data=point", "data._target_=paired.Pairs", "~data.point", "~data.number", "data.shape=[1,4,4]",
                   "data.classes=2", "allow_target=[paired,pix]", "architecture.generator._target_=pix.Translator",
                   "game.sides.fake={by: generator, of: source, judge: discriminator}",
                   "game.conditions=split:validation")  # fmt: skip
    for request in (Request(8, interpolate=8), Request(8, traverse="z.0"), Request(8, truncation=0.5)):
        with pytest.raises(Mistake, match="samples of this run are not made from latents"):
            check_latent_request(game, request)


def test_truncation_of_latents_that_are_not_normal_is_refused():
    from saddlepoint.experiment.sample import truncate_prior

    with pytest.raises(
        Mistake, match=r"truncation=0\.5: it redraws the tails of normal latents, and here z is Uniform"
    ):
        truncate_prior(game_of("prior=infogan"), 0.5)


def test_paths_of_latents_do_not_overwrite_the_file_of_samples(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in ([], ["interpolate=2"], ["traverse=category"]):
        assert main(["sample", f"run={record.folder}", "n=4", "label=0", *words]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interpolation.png", "samples.png", "traversal.png"]
