"""Names used by other programs are answered with the override to type, which composes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PIL import Image

from saddlepoint.config import synonym
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.data.digits import Digits
from saddlepoint.data.gaussians import Gaussians
from saddlepoint.error import Mistake

MEANT = {
    "epochs=10": "images=8_970",
    "max_epochs=1": "images=897",
    "trainer.max_epochs=10": "images=8_970",
    "+epochs=10": "images=8_970",
    "max_steps=1000": "a round shows 64 images, so images=64_000",
    "kimg=25": "images=25_000",
    "lr=1e-4": "optimizer.generator.lr=1e-4 optimizer.discriminator.lr=1e-4",
    "optimizer.lr=1e-4": "optimizer.generator.lr",
    "d_lr=4e-4": "optimizer.discriminator.lr=4e-4",
    "betas=[0,0.9]": "'optimizer.generator.betas=[0,0.9]'",
    "beta1=0.5": "optimizer.generator.betas=[0.5,0.999]",
    "bs=32": "batch=32",
    "batch_size=32": "batch=32",
    "batch-size=32": "batch=32",
    "loss=wgan-gp": "objective=wasserstein 'regularizer=[gradient_penalty]' game.players.generator.every=5",
    "loss=hinge": "objective=hinge",
    "objective=wgan-gp": "objective=wasserstein 'regularizer=[gradient_penalty]' game.players.generator.every=5",
    "objective=WGAN": "objective=wasserstein 'regularizer=[gradient_penalty]'",
    "objective=lsgan": "objective=least_squares",
    "objective=ns": "objective=nonsaturating",
    "objective=vanilla": "objective=nonsaturating",
    "objective=gan": "objective=nonsaturating",
    "objective=r3gan": "objective=relativistic 'regularizer=[r1,r2]'",
    "objective=dragan": "objective=nonsaturating 'regularizer=[gradient_penalty]'",
    "data=cifar10": "data=cifar10_jpeg",
    "data=celeba": "data=image_folder data.folder=<path>",
    "dataset=mnist": "data=mnist",
    "model=dcgan": "architecture=dcgan",
    "arch=resnet": "there is no resnet",
    "n_critic=5": "game.players.generator.every=5",
    "z_dim=64": "prior.z.dim=64",
    "latent_dim=64": "prior.z.dim=64",
    "gpu=1": "device=cuda",
    "gpus=2": "device=cuda devices=2",
    "device=gpu": "device=cuda",
    "device=cuda:1": "CUDA_VISIBLE_DEVICES=1",
    "device=0": "CUDA_VISIBLE_DEVICES=0",
    "metrics=fid": "metric=[frechet_distance]",
    "metric=fid": "metric=[frechet_distance]",
    "precision=16": "trainer.precision=16",
    "fp16=true": "trainer.precision=16-mixed",
    "num_workers=4": "data.workers=4",
    "data_root=/x": "data=image_folder data.folder=/x",
    "output_dir=out": "outputs=out",
    "gamma=1": "+regularizer=r1 regularizer.discriminator.r1.weight=1",
    "resume=true": "repeat its command",
    "ckpt=last.ckpt": "repeat its command",
    "wandb=false": "logger=none",
    "logger=false": "logger=none",
    "launcher=slurm": "launcher=submitit",
}


@pytest.mark.parametrize("override", MEANT)
def test_common_names_of_other_programs_give_the_override_to_type(override: str) -> None:
    with pytest.raises(Mistake) as caught:
        compose([override])
    assert MEANT[override] in str(caught.value)
    assert "\n" not in str(caught.value)


VALUES = {"'metric=[{}]'": "coverage", "'regularizer=[{}]'": "r1", "'callback=[{}]'": "grid", "betas": "[0,0.9]",
          "'logger.tags={}'": "[a]", "logger.mode={}": "offline", "trainer.precision={}": "bf16",
          "trainer.benchmark={}": "true", "trainer.deterministic={}": "true", "evaluation.split={}": "test",
          "evaluation.extractor={}": "digits", "architecture={}": "mlp", "objective={}": "hinge", "data={}": "digits",
          "optimizer={}": "adam"}  # fmt: skip


@pytest.mark.parametrize("words", synonym.KEYS.values())
def test_every_suggested_key_composes(words: str, tmp_path: Path) -> None:
    value = next((value for item, value in VALUES.items() if item in words), "2")
    message = words.replace("{}", value).replace("<images>", "1000")
    folder = ["data=image_folder", f"data.folder={_images(tmp_path)}"]
    beside = (
        []
        if message.startswith("data.root") or "architecture" in message
        else folder
        if message.startswith("data.")
        else []
    )
    if message.startswith("data.root"):
        beside = ["data=mnist"]
    compose([*beside, *shlex.split(message)])


NAMES = [(group, words) for group, names in synonym.NAMES.items() for words in names.values()]


@pytest.mark.parametrize(("group", "words"), NAMES, ids=str)
def test_every_suggested_option_composes(group: str, words: str, tmp_path: Path) -> None:
    where = "+schedule@optimizer.generator.lr" if group == "schedule" else group
    values = {
        "cosine": ["optimizer.generator.lr.start=1", "optimizer.generator.lr.end=0"],
        "linear": ["optimizer.generator.lr.start=1", "optimizer.generator.lr.end=0"],
        "step": ["optimizer.generator.lr.value=1", "optimizer.generator.lr.milestones=[5]"],
    }
    config = compose(
        [*shlex.split(f"{where}={words.replace('<path>', str(_images(tmp_path)))}"), *values.get(words, [])]
    )
    check(config)


def test_an_epoch_is_the_training_images_of_the_data(tmp_path: Path) -> None:
    digits, ring = Digits(), Gaussians(number=500)
    assert len(digits.split("train")) == synonym.IMAGES["digits"]
    assert len(ring.split("train")) == 500
    with pytest.raises(Mistake, match="images=1_000"):
        compose(["data=gaussians", "data.number=500", "epochs=2"])
    with pytest.raises(Mistake, match="images=98_000"):
        compose(["data=mnist", "data.reserved=1000", "epochs=2"])
    with pytest.raises(Mistake, match="an epoch of image_folder has 8 images, so images=16"):
        compose(["data=image_folder", f"data.folder={_images(tmp_path)}", "epochs=2"])


def _images(folder: Path, number: int = 10) -> Path:
    for i in range(number):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / f"{i}.png")
    return folder
