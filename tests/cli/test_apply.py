"""saddlepoint apply: the samples of the run's evaluation for the same sources, bit for bit; bad input is refused."""

from __future__ import annotations

import base64
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from runs import run

import saddlepoint.cli.apply as apply_command
from saddlepoint.callback.evaluation import Sampler
from saddlepoint.cli import main
from saddlepoint.experiment.apply import apply
from saddlepoint.experiment.build import build_game, load_data
from saddlepoint.experiment.restore import restore_checkpoint
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.game.sampling import draw_condition
from saddlepoint.layer.downscale import Downscale
from saddlepoint.layer.grey import Grey
from saddlepoint.pixel import to_uint8
from saddlepoint.run.folder import Run
from saddlepoint.stream import Stream

OWN = "allow_target=[conditional,derived]"
FEW = ["images=192", "batch=64", "metric=[]", "callback.grid.images_between=64", OWN]
COLOURS = ["data._target_=derived.Colours", "data.shape=[3,8,8]", "data.classes=null", "data.extractor=null",
           "architecture.generator._target_=derived.Enlarge"]  # fmt: skip
RUNS = {
    "inpainting": ["experiment=inpainting_digits", "game.draws.hole.mask.place=random"],
    "translation": [
        "game=translation", "data._target_=conditional.Pairs", "architecture.generator._target_=conditional.Translator",
    ],
    "dropout": [
        "game=translation", "data._target_=conditional.Pairs", "game.dropout=true",
        "architecture.generator._target_=derived.DropoutTranslator",
    ],
    "super_resolution": ["game=super_resolution", *COLOURS],
    "colourisation": ["game=colourisation", *COLOURS],
}  # fmt: skip
COLUMN = {"translation": "source", "dropout": "source"}  # others: x


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def records():
    return {}


@pytest.fixture
def trained(outputs, records):
    """A function: name -> the record, the game of its last checkpoint, and the data."""

    def train(name):
        if name not in records:
            records[name] = run(outputs, f"name={name}", *RUNS[name], *FEW)
        config = load_run_config(Run(records[name].folder), [OWN])
        data = load_data(config)
        game = build_game(config, data)
        restore_checkpoint(game, Run(records[name].folder))
        return records[name], game, data

    return train


def save(folder, images, suffix="png", first=0):
    """Write uint8 images [n, C, H, W]; names in the order of the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images, first):
        array = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
        Image.fromarray(array).save(folder / f"image{i:03}.{suffix}")
    return folder


def load(folder):
    """The images of a folder in the order of their names, uint8 [n, C, H, W]."""
    arrays = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    images = torch.from_numpy(np.stack(arrays))
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)


def applied(record, *words):
    return main(["apply", f"run={record.folder}", OWN, *map(str, words)])


def evaluated(game, n, batch):
    """The samples of the run's evaluation, and their masks."""
    sampler, masks = Sampler(game), Stream(game.seed, "evaluation", device=game.device)
    sizes = [min(batch, n - first) for first in range(0, n, batch)]
    x = torch.cat([sampler(size)[0] for size in sizes])
    return to_uint8(x), [draw_condition(game, size, masks).get("mask") for size in sizes]


@pytest.mark.parametrize(("name", "batch"), [(name, 7 if name in ("inpainting", "dropout") else 500) for name in RUNS])
def test_applying_to_the_held_out_sources_gives_the_samples_of_the_evaluation_bit_for_bit(
    trained, tmp_path, name, batch
):
    record, game, data = trained(name)
    split = data.split("validation")
    n = min(20, len(split))
    x = split.extra_columns["source"] if name in COLUMN else split.x
    words = [f"source={save(tmp_path / 'in', x[:n])}", f"to={tmp_path / 'out'}", f"evaluation.batch={batch}"]
    expected, masks = evaluated(game, n, batch)
    if name == "inpainting":
        words.append(f"mask={save(tmp_path / 'masks', (torch.cat(masks) * 255).to(torch.uint8))}")
    assert applied(record, *words, f"truth={save(tmp_path / 'truth', split.x[:n])}") == 0
    assert torch.equal(load(tmp_path / "out"), expected)
    assert [p.stem for p in sorted((tmp_path / "out").iterdir())] == [
        p.stem for p in sorted((tmp_path / "in").iterdir())
    ]
    assert not list(tmp_path.glob(".*")), "no temporary files"


