"""One of four trainings with the same networks and optimizer, driven by lines on standard input; see `peers.py`.

    python benchmarks/peer.py saddlepoint|torchgan|lightning [--fused] [overrides of train]

    saddlepoint  `train` with the callbacks finite, journal and progress
    torchgan     torchgan's Trainer with MinimaxGeneratorLoss and MinimaxDiscriminatorLoss, without console output; its
               end of an epoch, which fails with today's torchvision, is never reached
    lightning    the pattern of Lightning's manual for GANs: toggle_optimizer, manual_backward, step, log_dict

The two others use the Adam of the config as their documentation does, with torch's default implementation; --fused:
with the fused one, which is the default of `train`.

The line "play 100" plays so many rounds (a multiple of PERIOD) and answers with their seconds of wall-clock and of user
CPU time; "sample 10000 fakes.npz" writes so many samples as uint8 [n, height, width, channels]; "quit" ends.  The two
others read the images as floats through a DataLoader of a TensorDataset, as users of theirs do for data in memory.
"""

import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, repeat

os.environ |= {"CONSOLE_LOGGING": "0", "TENSORBOARD_LOGGING": "0", "VISDOM_LOGGING": "0"}  # of torchgan

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from saddlepoint.callback.periodic import Blocks
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build, build_callbacks
from saddlepoint.experiment.fit import build_trainer
from saddlepoint.stream import Stream

PERIOD = 50  # rounds
FUSED = "--fused" in sys.argv
OUT, sys.stdout = sys.stdout, sys.stderr  # the answers; what the programs print goes elsewhere


class Quit(BaseException):
    """Ends a training."""


