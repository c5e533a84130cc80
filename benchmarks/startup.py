"""What a command costs before the first round: calls, modules, scans of the environment, opened yaml files.

    python benchmarks/startup.py [--most=N] [key=value ...]

Runs `saddlepoint train` in this process until Lightning passes the first batch.  A call is a `call` event of Python's
profiler in a file of this package: of a function, of a comprehension with a frame, and each resumption of a generator.
Yaml files are counted when opened.  A cold cache costs more, since anchors are measured.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import saddlepoint

PACKAGE = str(Path(saddlepoint.__file__).resolve().parent)
MOST_CALLS, MOST_MODULES = 3_000, 40


class FirstRound(BaseException):
    """Raised when the first round starts."""


def package_modules() -> list[str]:
    return [name for name in sys.modules if name == "saddlepoint" or name.startswith("saddlepoint.")]


class Counts:
    """A profiler that counts until the first round."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.before_train: list[str] = []
        self.opened: Counter[str] = Counter()
        self._is_own: dict[CodeType, bool] = {}
        self._counting = True

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code not in self._is_own:
            self._is_own[code] = code.co_filename.startswith(PACKAGE)
        if not self._is_own[code]:
            return
        if code.co_name == "training_step":
            self._counting = False
            raise FirstRound
        if code.co_name == "train" and not self.before_train:
            self.before_train = package_modules()
        self.calls[code] += 1

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._counting and event == "open" and str(arguments[0]).endswith(".yaml"):
            self.opened[str(arguments[0])] += 1

    def calls_of(self, name: str) -> int:
        return sum(count for code, count in self.calls.items() if code.co_name == name)


def count_until_first_round(overrides: list[str]) -> Counts:
    """Return the counts of one `saddlepoint train <overrides>` up to its first round."""
    from saddlepoint.__main__ import main

    for package in ("pytorch_lightning", "torchmetrics"):  # not counted, and a profiler slows their import
        importlib.import_module(package)

    counts = Counts()
    sys.addaudithook(counts.audit)
    with tempfile.TemporaryDirectory() as folder:
        sys.setprofile(counts.profile)
        try:
            main(["train", f"outputs={folder}", *overrides])
        except FirstRound:
            pass
        finally:
            sys.setprofile(None)
    return counts


def format_counts(counts: Counts, most: int = 0) -> list[str]:
    conf = {name: number for name, number in counts.opened.items() if "/conf/" in name}
    twice = {Path(name).name: number for name, number in conf.items() if number > 1}
    scans = counts.calls_of("_environment_secrets")
    lines = [
        f"calls of this package before the first round  {sum(counts.calls.values()):,}  (at most {MOST_CALLS:,})",
        f"modules of this package before train()         {len(counts.before_train)}  (at most {MOST_MODULES})",
        f"scans of the environment for secrets           {scans}  (1)",
        f"yaml of conf/ opened                           {sum(conf.values())} times, {len(conf)} files"
        + (f"; more than once: {twice}" if twice else ""),
    ]
    for code, number in counts.calls.most_common(most):
        lines.append(f"{number:6}  {code.co_filename[len(PACKAGE) + 1 :]}:{code.co_qualname}")
    return lines


if __name__ == "__main__":
    overrides = [argument for argument in sys.argv[1:] if not argument.startswith("--most=")]
    most = next((int(argument.partition("=")[2]) for argument in sys.argv[1:] if argument.startswith("--most=")), 0)
    print("\n".join(format_counts(count_until_first_round(overrides), most)))
