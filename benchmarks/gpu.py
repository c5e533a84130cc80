"""Images per second of five networks on one GPU, with each switch, against a bare loop and the machine's own limits.

    python benchmarks/gpu.py                 # all networks, at most 8 minutes; prints a table, writes it to --to
    python benchmarks/gpu.py --minutes 3 --networks mlp,conv28 --switches eager,bf16
    python benchmarks/gpu.py --smoke         # tiny networks, a few rounds each; also on a CPU

Switches of `saddlepoint train`: eager; bf16 (trainer.precision=bf16-mixed); compile (compile=true). Others, which
`train` does not have: channels_last (weights and activations in that memory format); cudagraphs (compile, with CUDA
graphs of each compiled pass, as by torch.compile's mode reduce-overhead). Bare loops (`bare.py`): bare; graphed (a
whole round as one CUDA graph, which draws latents on the device). A block of rounds of `train` cannot be captured:
its latents are drawn on the CPU, so that ranks and devices agree, and are copied in each turn. graphed is what that
costs at most. A switch that cannot work on this machine has a line that says why, and what does.

The images are random bytes of the shape of the data set, in memory, 64 per batch. Columns: images/s; the ratio to the
bare loop; the ratio to the floor, which is the time of a round if all its floating-point operations run at the rate
of one large matrix product (in bf16 for bf16, else in TF32, which cuDNN's convolutions use), and all reads and writes
of weights, gradients, Adam's moments and averages at the rate of one large copy; the largest relative difference of a
loss from that of the eager run in the first 5 rounds, which have the same draws; the peak memory.

First, for both precisions: training 2N images against N, a checkpoint and N more; the largest difference of a weight.
The exit code is 1 if a loss is NaN or infinite, or a measurement failed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))

from bare import Bare, Graphed

import saddlepoint
from saddlepoint.callback.periodic import Blocks
from saddlepoint.config.compose import compose
from saddlepoint.experiment.build import build, set_threads
from saddlepoint.experiment.fit import build_trainer

CUDA = torch.cuda.is_available()
NETWORKS: dict[str, tuple[tuple[int, int, int], list[str], list[str]]] = {  # shape, overrides, settings of --smoke
    "mlp": ((8, 8, 1), ["architecture=mlp"], []),
    "conv28": ((28, 28, 1), ["architecture=conv28"], []),
    "dcgan": ((64, 64, 3), ["architecture=dcgan"], ["width=4"]),
    "sngan": ((32, 32, 3), ["architecture=sngan", "objective=hinge"], ["width=4"]),
    "r3gan": ((32, 32, 3), ["architecture=r3gan", "objective=relativistic", "regularizer=[r1,r2]"],
              ["widths=[8,8,8,8]", "group=4"]),
}  # fmt: skip
SWITCHES = ("bare", "graphed", "eager", "bf16", "channels_last", "compile", "cudagraphs")
COMPILED = ("compile", "cudagraphs")  # take longest, and come last
WARM_UP, CURVE = 10, 5  # rounds before the clock starts; rounds whose losses are compared: rounding errors grow later


def reason_against(switch: str) -> str | None:
    """Return why a switch cannot work on this machine, and what does; None if it can."""
    if switch in ("cudagraphs", "graphed") and not CUDA:
        return "CUDA graphs need a GPU of NVIDIA; compile and bare work here"
    if switch == "bf16" and CUDA and not torch.cuda.is_bf16_supported():
        return f"{torch.cuda.get_device_name()} has no bf16; trainer.precision=16-mixed works here"
    if switch in COMPILED and CUDA and not torch.utils._triton.has_triton():
        return "inductor needs Triton, which is missing or does not know this GPU; compile=aot_eager traces without it"
    return None


def now() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(pl.Callback):
    """Times the rounds after WARM_UP until `seconds` have passed, and keeps the losses of the first CURVE rounds."""

    def __init__(self, seconds: float, rounds: int) -> None:
        self.seconds, self.least, self.losses, self.rounds = seconds, rounds, [], 0
        self.start = self.end = 0.0

    def after_round(self, trainer: pl.Trainer, game: Any) -> None:
        if game.rounds <= CURVE:
            losses = (loss for terms, _ in game.last_losses.values() for loss in terms.values())
            self.losses.append([loss.detach().clone() for loss in losses])
        if game.rounds == WARM_UP:
            self.start = now()
        self.rounds = game.rounds - WARM_UP
        if self.rounds >= self.least and time.perf_counter() - self.start > self.seconds:
            self.end, trainer.should_stop = now(), True

    @property
    def curve(self) -> torch.Tensor:
        return torch.stack([torch.stack(losses).float().cpu() for losses in self.losses])

    def images_per_second(self, batch: int) -> float:
        return self.rounds * batch / (self.end - self.start)


def train(overrides: list[str], switch: str, seconds: float, rounds: int) -> Clock:
    """Play one variant for so many seconds and rounds; return the measurements."""
    config = compose([*overrides, *(["trainer.precision=bf16-mixed"] if switch == "bf16" else [])])
    experiment = build(config)
    set_threads(config, experiment.game)
    torch._inductor.config.triton.cudagraphs = switch == "cudagraphs"
    if switch in COMPILED:
        experiment.game.compile_players("inductor" if CUDA else "aot_eager")
    if switch == "channels_last":
        experiment.game.to(memory_format=torch.channels_last)
    clock = Clock(seconds, rounds)
    trainer = build_trainer(config, [Blocks(config.block), clock])
    trainer.fit(experiment.game, datamodule=experiment.data)
    return clock


def time_of(act: Callable[[], Any], seconds: float) -> float:
    """Return the seconds of one call, over as many as fit into `seconds`, after a first one."""
    act()
    start, count = now(), 0
    while not count or time.perf_counter() - start < seconds:
        act()
        count += 1
    return (now() - start) / count


def machine_rates(smoke: bool) -> dict[str, float]:
    """Return floating-point operations per second in float32, TF32 and bf16, and bytes copied per second."""
    device, n = ("cuda", 8192) if CUDA else ("cpu", 256)
    seconds = 0.01 if smoke else 1.0
    rates, exact = {}, torch.get_float32_matmul_precision()
    for name, kind in {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}.items():
        torch.set_float32_matmul_precision("high" if name == "tf32" else exact)
        a = torch.randn(n, n, device=device, dtype=kind)
        rates[name] = 2 * n**3 / time_of(lambda a=a: a @ a, seconds)
    torch.set_float32_matmul_precision(exact)
    x = torch.empty(2**28 if CUDA else 2**22, dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    return rates | {"copy": 2 * len(x) / time_of(lambda: y.copy_(x), seconds)}


class Network:
    """The measurements of one of NETWORKS: a row per switch."""

    def __init__(self, name: str, folder: Path, seconds: float, smoke: bool, rates: dict[str, float]) -> None:
        shape, overrides, tiny = NETWORKS[name]
        path = folder / f"{'x'.join(map(str, shape))}.npz"
        np.savez(path, x=np.random.default_rng(0).integers(0, 256, (64 if smoke else 10_000, *shape), np.uint8))
        sizes = [f"architecture.{player}.{setting}" for player in ("discriminator", "generator") for setting in tiny]
        self.name, self.seconds, self.rates, self.rows = name, seconds, rates, []
        self.batch, self.rounds = (4, 2) if smoke else (64, 20)
        self.overrides = ["data=image_folder", f"data.folder={path}", f"data.channels={shape[2]}", *overrides,
                          *(sizes if smoke else []), f"batch={self.batch}", "metric=[]", "logger=none", "callback=[]",
                          "images=1_000_000_000", "data.extractor=null"]  # fmt: skip
        self.eager_curve = torch.zeros(())
        self.operations = self.bytes = self.bare_speed = 0.0

    def measure(self, switch: str) -> dict[str, Any]:
        """Measure a switch, and return its row."""
        row: dict[str, Any] = {"network": self.name, "switch": switch}
        self.rows.append(row)
        if reason := reason_against(switch):
            row["unavailable"] = reason
            return row
        gc.collect()
        torch._dynamo.reset()
        if CUDA:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            row |= self._speed_of_bare(switch) if switch in ("bare", "graphed") else self._speed_of_training(switch)
        except Exception as error:  # the others are measured all the same
            row["error"] = f"{type(error).__name__}: {error}"[:300]
            return row
        row["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20 if CUDA else None
        return row

    def _speed_of_training(self, switch: str) -> dict[str, Any]:
        clock = train(self.overrides, switch, self.seconds, self.rounds)
        self.eager_curve = clock.curve if switch == "eager" else self.eager_curve
        change = (clock.curve - self.eager_curve).abs() / self.eager_curve.abs().clamp(min=1e-3)
        return {"images_per_second": clock.images_per_second(self.batch), "difference": float(change.max()),
                "finite": bool(clock.curve.isfinite().all())}  # fmt: skip

    def _speed_of_bare(self, switch: str) -> dict[str, Any]:
        config = compose(self.overrides)
        experiment = build(config)
        bare = Bare(experiment.game.to("cuda" if CUDA else "cpu"), experiment.data, config)
        if switch == "bare":
            self._count_operations(bare)
        speed = self.batch / time_of((Graphed(bare) if switch == "graphed" else bare).round, self.seconds)
        if switch == "bare":
            self.bare_speed = speed
        return {"images_per_second": speed}

    def _count_operations(self, bare: Bare) -> None:
        """Count the operations of a round, and the bytes of 7 passes over the weights for Adam, 3 for the average."""
        with FlopCounterMode(display=False) as counter:
            bare.round()
        weights = sum(p.numel() for network in (bare.g, bare.d) for p in network.parameters())
        self.operations = counter.get_total_flops()
        self.bytes = 4 * (7 * weights + 3 * sum(t.numel() for t in bare.averaged))

    def add_ratios(self) -> None:
        """Add the ratios to the bare loop and to the floor to all rows."""
        for row in self.rows:
            if "images_per_second" in row:
                rate = self.rates["bf16" if row["switch"] == "bf16" else "tf32"]
                floor = self.operations / rate + self.bytes / self.rates["copy"]
                row["of_floor"] = row["images_per_second"] * floor / self.batch
                row["of_bare"] = row["images_per_second"] / self.bare_speed if self.bare_speed else None


def resume_difference(folder: Path, precision: str, smoke: bool) -> float:
    """Return the largest difference of a weight between 2N images, and N, a checkpoint and N more."""
    images, weights = 64 if smoke else 64_000, []
    shared = ["architecture=mlp", "metric=[]", "logger=none", "callback=[checkpoint]", f"trainer.precision={precision}",
              f"batch={16 if smoke else 64}", f"name={precision}"]  # fmt: skip
    for parts in ((2 * images,), (images, 2 * images)):
        for part in parts:
            with contextlib.redirect_stderr(io.StringIO()):
                run = saddlepoint.train(compose([*shared, f"images={part}", f"outputs={folder}/{len(parts)}"]))
        checkpoint = torch.load(run.checkpoints / "last.ckpt", weights_only=True, map_location="cpu")
        tensors = (value for value in checkpoint["state_dict"].values() if isinstance(value, torch.Tensor))
        weights.append([value.float() for value in tensors])
    return max(float((a - b).abs().max()) for a, b in zip(*weights, strict=True))


def choices(parser: argparse.ArgumentParser, text: str, known: Any, noun: str) -> list[str]:
    """Return the names in a comma-separated text."""
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no {noun} {unknown[0]} here. There are: {', '.join(known)}")
    return names


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=7.5, help="after which no further measurement starts")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement, beside compiling")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="separated by commas")
    parser.add_argument(
        "--switches", default=",".join(SWITCHES), help="separated by commas; bare and eager are always measured"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny networks, a few rounds")
    parser.add_argument("--to", help="a .json file for the rows")
    given = parser.parse_args(arguments)
    names = choices(parser, given.networks, NETWORKS, "network")
    requested = {"bare", "eager", *choices(parser, given.switches, SWITCHES, "switch")}
    switches = [switch for switch in SWITCHES if switch in requested]
    if not CUDA and not given.smoke:
        parser.error("no GPU here: --smoke runs tiny networks on a CPU, and python benchmarks/rounds.py measures a CPU")
    end = time.perf_counter() + 60 * given.minutes
    rates = machine_rates(given.smoke)
    device = torch.cuda.get_device_name() if CUDA else "CPU"
    print(device, *(f"{rate / 1e12:.3g} T{'B' if name == 'copy' else 'FLOP'}/s {name}" for name, rate in rates.items()),
          sep=", ", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        resumed = {p: resume_difference(Path(folder), p, given.smoke) for p in ("32-true", "bf16-mixed")}
        for precision, difference in resumed.items():
            print(f"resumed, {precision}: the largest difference of a weight is {difference:.3g}", flush=True)
        seconds = 0.0 if given.smoke else given.seconds
        networks = [Network(name, Path(folder), seconds, given.smoke, rates) for name in names]
        for part in ([s for s in switches if s not in COMPILED], [s for s in switches if s in COMPILED]):
            for network in networks:
                for switch in part:
                    if time.perf_counter() > end:
                        network.rows.append({"network": network.name, "switch": switch, "unavailable": "no time left"})
                    else:
                        network.measure(switch)
                    network.add_ratios()
                    print(format_row(network.rows[-1]), flush=True)
    rows = [row for network in networks for row in network.rows]
    if given.to:
        content = {"device": device, "torch": torch.__version__, "rates": rates, "rows": rows, "resumed": resumed}
        Path(given.to).write_text(json.dumps(content, indent=1))
    return int(not all(row.get("finite", True) and "error" not in row for row in rows))


def format_row(row: dict[str, Any]) -> str:
    start = f"{row['network']:8} {row['switch']:14}"
    if "images_per_second" not in row:
        return f"{start} {row.get('error') or row['unavailable']}"
    parts = [f"{row['images_per_second']:12,.1f} images/s"]
    parts += [f"{row['of_bare']:.2f} of bare"] if row["of_bare"] else []
    parts += [f"{row['of_floor']:.3f} of the floor"]
    parts += [f"losses differ by {row['difference']:.2g}"] if "difference" in row else []
    parts += [f"{row['peak_mib']:,.0f} MiB"] if row["peak_mib"] is not None else []
    return f"{start} {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
