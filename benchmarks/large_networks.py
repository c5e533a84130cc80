"""Speed, memory and scores of the large networks on one GPU, and whether their runs resume, in 8 minutes.

    python benchmarks/large_networks.py                       # all experiments, 7 minutes together
    python benchmarks/large_networks.py --minutes 2 --experiments cifar10_r3gan data.root=...  # any overrides of train
    python benchmarks/large_networks.py --smoke               # tiny networks, a few rounds each; on a CPU

Each experiment has an equal share of the time. It is trained, stopped by SIGTERM after two fifths of its share, resumed
by the same command and stopped again at the end of the share. Printed are the images per second of the first part
without its first rounds, the peak memory, the FID by a classifier at 0 images and twice after the resume, and whether
the resumed run has the images, rounds and weights of the stopped one, and ends with finite weights. The exit code is 1
if one of them does not.

The data are CIFAR-10 as JPEG if data.root has it, else the 8 x 8 digits of scikit-learn, enlarged to 32 x 32 and in
RGB, which are only good for speed and memory. The extractor is cifar10-jpeg. No network access is needed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits

import saddlepoint
from saddlepoint.error import Stopped
from saddlepoint.experiment import fit as command
from saddlepoint.game.game import Game
from saddlepoint.run.folder import Run


def of_both(*settings: str) -> list[str]:
    """Return overrides of the architectures of both players."""
    return [f"architecture.{player}.{setting}" for player in ("discriminator", "generator") for setting in settings]


CHUNKS = [f"game.players.{player}.accumulate=8" for player in ("discriminator", "generator")]  # 64 of 512 images each
EXPERIMENTS: dict[str, tuple[list[str], list[str]]] = {  # name: overrides on a GPU, overrides of --smoke
    "cifar10_sngan": ([], of_both("width=4")),
    "cifar10_wgan_gp": ([], of_both("width=4")),
    "cifar10_sagan": ([], of_both("width=8")),
    "cifar10_biggan": ([], of_both("width=8")),
    "cifar10_r3gan": (CHUNKS, of_both("widths=[8,8,8,8]")),
    "style_small": ([], of_both("width=4")),
}
SMOKE = ["batch=4", "evaluation.n=20"]
WARM_UP, FEWEST = 5, 10  # rounds before the clock starts; rounds of each part
FIRST_PART = 0.4  # of the time


class StopAfter(pl.Callback):
    """Ends a training by SIGTERM at a point in time, after at least FEWEST rounds, and measures its speed."""

    def __init__(self, end: float) -> None:
        self.end = end  # by `time.perf_counter`
        self.rounds, self.signalled = 0, False
        self.first = self.last = 0, 0.0  # images and seconds, where the clock starts and ends
        self.start_state: dict[str, Any] = {}
        self.end_state: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        self.start_state = state_of(game)

    def after_round(self, trainer: pl.Trainer, game: Game) -> None:
        self.rounds += 1
        if self.rounds == WARM_UP:
            self.first = game.images, synchronized_time()
        if not self.signalled and self.rounds >= FEWEST and time.perf_counter() > self.end:
            self.last = game.images, synchronized_time()
            self.signalled = True  # a second signal would end the run at once, without a checkpoint
            os.kill(os.getpid(), signal.SIGTERM)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        self.end_state = state_of(game)

    @property
    def images_per_second(self) -> float:
        return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])


def synchronized_time() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def state_of(game: Game) -> dict[str, Any]:
    """Return the counters, and the sum and the finiteness of all weights and averages."""
    weights = [p.detach().double().sum().cpu() for p in (*game.parameters(), *game.buffers())]
    total = torch.stack(weights).sum()
    return {"images": game.images, "rounds": game.rounds, "weights": total.item(), "finite": bool(total.isfinite())}


def train_until(end: float, overrides: list[str]) -> tuple[StopAfter, Run]:
    """Train, or resume, until a point in time; return the measurements and the run."""
    stop, build_trainer = StopAfter(end), command.build_trainer
    command.build_trainer = lambda config, callbacks: build_trainer(config, [*callbacks, stop])
    config = saddlepoint.compose(overrides)
    try:
        saddlepoint.train(config)
    except Stopped:
        if not stop.signalled:  # by a user, or a scheduler
            raise
    finally:
        command.build_trainer = build_trainer
    return stop, Run(Path(config.outputs) / config.name / f"seed{config.seed}")


def measure(name: str, seconds: float, overrides: list[str]) -> bool:
    """Train, stop and resume an experiment in `seconds`, print its figures, and return whether it resumed."""
    start = time.perf_counter()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    overrides = [f"experiment={name}", f"name={name}", *overrides]
    first, _ = train_until(start + FIRST_PART * seconds, overrides)
    rest = start + seconds - time.perf_counter()
    period = max(1, int(first.images_per_second * rest / 4), first.end_state["images"] // 2)
    second, run = train_until(start + seconds, [*overrides, f"callback.evaluation.images_between={period}"])
    scores = [(row["images"], key, value) for row in run.rows() for key, value in row.items() if key.startswith("fid")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{name}: {first.images_per_second:,.2f} images/s, peak {run.summary['peak_memory_mib']:,.0f} MiB, {device}")
    for images, key, value in scores:
        print(f"    {key} at {images:,} images: {value:.2f}")
    same = first.end_state == second.start_state
    print(f"    stopped at {first.end_state}")
    print(f"    resumed at {second.start_state}: {'the same' if same else 'DIFFERENT'}")
    print(f"    ended at   {second.end_state}", flush=True)
    return same and second.end_state["finite"] and second.end_state["images"] > first.end_state["images"]


def data_overrides(folder: Path) -> list[str]:
    """Return the overrides of CIFAR-10 if it is in the default root, else of enlarged digits, written to `folder`."""
    if (Path(os.environ.get("SADDLEPOINT_DATA", "data")) / "cifar10-train.zip").exists():
        return []
    digits = load_digits()
    x = np.kron((digits.images * 255 / 16).astype(np.uint8), np.ones((1, 4, 4), np.uint8))
    np.savez(folder / "digits.npz", x=np.repeat(x[..., None], 3, 3), y=digits.target)
    return ["data=image_folder", f"data.folder={folder / 'digits.npz'}"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=7.0, help="of all experiments together")
    parser.add_argument("--experiments", default=",".join(EXPERIMENTS), help="names, separated by commas")
    parser.add_argument("--smoke", action="store_true", help="tiny networks, a few rounds")
    parser.add_argument("overrides", nargs="*", help="of saddlepoint train")
    given = parser.parse_args(arguments)
    names = given.experiments.split(",")
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        parser.error(f"no experiment {unknown[0]} here. There are: {', '.join(EXPERIMENTS)}")
    seconds = 0.0 if given.smoke else 60 * given.minutes / len(names)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        has_data = any(override.startswith(("data=", "data.root=")) for override in given.overrides)
        shared = [] if has_data else data_overrides(Path(folder))
        shared += [
            "evaluation.extractor=cifar10-jpeg",
            "evaluation.second_extractor=null",
            "evaluation.selection.split=null",
        ]
        shared += ["metric=[frechet_distance]", "logger=none", f"outputs={folder}/outputs"]
        for name in names:
            of_gpu, of_smoke = EXPERIMENTS[name]
            sizes = [*of_smoke, *SMOKE] if given.smoke else of_gpu
            try:
                resumed = measure(name, seconds, [*shared, *sizes, *given.overrides])
            except Exception as error:  # the others are measured all the same
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
                resumed = False
            failed += [] if resumed else [name]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
