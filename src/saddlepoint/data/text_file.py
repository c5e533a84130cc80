"""Lines of text files as sequences of symbols, which are characters or words.  Imports no torch.

Text is UTF-8; a line ends with \\n or \\r\\n.  Symbol 0 of a vocabulary is the empty symbol, used as padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saddlepoint.data.listing import FileKind, Listing, list_files, printable_name, resolve_folder
from saddlepoint.error import Mistake

TEXT_FILES = FileKind("text files", (".txt",))
SEPARATORS = {"character": "", "word": " "}  # by unit, the string between two symbols
PADDING = ""
MAX_LENGTH = 10_000  # symbols per line, unless data.length is set


@dataclass(frozen=True)
class TextLine:
    """One line that is not empty."""

    name: str  # file name and line number, which decide the split
    location: str  # path and line number, for messages
    symbols: Sequence[str]
    label: int | None


def list_text_files(folder: str | Path | None) -> Listing:
    """List the text files of a folder or zip, or the single file that `folder` is.  Raises Mistake."""
    path = resolve_folder(folder, TEXT_FILES.noun)
    if path.is_file() and path.suffix.lower() in TEXT_FILES.suffixes:
        return Listing(path.parent, False, "", [path.name], None, None, file_kind=TEXT_FILES)
    if not path.exists():
        raise Mistake(f"{path}: no such file or folder. Set data.folder=<a .txt file, or a folder or .zip of them>.")
    return list_files(folder, TEXT_FILES)


def load_lines(files: Listing, unit: str) -> tuple[list[TextLine], int]:
    """Return all lines that are not empty, in the order of the files, and the number of empty lines.

    The end of a file is not an empty line.  Raises Mistake if a file is not UTF-8.
    """
    lines, n_empty = [], 0
    for i, name in enumerate(files.names):
        label = None if files.labels is None else files.labels[i]
        for number, text in enumerate(_load_text(files, name).removesuffix("\n").split("\n"), 1):
            text = text.removesuffix("\r")
            if symbols := list(text) if unit == "character" else text.split():
                lines.append(TextLine(f"{name}:{number}", f"{files.location(name)}, line {number}", symbols, label))
            else:
                n_empty += 1
    return lines, n_empty


def format_notes(files: Listing, lines: Sequence[TextLine], n_empty: int) -> list[str]:
    """Return the notes of the listing, and one on the number of lines and of empty lines."""
    left_out = f"; left out: {n_empty:,} empty ones." if n_empty else "."
    return [*files.notes, f"{_format_location(files)}: {len(lines):,} lines{left_out}"]


def _format_location(files: Listing) -> str:
    return files.location(files.names[0]) if len(files.names) == 1 else printable_name(str(files.folder))


def _load_text(files: Listing, name: str) -> str:
    with files.open(name) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistake(
            f"{files.location(name)} is not UTF-8: byte {error.start:,} is "
            f"{content[error.start : error.start + 1]!r}. Save it as UTF-8."
        ) from None


def check_unit(unit: str) -> str:
    """Return `unit`.  Raises Mistake if it is neither character nor word."""
    if unit not in SEPARATORS:
        raise Mistake(f"data.unit={unit}: choose one of {', '.join(SEPARATORS)}.")
    return unit


def read_text_facts(
    files: Listing, unit: str, length: int | None, vocabulary: Sequence[str] | None
) -> tuple[dict[str, Any], int]:
    """Return {"shape": [T, V], "vocabulary": [...], "classes": K or None} of all lines, and the number of lines.

    length       None: the length of the longest line
    vocabulary   None: the empty symbol, followed by the symbols of the lines, sorted
    """
    lines, _ = load_lines(files, check_unit(unit))
    if not lines:
        raise Mistake(f"{_format_location(files)} holds no lines of text: all lines are empty.")
    longest = max(lines, key=lambda line: len(line.symbols))
    if length is None and (n := len(longest.symbols)) > MAX_LENGTH:
        raise Mistake(
            f"{longest.location} has {n:,} symbols, and the longest line decides the size of the networks: set "
            f"data.length={n} if this is intended, or cut the lines."
        )
    if vocabulary is None:
        vocabulary = [PADDING, *sorted({symbol for line in lines for symbol in line.symbols})]
        for symbol in vocabulary:
            if "${" in symbol or symbol == "???":  # OmegaConf would read an interpolation or a missing value
                raise Mistake(
                    f"{files.folder} has the word {symbol!r}, which a config cannot hold: set data.unit=character."
                )
    shape = [len(longest.symbols) if length is None else length, len(vocabulary)]
    return {"shape": shape, "vocabulary": list(vocabulary), "classes": files.classes}, len(lines)


def encode_lines(lines: Sequence[TextLine], vocabulary: Sequence[str], length: int) -> list[list[int]]:
    """Return the indices of the symbols of each line, padded to `length`.

    Raises Mistake if a line is longer, has a symbol that is not in the vocabulary, or cannot be padded.
    """
    index_of = {symbol: index for index, symbol in enumerate(vocabulary)}
    rows = []
    for line in lines:
        if (n := len(line.symbols)) > length:
            raise Mistake(
                f"{line.location} has {n:,} symbols, more than data.length={length:,}: set data.length={n:,} or more, "
                "or null for the longest line, or cut the lines."
            )
        if (unknown := next((symbol for symbol in line.symbols if symbol not in index_of), None)) is not None:
            raise Mistake(
                f"{line.location}: {unknown!r} is not among the {len(index_of):,} symbols of data.vocabulary. Set it "
                "to null to read it from the lines, add the symbol, or change the line."
            )
        if n < length and PADDING not in index_of:
            raise Mistake(
                f"{line.location} has {n:,} symbols, fewer than data.length={length:,}, and data.vocabulary has no "
                "empty symbol '' for padding: add '' as the first symbol."
            )
        rows.append([index_of[symbol] for symbol in line.symbols] + [index_of.get(PADDING, 0)] * (length - n))
    return rows
