"""What a record does not tell: keys to accounts, and where a person's home is.

secret   the value, of 8 characters or more, of an environment variable whose name says so (WANDB_API_KEY, HF_TOKEN);
         what is given for a key of such a name (token=...); the password within an address
home     the user's home folder, which is written ~ and read back as the home of whoever reads
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

SHORTEST = 8  # characters of a secret: a shorter one would be found in words that have nothing to do with it
PARTS = frozenset(("key", "apikey", "token", "secret", "password", "passwd", "credentials"))  # of a variable's name
KEYS = "api_?key|access_key|secret_key|private_key|(?:auth_|access_|hf_)?token|secret|password|passwd|credentials"
GIVEN = re.compile(rf"(?i)(?<![A-Za-z0-9])((?:{KEYS})\s*[=:]\s*)(?!null\b)([^\s,}}\]'\"]{{{SHORTEST},}})")
ADDRESS = re.compile(r"(://)[^/\s:@]*:[^/\s@]+@")


def secrets() -> dict[str, str]:
    """Value -> variable, of what the environment holds that is nobody else's business; longest first."""
    found = {
        value: name
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and PARTS & set(name.lower().split("_"))
    }
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def secret_in(key: str, value: str, known: Mapping[str, str] | None = None) -> str | None:
    """Why a setting is no setting, for people; None where it may be told.  `known`: secrets(), for who asks often."""
    for secret, name in (secrets() if known is None else known).items():
        if secret in value:
            return f"it holds the value of {name}"
    named = re.fullmatch(rf"(?i)(?:{KEYS})", key.rpartition(".")[2])
    if named and len(value) >= SHORTEST and not value.startswith("${"):
        return "by its name it is a secret"
    return "it holds a password" if ADDRESS.search(value) else None


def blanked(text: str) -> str:
    """`text` with <NAME> in the place of each secret."""
    for secret, name in secrets().items():
        text = text.replace(secret, f"<{name}>")
    return ADDRESS.sub(r"\1<secret>@", GIVEN.sub(r"\1<secret>", text))


def shortened(text: str) -> str:
    """`text` with the user's home folder as ~."""
    home = os.path.expanduser("~")
    return text if home in (os.sep, "~") else re.sub(rf"(?<!\w){re.escape(home)}(?=$|[^\w.-])", "~", text)


def expanded(text: str) -> str:
    """`text` with the home folder of this user in the place of each ~ that begins a path: what `shortened` undoes.

    As it is for a user who has none, such as a number that a container runs under.
    """
    return re.sub(r"(?<![\w.~-])~(?=/)", lambda _: os.path.expanduser("~").rstrip(os.sep), text)


def discreet(value: Any) -> Any:
    """A plain value, however deep, as it may be told: secrets blanked, the home folder shortened."""
    if isinstance(value, str):
        return shortened(blanked(value))
    if isinstance(value, Mapping):
        return {discreet(key): discreet(part) for key, part in value.items()}
    return [discreet(part) for part in value] if isinstance(value, list | tuple) else value
