"""Tokens: sequences of symbols with one length.  Stored form int64 indices [n, T]; float form one-hot [n, T, V].

A generator returns rows of probabilities, or one-hot rows (from a straight-through estimator).  Their stored form is
the most probable symbol of each row, the first one in a tie.  Symbol 0 is the empty symbol, used as padding.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from saddlepoint.error import Mistake
from saddlepoint.modality.modality import NPZ_FILE, Modality, figure_to_image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_SHOWN, MAX_WIDTH = 32, 96  # lines in a picture, and characters per line
PADDING = ""


class Tokens(Modality):
    """Sequences of symbols.

    vocabulary   the symbols, by index
    separator    the string between two symbols in text: "" for characters, " " for words
    Raises Mistake if the vocabulary has fewer than two symbols, or a symbol twice.
    """

    name = "tokens"
    plural = "tokens"
    value_description = "probabilities of each symbol of the vocabulary"
    ordered = False
    metric_hint = " For tokens there are metric=[language_model,exact_match,bleu], and +callback=likelihood."
    suffixes: ClassVar = {".txt": "lines.txt", ".npz": NPZ_FILE, ".png": "a picture.png"}

    def __init__(self, vocabulary: Sequence[str], separator: str = "") -> None:
        self.vocabulary, self.separator = tuple(map(str, vocabulary)), separator
        if len(self.vocabulary) < 2 or len(set(self.vocabulary)) < len(self.vocabulary):
            raise Mistake(f"a vocabulary needs at least two different symbols, but is {list(self.vocabulary)[:8]}")
        self.stored_form = f"int64 token numbers [n, T], 0 to {len(self.vocabulary) - 1}"

    def has_stored_form(self, x: Tensor) -> bool:
        return x.dtype == torch.int64 and x.ndim == 2

    def to_float(self, x: Tensor) -> Tensor:
        return one_hot(x, len(self.vocabulary)).to(torch.float32)

    def to_stored(self, x: Tensor) -> Tensor:
        return x.argmax(-1)

    def sample_shape(self, x: Tensor) -> tuple[int, ...]:
        return (*x.shape[1:], len(self.vocabulary))

    def conversion_hint(self, x: Tensor) -> str | None:
        if x.ndim == 3:
            return "rows of probabilities would be rounded to one symbol: use x.argmax(-1)"
        return "use x.long()" if x.ndim == 2 and not x.is_floating_point() else None

    def why_not(self, x: Tensor) -> str | None:
        low, high = int(x.min()), int(x.max())
        if low < 0 or high >= len(self.vocabulary):
            return f"token numbers are from {low} to {high}, and the vocabulary has {len(self.vocabulary)} symbols"
        return None

    def samples_per_picture(self, rows: int, columns: int) -> int:
        return min(rows * columns, MAX_SHOWN)

    def to_text(self, x: Tensor) -> list[str]:
        """Return a line of text for each sample x, in stored form, without empty symbols."""
        return [
            self.separator.join(symbol for i in row if (symbol := self.vocabulary[i]) != PADDING) for row in x.tolist()
        ]

    def picture(self, x: Tensor, columns: int = 8, scale: int | None = None, reals: Tensor | None = None) -> Picture:
        """Draw the first 32 samples as text, each with its number."""
        from matplotlib.figure import Figure

        lines = [
            _escape_unprintable(line)
            for line in self.to_text((x if self.has_stored_form(x) else self.to_stored(x))[:MAX_SHOWN])
        ]
        figure = Figure(figsize=(8, 0.2 + 0.18 * len(lines)), dpi=100)
        for number, line in enumerate(lines):
            height = 1 - (number + 0.8) / (len(lines) + 0.6)
            style: dict[str, Any] = {"family": "monospace", "fontsize": 7, "parse_math": False}
            figure.text(0.01, height, f"{number:2d}", color="#888888", **style)
            figure.text(0.05, height, line[:MAX_WIDTH] + ("..." if len(line) > MAX_WIDTH else ""), **style)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a missing glyph is drawn as a box
            return figure_to_image(figure)

    def npz_arrays(self, x: Tensor) -> dict[str, Any]:
        return {"arr_0": x.numpy(), "vocabulary": np.array(self.vocabulary)}

    def file_content(self, x: Tensor, suffix: str, columns: int | None = None, labels: Tensor | None = None) -> bytes:
        if suffix == ".txt":
            return "".join(f"{line}\n" for line in self.to_text(x)).encode()
        return super().file_content(x, suffix, columns, labels)

    def describe_information_loss(self, suffix: str) -> str | None:
        if suffix == ".txt" and PADDING in self.vocabulary:
            return f"text does not show empty symbols before other symbols; {NPZ_FILE} keeps them"
        return None

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "vocabulary": len(self.vocabulary)}

    def _no_folder_message(self) -> str:
        return "tokens are written as lines of text: write them to lines.txt, or to an array.npz"


def _escape_unprintable(line: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
