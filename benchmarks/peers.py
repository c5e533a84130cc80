"""Rounds per second of `saddlepoint train`, torchgan and Lightning's pattern, with the same networks and optimizer.

    python benchmarks/peers.py data=mnist architecture=mlp data.root=...   # any overrides of train
    python benchmarks/peers.py --rounds 500 --repeats 7

Each training is a process of its own (`peer.py`); they take turns, in an order that rotates, so that a load of the
machine affects all of them.  torchgan 0.1.0 is installed into .bench/peers, an environment that has the packages of
this one besides.  Prints the median rounds per second and the median of the ratios within a turn, of wall-clock time
and of user CPU time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import record

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent / ".bench" / "peers"
PEERS = ("saddlepoint", "torchgan", "lightning")


def make_environment() -> Path:
    """Return the Python of the peers' environment, which is created once: torchgan, and the packages of this one."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        beside = Path(sys.executable).with_name("uv")
        uv = str(beside) if beside.exists() else shutil.which("uv")
        if uv is None:
            sys.exit("peers.py needs uv, which make setup installs: python -m pip install uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, ENVIRONMENT], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "torchgan==0.1.0"], check=True
        )
        packages = next(ENVIRONMENT.glob("lib/python*/site-packages"))
        locked = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "locked.pth").write_text("\n".join([*locked, str(HERE.parent / "src")]))
        (ENVIRONMENT / "ready").touch()
    return python


class Peer:
    """A training in another process, which plays rounds on demand."""

    def __init__(self, name: str, overrides: list[str]) -> None:
        python = make_environment() if name == "torchgan" else sys.executable
        self.name = name
        self.process = subprocess.Popen(
            [python, HERE / "peer.py", name, *overrides], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if "PEERS_ERRORS" not in os.environ else None, text=True,
        )  # fmt: skip
        self._read()

    def ask(self, line: str) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            errors = self.process.stderr.read() if self.process.stderr else ""
            raise SystemExit(f"{self.name} has ended:\n{errors[-2000:]}")
        return json.loads(line)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(names: list[str], overrides: list[str]) -> Iterator[list[Peer]]:
    """Start the peers one after another; end them all at the end."""
    peers: list[Peer] = []
    try:
        for name in names:
            peers.append(Peer(name, overrides))
        yield peers
    finally:
        for peer in peers:
            peer.close()


def rotated(items: list[Any], turn: int) -> list[Any]:
    return items[turn % len(items) :] + items[: turn % len(items)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="of each turn, a multiple of 50")
    parser.add_argument("--repeats", type=int, default=7, help="turns, after a first one to warm up")
    parser.add_argument("--fused", action="store_true", help="the fused Adam also for the two others")
    parser.add_argument("overrides", nargs="*", default=[], help="of saddlepoint train")
    given = parser.parse_args()
    overrides = given.overrides or ["data=mnist", "architecture=mlp"]
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in PEERS}
    with running(list(PEERS), [*(["--fused"] if given.fused else []), *overrides]) as peers:
        for turn in range(given.repeats + 1):
            for peer in rotated(peers, turn):
                measured = peer.ask(f"play {given.rounds}")
                if turn:
                    seconds[peer.name].append(measured)
    ours, numbers = seconds["saddlepoint"], {}
    for name, times in seconds.items():
        speed = given.rounds / statistics.median(time["wall"] for time in times)
        wall, user = (
            statistics.median(t[kind] / o[kind] for t, o in zip(times, ours, strict=True)) for kind in ("wall", "user")
        )
        print(f"{name:12} {speed:7.1f} rounds/s; saddlepoint is {wall:.2f} times as fast, {user:.2f} by user CPU time")
        numbers |= {f"{name} rounds/s": speed, f"{name} ratio": wall, f"{name} ratio, CPU time": user}
    adam = "fused Adam" if given.fused else "Adam as documented"
    record(f"peers, {adam}, {' '.join(o for o in overrides if 'root' not in o)}", **numbers)


if __name__ == "__main__":
    main()
