"""Other sides of a run by apply and sample: the other direction, reconstructions, codes, paths between two images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from runs import run

from saddlepoint.cli import main
from saddlepoint.experiment.restore import load
from saddlepoint.game.pairs import evaluated_networks
from saddlepoint.mode import in_mode
from saddlepoint.pixel import to_float, to_uint8

VAE = ["game=vae", "architecture=conv_vae", "architecture.encoder.width=4", "architecture.generator.width=4",
       "prior.z.dim=3", "regularizer=[kl,gaussian_likelihood]", "callback=[checkpoint]",
       "callback.checkpoint.images_between=64", "metric=[]", "images=64", "batch=32", "logger=none"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Any:
    """The folder of a small VAE, its game, and two images."""
    import io

    from rich.console import Console

    from saddlepoint.config.compose import compose
    from saddlepoint.experiment.train import train

    folder = tmp_path_factory.mktemp("vae")
    record = train(compose([*VAE, f"outputs={folder}"]), Console(file=io.StringIO()))
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for i, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(folder / f"{'ab'[i]}.png")
    return record, load(record), images, folder


def coded(game: Any, images: Any) -> Any:
    networks = evaluated_networks(game)
    with in_mode(*networks.values()), torch.no_grad():
        code, (mean, _) = networks["encoder"](to_float(images), {"noise": torch.zeros(len(images), 3)})
        torch.testing.assert_close(code["z"], mean)
        return mean, networks["generator"]


def test_codes_and_reconstructions_are_those_of_the_mean(trained: Any) -> None:
    record, game, images, folder = trained
    mean, generator = coded(game, images)
    for side, to in (("code", "codes.npz"), ("reconstruction", "made")):
        source = folder / "sources"
        source.mkdir(exist_ok=True)
        for name in "ab":
            (source / f"{name}.png").write_bytes((folder / f"{name}.png").read_bytes())
        assert main(["apply", f"run={record.folder}", f"source={source}", f"side={side}", f"to={folder / to}"]) == 0
    codes = np.load(folder / "codes.npz")
    assert codes["name"].tolist() == ["a", "b"]
    torch.testing.assert_close(torch.from_numpy(codes["z"]), mean, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        expected = to_uint8(generator({"z": mean}))
    for i, name in enumerate("ab"):
        assert np.array_equal(np.asarray(Image.open(folder / "made" / f"{name}.png")), expected[i, 0].numpy())
    assert (folder / "made.png").exists()


def test_a_path_between_two_images_begins_and_ends_at_their_reconstructions(trained: Any) -> None:
    record, game, images, folder = trained
    mean, generator = coded(game, images)
    words = ["sample", f"run={record.folder}", f"between={folder / 'a.png'},{folder / 'b.png'}", "interpolate=5",
             "kind=linear", f"to={folder / 'path.npz'}"]  # fmt: skip
    assert main(words) == 0
    path = torch.from_numpy(np.load(folder / "path.npz")["arr_0"])
    assert path.shape[0] == 5
    path = path.reshape(5, 8, 8)
    with torch.no_grad():
        z = torch.stack([torch.lerp(mean[0], mean[1], t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)])
        expected = to_uint8(generator({"z": z}))[:, 0]
    assert (path.int() - expected.int()).abs().max() <= 1


REFUSED = {
    "no side": (["apply", "source={a}", "to={new}"], "Of x are made: side=code, side=reconstruction."),
    "a truth of codes": (["apply", "source={a}", "side=code", "truth={b}", "to={new}.npz"], "makes codes"),
    "an unknown side": (["apply", "source={a}", "side=reconstructoin", "to={new}"], "Did you mean reconstruction"),
    "images in an npz": (["apply", "source={a}", "side=reconstruction", "to={new}.npz"], "an npz is for codes"),
    "one image": (["sample", "between={a}", "to={new}.npz"], "give two images"),
    "a class": (["sample", "between={a},{b}", "label=3", "to={new}.npz"], "label= has no meaning"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_requests_are_refused(what: str, trained: Any, capsys: Any) -> None:
    record, _, _, folder = trained
    (command, *words), line = REFUSED[what]
    filled = [word.format(a=folder / "a.png", b=folder / "b.png", new=folder / "new") for word in words]
    assert main([command, f"run={record.folder}", *filled]) == 1
    error = capsys.readouterr().err
    assert line in error
    assert not (folder / "new").exists()
    assert not (folder / "new.npz").exists()


def test_changed_and_unused_images_of_a_path_are_reported(trained: Any, capsys: Any) -> None:
    record, _, _, folder = trained
    (folder / "several").mkdir()
    for name in "cd":
        Image.fromarray(np.zeros((12, 12, 3), dtype=np.uint8)).save(folder / "several" / f"{name}.png")
    words = [f"between={folder / 'several'},{folder / 'b.png'}", "interpolate=3", f"to={folder / 'noted.npz'}"]
    assert main(["sample", f"run={record.folder}", *words]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "between: the first of the 2 images of" in said
    assert "RGB images are turned into grey" in said


def test_a_path_between_images_of_a_run_without_encoder_is_refused(tmp_path: Any, trained: Any, capsys: Any) -> None:
    record = run(tmp_path, "images=64", "metric=[]")
    assert main(["sample", f"run={record.folder}", f"between={trained[3] / 'a.png'},{trained[3] / 'b.png'}"]) == 1
    assert "this game has no encoder" in capsys.readouterr().err
