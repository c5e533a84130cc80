"""What a record does not tell: keys to accounts, and where a person's home is.

secret   the value, of 8 characters or more, of an environment variable whose name says so (WANDB_API_KEY, HF_TOKEN);
         what is given for a key of such a name (token=...); the password within an address
home     the user's home folder, which is written ~ and read back as the home of whoever reads
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

SHORTEST = 8  # characters of a secret: a shorter one would be found in words that have nothing to do with it
PARTS = frozenset(("key", "apikey", "token", "secret", "password", "passwd", "credentials"))  # of a variable's name
KEYS = "api_?key|access_key|secret_key|private_key|(?:auth_|access_|hf_)?token|secret|password|passwd|credentials"
GIVEN = re.compile(rf"(?i)(?<![A-Za-z0-9])((?:{KEYS})\s*[=:]\s*)(?!null\b)([^\s,}}\]'\"]{{{SHORTEST},}})")
NAMED = re.compile(rf"(?i)(?:{KEYS})")
MARKED = rf"(?i:{KEYS})"
ADDRESS = re.compile(r"(://)[^/\s:@]*:[^/\s@]+@")
_looked: list[dict[str, str]] = []


def known_secrets() -> dict[str, str]:
    """Value -> variable, of what the environment holds that is nobody else's business; longest first."""
    return _looked[0] if _looked else _environment_secrets()


@contextmanager
def cache_secrets() -> Iterator[None]:
    """While a command starts, until it ends or `look_again`: the environment is looked through once."""
    if _looked:
        yield
        return
    _looked.append(_environment_secrets())
    try:
        yield
    finally:
        clear_secret_cache()


def clear_secret_cache() -> None:
    """From here on the environment is looked through whenever secrets are asked for: code may have put some there."""
    _looked.clear()


def _environment_secrets() -> dict[str, str]:
    found = {
        value: name
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and PARTS & set(name.lower().split("_"))
    }
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _why(key: str, value: str, known: Mapping[str, str]) -> str | None:
    """Why a setting is no setting, for people; None where it may be told.  `known`: secrets()."""
    for secret, name in known.items():
        if secret in value:
            return f"it holds the value of {name}"
    if NAMED.fullmatch(key.rpartition(".")[2]) and len(value) >= SHORTEST and not value.startswith("${"):
        return "by its name it is a secret"
    return "it holds a password" if ADDRESS.search(value) else None


def find_secret(settings: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The key of the first of (dotted key, text) that is no setting, and why; None where all may be told."""
    known = known_secrets()
    marks = re.compile("|".join(["://", *map(re.escape, known)]))  # one look, not a call for each of hundreds
    for key, value in settings:
        near = marks.search(value) or NAMED.fullmatch(key.rpartition(".")[2])
        if near and (why := _why(key, value, known)):
            return key, why
    return None


def shorten_home(text: str) -> str:
    """`text` with the user's home folder as ~."""
    home = os.path.expanduser("~")
    return text if home not in text or home in (os.sep, "~") else _at_home(home).sub("~", text)


def expand_home(text: str) -> str:
    """`text` with the home folder of this user in the place of each ~ that begins a path: what `shortened` undoes.

    As it is for a user who has none, such as a number that a container runs under.
    """
    return (
        re.sub(r"(?<![\w.~-])~(?=/)", lambda _: os.path.expanduser("~").rstrip(os.sep), text) if "~" in text else text
    )


def redact(value: Any, secrets: Mapping[str, str] | None = None) -> Any:
    """A plain value, however deep, as it may be told: secrets blanked, the home folder shortened.

    `known`: secrets(), for who asks often.
    """
    secrets = known_secrets() if secrets is None else secrets
    home = os.path.expanduser("~")
    away = _at_home(home) if home not in (os.sep, "~") else None

    def of_text(text: str) -> str:
        for secret, name in secrets.items():
            text = text.replace(secret, f"<{name}>")
        text = ADDRESS.sub(r"\1<secret>@", GIVEN.sub(r"\1<secret>", text))
        return text if away is None else away.sub("~", text)

    # a look over all of a text costs less than a call for each of a config's hundreds
    marks = re.compile("|".join([*map(re.escape, secrets), *([re.escape(home)] if away else []), "://", MARKED]))

    whole: list[Any] = [value]
    waiting: list[Any] = [whole]
    while waiting:
        container = waiting.pop()
        for key, part in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(part, str):
                container[key] = of_text(part) if marks.search(part) else part
            elif isinstance(part, Mapping):
                container[key] = named = dict(part)
                waiting.append(named)
                for name in part:
                    if isinstance(name, str) and marks.search(name):
                        named[of_text(name)] = named.pop(name)
            elif isinstance(part, list | tuple):
                waiting.append(list(part))
                container[key] = waiting[-1]
    return whole[0]


@cache
def _at_home(home: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(home)}(?=$|[^\w.-])")
