"""A small text, a file of lines, for games of tokens; each process of a test session finds the same one."""

import os
from pathlib import Path

WORDS = ("red", "green", "blue", "grey"), ("cats", "dogs", "birds"), ("run", "sleep", "sing", "eat")


def written() -> str:
    """The path of the file, written where it is not there yet."""
    path = Path(os.environ["SADDLEPOINT_TEST_HOME"], "sentences.txt")
    if not path.exists():
        lines = [f"{a} {b} {c}" for a in WORDS[0] for b in WORDS[1] for c in WORDS[2]]
        own = path.with_suffix(f".{os.getpid()}")
        own.write_text("\n".join(lines), encoding="utf-8")
        own.replace(path)
    return str(path)
