"""A small text file of lines, for games of tokens; the same for all processes of a test session."""

import os
from pathlib import Path

WORDS = ("red", "green", "blue", "grey"), ("cats", "dogs", "birds"), ("run", "sleep", "sing", "eat")


def write_sentences() -> str:
    """Write the file if it does not exist, and return its path."""
    path = Path(os.environ["SADDLEPOINT_TEST_HOME"], "sentences.txt")
    if not path.exists():
        lines = [f"{a} {b} {c}" for a in WORDS[0] for b in WORDS[1] for c in WORDS[2]]
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text("\n".join(lines), encoding="utf-8")
        unfinished.replace(path)
    return str(path)
