"""Lines of text, a sample each: a folder or .zip of .txt files, classes by folder (see `listing`), or one .txt file.

The settings: docs/data.md.  The splits depend on the file names and line numbers only (see `folder`).
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from saddlepoint.data import text_file
from saddlepoint.data.data import Split
from saddlepoint.data.folder import Folder
from saddlepoint.data.listing import Listing
from saddlepoint.error import Mistake
from saddlepoint.modality import Tokens


class TextLines(Folder):
    """x int64 [n, length].  Facts that are None are read from the lines: shape [length, symbols] and the vocabulary.

    extractor auto: identity, the one-hot rows themselves, if they have at most 4,096 numbers, else none.
    """

    name = "text_lines"
    file_kind = text_file.TEXT_FILES
    noun = "lines"

    def __init__(
        self,
        folder: str | Path | None = None,
        unit: str = "character",
        length: int | None = None,
        vocabulary: Iterable[str] | None = None,
        shape: Iterable[int] | None = None,
        classes: int | None = None,
        **rest: Any,
    ) -> None:
        text_file.check_unit(unit)
        if length is not None and length < 1:
            raise Mistake(f"data.length={length}: must be the number of symbols per line, at least 1, or null.")
        self.folder, self.unit, self.length = folder, unit, length
        symbols = [] if vocabulary is None else list(vocabulary)
        if shape is None or vocabulary is None:
            facts, _ = text_file.read_text_facts(self.listing, unit, length, symbols or None)
            shape, symbols = facts["shape"] if shape is None else shape, facts["vocabulary"]
            classes = facts["classes"] if classes is None else classes
        self.modality = Tokens(symbols, text_file.SEPARATORS[unit])
        super().__init__(folder, shape or (), classes, **rest)

    @property
    def is_array_file(self) -> bool:
        return False

    @cached_property
    def listing(self) -> Listing:
        return text_file.list_text_files(self.folder)

    def splits(self) -> dict[str, Split]:
        lines, n_empty = text_file.load_lines(self.listing, self.unit)
        x = torch.tensor(text_file.encode_lines(lines, self.modality.vocabulary, self.shape[0]))
        y = None if self.listing.labels is None else torch.tensor([line.label for line in lines])
        self.notes = text_file.format_notes(self.listing, lines, n_empty)
        return self.build_splits([line.name for line in lines], x, y, self.listing.classes)