def test_scores_of_applied_images_are_those_of_the_run(trained, tmp_path, monkeypatch):
    record, _, data = trained("translation")
    split = data.split("validation")
    words = ["metric=[frechet_distance,paired]", "evaluation.second_extractor=null", "evaluation.n=450", OWN]
    folders = [f"source={save(tmp_path / 'in', split.extra_columns['source'])}", f"to={tmp_path / 'out'}"]
    results = []
    monkeypatch.setattr(apply_command, "apply", lambda *args: results.append(apply(*args)) or results[0])
    assert applied(record, *folders, f"truth={save(tmp_path / 'truth', split.x)}") == 0
    assert main(["evaluate", f"run={record.folder}", *words, f"to={tmp_path / 'run.json'}"]) == 0
    stored = [f"samples={tmp_path / 'out'}", "data=digits", "metric=[frechet_distance]", words[1]]
    assert main(["evaluate", *stored, f"to={tmp_path / 'stored.json'}"]) == 0
    of_run = find_scores(tmp_path / "run.json", "paired_")
    assert results[0].scores == pytest.approx({name.split("_digits")[0]: value for name, value in of_run.items()})
    assert {*results[0].scores} == {"paired_mae", "paired_psnr", "paired_ssim"}
    values = [find_scores(tmp_path / name, "fid_") for name in ("run.json", "stored.json")]
    assert values[0] == values[1] != {}


def find_scores(path, prefix):
    """Score name -> value of the first measurement in the JSON of `evaluate`."""
    values = {}

    def walk(node):
        for key, value in node.items() if isinstance(node, dict) else ():
            if key.startswith(prefix) and isinstance(value, dict) and "value" in value:
                values.setdefault(key, value["value"])
            walk(value)

    walk(json.loads(path.read_text()))
    return values


@pytest.mark.parametrize(("name", "maker"), [("super_resolution", Downscale(4)), ("colourisation", Grey())])
def test_a_derived_source_can_be_given_itself(trained, tmp_path, name, maker):
    record, _, data = trained(name)
    x = data.split("test").x
    small = to_uint8(maker(data.batch_at("test", torch.arange(len(x))).x))
    for folder, images in {"whole": x, "derived": small}.items():
        assert applied(record, f"source={save(tmp_path / folder, images)}", f"to={tmp_path / folder}-out") == 0
    assert torch.equal(load(tmp_path / "whole-out"), load(tmp_path / "derived-out"))
    np.savez(tmp_path / "small.npz", small.permute(0, 2, 3, 1).numpy())
    assert applied(record, f"source={tmp_path / 'small.npz'}", f"to={tmp_path / 'array-out'}") == 0
    assert torch.equal(load(tmp_path / "array-out"), load(tmp_path / "whole-out"))


def test_known_pixels_are_unchanged_and_transparent_ones_filled_in(trained, tmp_path):
    record, _, data = trained("inpainting")
    x = data.split("test").x[:5]
    alpha = torch.full_like(x, 255)
    alpha[:, :, 2:5, 1:4] = 0
    save(tmp_path / "in", torch.cat([x, alpha], 1))
    assert applied(record, f"source={tmp_path / 'in'}", f"to={tmp_path / 'out'}") == 0
    made = load(tmp_path / "out")
    assert torch.equal(made[alpha == 255], x[alpha == 255])
    save(tmp_path / "masks", 255 - alpha[:1])
    save(tmp_path / "plain", x)
    words = [f"source={tmp_path / 'plain'}", f"mask={tmp_path / 'masks' / 'image000.png'}", f"to={tmp_path / 'other'}"]
    assert applied(record, *words) == 0
    assert torch.equal(load(tmp_path / "other"), made), "what is below the hole does not matter"


def test_one_odd_sized_photo_is_converted_and_the_change_is_stated(trained, tmp_path, capsys):
    record, _, _ = trained("inpainting")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 41, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    mask = np.zeros((30, 41), np.uint8)
    mask[10:20, 15:25] = 255
    Image.fromarray(mask).save(tmp_path / "hole.png")
    words = [f"source={tmp_path / 'photo.jpg'}", f"mask={tmp_path / 'hole.png'}", f"to={tmp_path / 'out'}"]
    assert applied(record, *words) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "cropped to the middle, reduced to 8x8" in printed
    assert "RGB images are turned into grey" in printed
    assert "averaged weights, batch norm running, dropout off" in printed
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.png"]


