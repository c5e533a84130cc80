"""Lines of text files as sequences of symbols, characters or words.  Imports no torch.

Text is UTF-8; a line ends with \\n or \\r\\n.  Symbol 0 of a vocabulary is the empty one, which fills sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saddlepoint.data.listing import FileKind, Listing, list_files, printable_name, resolve_folder
from saddlepoint.error import Mistake

TEXT_FILES = FileKind("text files", (".txt",))
SEPARATORS = {"character": "", "word": " "}  # and what stands between two of them
PADDING = ""
LONGEST = 10_000  # symbols of a line, where nobody has said how long lines are


@dataclass(frozen=True)
class TextLine:
    """One line that is not empty."""

    name: str  # the file's name and the line's number, by which it falls into a split
    location: str  # the same, for people
    symbols: Sequence[str]
    label: int | None


def list_text_files(folder: str | Path | None) -> Listing:
    """The text files of a folder or zip, or the one that `folder` is.  Raises Mistake."""
    place = resolve_folder(folder, TEXT_FILES.noun)
    if place.is_file() and place.suffix.lower() in TEXT_FILES.suffixes:
        return Listing(place.parent, False, "", [place.name], None, None, file_kind=TEXT_FILES)
    return list_files(folder, TEXT_FILES)


def load_lines(found: Listing, unit: str) -> tuple[list[TextLine], int]:
    """Every line that is not empty, in the order of the files, and how many are, without the end of each file.

    Raises Mistake for what is no UTF-8.
    """
    every, empty = [], 0
    for place, name in enumerate(found.names):
        label = None if found.labels is None else found.labels[place]
        for number, text in enumerate(_text(found, name).removesuffix("\n").split("\n"), 1):
            text = text.removesuffix("\r")
            if symbols := list(text) if unit == "character" else text.split():
                every.append(TextLine(f"{name}:{number}", f"{found.location(name)}, line {number}", symbols, label))
            else:
                empty += 1
    return every, empty


def format_notes(found: Listing, every: Sequence[TextLine], empty: int) -> list[str]:
    """What was found in the files, how many lines there are, and how many were left out."""
    left_out = f"; left out: {empty:,} empty ones." if empty else "."
    return [*found.notes, f"{_place(found)}: {len(every):,} lines{left_out}"]


def _place(found: Listing) -> str:
    return found.location(found.names[0]) if len(found.names) == 1 else printable_name(str(found.folder))


def _text(found: Listing, name: str) -> str:
    with found.open(name) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistake(
            f"{found.location(name)} is no UTF-8: byte {error.start:,} is {content[error.start : error.start + 1]!r}. "
            "Save it as UTF-8."
        ) from None


def check_unit(unit: str) -> str:
    """`unit` itself.  Raises Mistake where it is none."""
    if unit not in SEPARATORS:
        raise Mistake(f"data.unit={unit}: choose one of {', '.join(SEPARATORS)}.")
    return unit


def text_facts(
    found: Listing, unit: str, length: int | None, vocabulary: Sequence[str] | None
) -> tuple[dict[str, Any], int]:
    """{"shape": [T, V], "vocabulary": [...], "classes": K or None} of all lines, and their number.

    length None: that of the longest line; vocabulary None: the empty symbol, then those of the lines, sorted.
    """
    every, _ = load_lines(found, check_unit(unit))
    if not every:
        raise Mistake(f"{_place(found)} holds no lines of text: every one is empty.")
    longest = max(every, key=lambda line: len(line.symbols))
    if length is None and (n := len(longest.symbols)) > LONGEST:
        raise Mistake(
            f"{longest.location} has {n:,} symbols, and the longest line sizes the networks: say data.length={n} if it is "
            "meant, or cut the lines."
        )
    if vocabulary is None:
        vocabulary = [PADDING, *sorted({symbol for line in every for symbol in line.symbols})]
        for symbol in vocabulary:
            if "${" in symbol or symbol == "???":  # a config would take them for something else
                raise Mistake(f"{found.folder} has the word {symbol!r}, which no config can hold: data.unit=character.")
    shape = [len(longest.symbols) if length is None else length, len(vocabulary)]
    return {"shape": shape, "vocabulary": list(vocabulary), "classes": found.classes}, len(every)


def encode_lines(every: Sequence[TextLine], vocabulary: Sequence[str], length: int) -> list[list[int]]:
    """The numbers of the symbols of each line, filled up to `length`.

    Raises Mistake for a line that is longer, for a symbol that the vocabulary lacks, and where nothing can fill.
    """
    known = {symbol: number for number, symbol in enumerate(vocabulary)}
    rows = []
    for line in every:
        if (n := len(line.symbols)) > length:
            raise Mistake(
                f"{line.location} has {n:,} symbols, more than data.length={length:,}: say data.length={n:,} or more, "
                "null for the longest line, or cut the lines."
            )
        if (strange := next((symbol for symbol in line.symbols if symbol not in known), None)) is not None:
            raise Mistake(
                f"{line.location}: {strange!r} is none of the {len(known):,} symbols of data.vocabulary. Leave that null, "
                "which reads it off the lines, add the symbol, or change the line."
            )
        if n < length and PADDING not in known:
            raise Mistake(
                f"{line.location} has {n:,} symbols, fewer than data.length={length:,}, and data.vocabulary has no empty "
                "symbol '' to fill it with: put '' in front."
            )
        rows.append([known[symbol] for symbol in line.symbols] + [known.get(PADDING, 0)] * (length - n))
    return rows
