"""First names, a letter per token: the 29,494 distinct lines of names.txt.  karpathy/makemore, MIT licence.

16 tokens: at most 15 letters a to z, and then the empty symbol 0, so that the end of every name is part of it.  Names
are sorted by sha256: the first 3,000 are test, the next 3,000 validation, the others train.  No name is in two splits.
"""

import hashlib
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from string import ascii_lowercase

import torch

from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.modality import Tokens
from saddlepoint.run.storage import atomic

HELD_OUT = 3_000  # names of validation, and of test
LETTERS = 15  # of the longest name
URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"


class Names(Data):
    """x int64 [n, 16].  `root` is the folder of names.txt; the file is downloaded if it is missing."""

    name = "names"

    def __init__(
        self,
        root: str | Path = "data",
        shape: Iterable[int] = (LETTERS + 1, len(ascii_lowercase) + 1),
        classes: int | None = None,
        extractor: str | None = "identity",
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        self.modality = Tokens(["", *ascii_lowercase])
        super().__init__(shape, classes, extractor, batch, seed)
        self.file = Path(root).expanduser().absolute() / "names.txt"

    @property
    def missing_files(self) -> list[str]:
        """The names of missing files."""
        return [] if self.file.is_file() else [self.file.name]

    def prepare_data(self) -> None:
        """Download the file if it is missing.  Raises Mistake if that fails."""
        if not self.missing_files:
            return
        try:
            with urllib.request.urlopen(URL, timeout=30) as reply:
                content = reply.read()
            if _sha256(content) == SHA256:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_atomic(self.file, content)
        except (OSError, HTTPException) as error:
            raise Mistake(
                self._missing_message(f"could not be downloaded ({' '.join(str(error).split())[:160]})")
            ) from error

    def splits(self) -> dict[str, Split]:
        if self.missing_files:
            raise Mistake(self._missing_message("was not downloaded"))
        content = self.file.read_bytes()
        if (digest := _sha256(content)) != SHA256:
            raise Mistake(
                f"{self.file} is not the original: its sha256 is {digest[:16]}... instead of {SHA256[:16]}..."
            )
        names = sorted(set(content.decode().split()), key=lambda name: hashlib.sha256(name.encode()).digest())
        x = torch.zeros(len(names), LETTERS + 1, dtype=torch.int64)
        for row, name in zip(x, names, strict=True):
            row[: len(name)] = torch.tensor([ascii_lowercase.index(letter) + 1 for letter in name])
        bounds = {"test": (0, HELD_OUT), "validation": (HELD_OUT, 2 * HELD_OUT), "train": (2 * HELD_OUT, len(names))}
        return {name: Split(name, x[first:last]) for name, (first, last) in reversed(bounds.items())}

    def _missing_message(self, reason: str) -> str:
        return (
            f"names: {self.file} is missing; it {reason}.\n"
            f"With a network connection: curl -fL --create-dirs -o {self.file} {URL}. Or set data.root=<its folder>."
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