class Driver:
    """Reads lines, lets rounds be played, and answers."""

    def __init__(self) -> None:
        self.left, self.start = 0, (0.0, 0.0)

    def sample(self, n: int) -> torch.Tensor:
        """Return n samples in [-1, 1], [n, C, H, W]."""
        raise NotImplementedError

    def pause(self, rounds: int) -> None:
        """Called after so many rounds; returns when the next ones are to be played."""
        self.left -= rounds
        if self.left > 0:
            return
        seconds = [end - start for start, end in zip(self.start, clock(), strict=True)]
        answer({"wall": seconds[0], "user": seconds[1]})
        for line in sys.stdin:
            command, *words = line.split()
            if command == "play":
                self.left, self.start = int(words[0]), clock()
                return
            if command == "sample":
                x = torch.cat([self.sample(500) for _ in range(int(words[0]) // 500)])
                pixels = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
                np.savez(words[1], x=pixels.cpu().numpy())
                answer({"samples": len(x)})
            if command == "quit":
                break
        raise Quit


def clock() -> tuple[float, float]:
    return time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime


def answer(content: dict[str, float]) -> None:
    print(json.dumps(content), file=OUT, flush=True)


class Loader:
    """The batches of a DataLoader, before each of which the driver may wait.

    epochs   passes over the images in one iteration
    """

    def __init__(self, x: torch.Tensor, batch: int, driver: Driver, epochs: int = 1) -> None:
        labels = torch.zeros(len(x), dtype=torch.int64)
        self.loader = DataLoader(TensorDataset(x, labels), batch, shuffle=True, drop_last=True)
        self.batch_size, self.driver, self.epochs, self.is_first = batch, driver, epochs, True

    def __len__(self) -> int:
        return self.epochs * len(self.loader)

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        for batch in chain.from_iterable(repeat(self.loader, self.epochs)):
            self.driver.pause(0 if self.is_first else 1)
            self.is_first = False
            yield batch


def play_saddlepoint(config, experiment) -> None:
    game = experiment.game

    class Pause(pl.Callback, Driver):
        images_between = PERIOD * config.batch

        def on_train_start(self, trainer, game) -> None:
            self.pause(0)

        def on_train_batch_end(self, trainer, game, outputs, batch, batch_idx) -> None:
            if game.images % self.images_between == 0:
                self.pause(PERIOD)

        def sample(self, n: int) -> torch.Tensor:
            return game.sample(n, stream=self.stream)

    pause = Pause()
    Driver.__init__(pause)
    pause.stream = Stream(config.seed, "peer")
    callbacks = [Blocks(config.block), *build_callbacks(config, console=None), pause]
    build_trainer(config, callbacks).fit(game, datamodule=experiment.data)


def play_torchgan(config, experiment) -> None:
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import Discriminator, Generator
    from torchgan.trainer import Trainer

    class G(Generator):
        def __init__(self) -> None:
            super().__init__(experiment.game.prior.total_dim)
            self.network = experiment.game.generator.network

        def forward(self, z):
            return self.network({"z": z})

    class D(Discriminator):
        def __init__(self) -> None:
            super().__init__(1)
            self.network = experiment.game.discriminator.network

        def forward(self, x):
            return self.network(x).logits

    class Samples(Driver):
        def sample(self, n: int) -> torch.Tensor:
            return sample_network(trainer.generator, n, experiment.game.prior.total_dim)

    models = {"generator": G, "discriminator": D}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            {name: {"name": network, "optimizer": {"name": torch.optim.Adam, "args": adam(config)}}
             for name, network in models.items()},
            [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()], device=torch.device("cpu"), epochs=1,
            checkpoints=f"{folder}/model", retain_checkpoints=1, recon=folder,
        )  # fmt: skip
        trainer(Loader(training_images(experiment), config.batch, Samples(), epochs=10**6))


def play_lightning(config, experiment) -> None:
    latents = experiment.game.prior.total_dim

    class GAN(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.generator, self.discriminator = (
                experiment.game.player(name).network for name in ("generator", "discriminator")
            )

        def configure_optimizers(self):
            return [torch.optim.Adam(net.parameters(), **adam(config)) for net in (self.generator, self.discriminator)]

        def training_step(self, batch, batch_idx) -> None:
            x, _ = batch
            optimizer_g, optimizer_d = self.optimizers()
            z = torch.randn(len(x), latents).type_as(x)
            self.toggle_optimizer(optimizer_g)
            logits = self.discriminator(self.generator({"z": z})).logits
            g_loss = cross_entropy(logits, torch.ones_like(logits))
            self.manual_backward(g_loss)
            optimizer_g.step()
            optimizer_g.zero_grad()
            self.untoggle_optimizer(optimizer_g)
            self.toggle_optimizer(optimizer_d)
            real, fake = self.discriminator(x).logits, self.discriminator(self.generator({"z": z}).detach()).logits
            d_loss = (cross_entropy(real, torch.ones_like(real)) + cross_entropy(fake, torch.zeros_like(fake))) / 2
            self.manual_backward(d_loss)
            optimizer_d.step()
            optimizer_d.zero_grad()
            self.untoggle_optimizer(optimizer_d)
            self.log_dict({"g_loss": g_loss, "d_loss": d_loss})

    module = GAN()

    class Samples(Driver):
        def sample(self, n: int) -> torch.Tensor:
            return sample_network(module.generator, n, latents, lambda network, z: network({"z": z}))

    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, Loader(training_images(experiment), config.batch, Samples()))


def adam(config) -> dict[str, object]:
    """Return the settings of G's Adam in the config, which D's has too."""
    settings = config.optimizer.generator
    return {"lr": settings.lr, "betas": tuple(settings.betas), "eps": settings.eps, "fused": FUSED or None}


def training_images(experiment) -> torch.Tensor:
    split = experiment.data.split("train")
    return split.batch_at(torch.arange(len(split))).x


def sample_network(network: nn.Module, n: int, latents: int, call=lambda network, z: network(z)) -> torch.Tensor:
    was_training = network.training
    network.eval()
    with torch.no_grad():
        x = call(network, torch.randn(n, latents))
    network.train(was_training)
    return x


def main() -> None:
    name, *overrides = (argument for argument in sys.argv[1:] if argument != "--fused")
    config = compose(
        [*overrides, "callback=[finite,journal,progress]", "metric=[]", "logger=none", "images=1_000_000_000"]
    )
    experiment = build(config)
    with contextlib.suppress(Quit):
        {"saddlepoint": play_saddlepoint, "torchgan": play_torchgan, "lightning": play_lightning}[name](
            config, experiment
        )


if __name__ == "__main__":
    main()