def test_the_sheet_shows_input_output_and_truth(trained, tmp_path):
    record, _, data = trained("super_resolution")
    x = data.split("test").x[:3]
    folder = save(tmp_path / "in", x)
    assert applied(record, f"source={folder}", f"truth={folder}", f"to={tmp_path / 'out'}") == 0
    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    tile = sheet.shape[0] - 4  # one row of nine images, two pixels between them
    assert sheet.shape[1] == 9 * (tile + 2) + 2
    scale = tile // 8
    small = to_uint8(Downscale(4)(data.batch_at("test", torch.arange(3)).x))
    for i in range(3):
        tiles = [sheet[2 : 2 + tile, 2 + k * (tile + 2) :][:, :tile] for k in range(3 * i, 3 * i + 3)]
        for shown, image in zip(tiles, [small[i], load(tmp_path / "out")[i], x[i]], strict=True):
            enlarged = image.repeat_interleave(tile // image.shape[-1], 1).repeat_interleave(tile // image.shape[-1], 2)
            assert np.array_equal(shown, enlarged.permute(1, 2, 0).numpy()), scale
    page = (tmp_path / "out.html").read_text()
    assert base64.b64encode((tmp_path / "out.png").read_bytes()).decode() in page
    assert "Input, output, truth" in page
    assert "3 images of" in page
    assert "paired_psnr" in page


def change_mask_size(folder):
    Image.new("L", (8, 9)).save(folder / "masks" / "image001.png")


def change_mask_values(folder):
    Image.new("L", (8, 8), 77).save(folder / "masks" / "image001.png")


def fill_masks_but_one(folder):
    for i in (0, 2):
        Image.new("L", (8, 8), 255).save(folder / "masks" / f"image00{i}.png")


def remove_mask(folder):
    (folder / "masks" / "image001.png").unlink()


def remove_masks(folder):
    shutil.rmtree(folder / "masks")


def use_two_suffixes(folder):
    shutil.copy(folder / "in" / "image001.png", folder / "in" / "image001.bmp")


REFUSED = {
    "another size": (change_mask_size, "image001.png is 8x9, and its source image001 is 8x8"),
    "grey values": (change_mask_values, "has 64 pixels that are neither black nor white"),
    "a black mask": (
        fill_masks_but_one,
        "nothing is white in the used part of the masks of 1 sources, so nothing is filled in: image001.",
    ),
    "a missing mask": (remove_mask, "no mask of 1 sources: image001"),
    "no masks": (remove_masks, "no such image, folder or zip"),
    "one name twice": (use_two_suffixes, "have one name apart from the suffix"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_masks_and_sources_that_do_not_fit_are_refused_and_nothing_is_written(trained, tmp_path, case, capsys):
    record, _, data = trained("inpainting")
    save(tmp_path / "in", data.split("test").x[:3])
    save(tmp_path / "masks", torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    change, message = REFUSED[case]
    change(tmp_path)
    words = [f"source={tmp_path / 'in'}", f"mask={tmp_path / 'masks'}", f"to={tmp_path / 'out'}"]
    assert applied(record, *words) == 1
    printed = capsys.readouterr().err
    assert message in " ".join(printed.split())
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.png").exists()


def test_requests_that_the_run_cannot_meet_are_refused(trained, tmp_path, capsys):
    record, _, data = trained("translation")
    inpainting = trained("inpainting")[0]
    folder = save(tmp_path / "in", data.split("test").extra_columns["source"][:2])
    np.savez(tmp_path / "colour.npz", np.full((2, 8, 8, 3), 9, np.uint8))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("a")
    (tmp_path / "taken.png").write_text("a")
    (tmp_path / "page.html").write_text("a")
    cases = [
        (record, ["source=nowhere", "to=out"], "source=nowhere: no such image"),
        (record, [f"source={folder}", "to=out", f"mask={folder}"], "samples of this run have no mask"),
        (record, [f"source={tmp_path / 'colour.npz'}", "to=out"], "the data are [1, 8, 8]"),
        (record, [f"source={folder}", "to=full"], "full is not empty"),
        (record, [f"source={folder}", "to=taken"], "exists; name another folder"),
        (record, [f"source={folder}", "to=page"], "page.html, where the sheet"),
        (record, [f"source={folder}", "to=out", f"truth={tmp_path / 'colour.npz'}"], "the data are [1, 8, 8]"),
        (record, [f"source={folder}", "to=out", "fit=stretch"], "fit=stretch"),
        (inpainting, [f"source={folder}", "to=out"], "2 of 2 sources have no transparent pixels"),
        (record, [f"source={folder}", "to=out", "metric=[coverage]"], "saddlepoint evaluate uses it"),
    ]
    for one, words, message in cases:
        placed = [word.replace("to=", f"to={tmp_path}/") for word in words]
        assert applied(one, *placed) == 1, message
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "out.html").exists()


def test_a_run_without_sources_is_refused(outputs, tmp_path, capsys):
    record = run(outputs, "name=plain", *FEW)
    folder = save(tmp_path / "in", torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    assert applied(record, f"source={folder}", f"to={tmp_path / 'out'}") == 1
    assert "not made from images" in capsys.readouterr().err
