"""Redaction of records: API keys, tokens and passwords are blanked, and the user's home folder is shortened.

secret   the value, of 8 characters or more, of an environment variable whose name marks it (WANDB_API_KEY, HF_TOKEN);
         the value of a key with such a name (token=...); the password in a URL
home     the user's home folder: it is written as ~ and expanded again when it is read
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

MIN_LENGTH = 8  # characters of a secret: a shorter value would match in unrelated text
SECRET_WORDS = frozenset(("key", "apikey", "token", "secret", "password", "passwd", "credentials"))  # in variable names
KEYS = "api_?key|access_key|secret_key|private_key|(?:auth_|access_|hf_)?token|secret|password|passwd|credentials"
ASSIGNMENT = re.compile(rf"(?i)(?<![A-Za-z0-9])((?:{KEYS})\s*[=:]\s*)(?!null\b)([^\s,}}\]'\"]{{{MIN_LENGTH},}})")
SECRET_KEY = re.compile(rf"(?i)(?:{KEYS})")
SECRET_KEY_PATTERN = rf"(?i:{KEYS})"  # the same, to be part of a longer pattern
URL_PASSWORD = re.compile(r"(://)[^/\s:@]*:[^/\s@]+@")
_cached: list[dict[str, str]] = []


def known_secrets() -> dict[str, str]:
    """Return value -> name of the environment variables that hold a secret, the longest value first."""
    return _cached[0] if _cached else _environment_secrets()


@contextmanager
def cache_secrets() -> Iterator[None]:
    """Read the environment once for the whole block, or until `clear_secret_cache`."""
    if _cached:
        yield
        return
    _cached.append(_environment_secrets())
    try:
        yield
    finally:
        clear_secret_cache()


def clear_secret_cache() -> None:
    """Read the environment at each later call of `known_secrets`: user code may have added variables."""
    _cached.clear()


def _environment_secrets() -> dict[str, str]:
    secrets = {
        value: name
        for name, value in os.environ.items()
        if len(value) >= MIN_LENGTH and SECRET_WORDS & set(name.lower().split("_"))
    }
    return dict(sorted(secrets.items(), key=lambda pair: -len(pair[0])))


def _why_secret(key: str, value: str, secrets: Mapping[str, str]) -> str | None:
    """Return why a value is a secret, as text for people, or None if it is not.  `secrets`: `known_secrets()`."""
    for secret, name in secrets.items():
        if secret in value:
            return f"it holds the value of {name}"
    if SECRET_KEY.fullmatch(key.rpartition(".")[2]) and len(value) >= MIN_LENGTH and not value.startswith("${"):
        return "by its name it is a secret"
    return "it holds a password" if URL_PASSWORD.search(value) else None


def find_secret(items: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Return (key, reason) of the first (dotted key, text) that holds a secret; None if none does."""
    secrets = known_secrets()
    marks = re.compile("|".join(["://", *map(re.escape, secrets)]))  # one search instead of hundreds of calls
    for key, value in items:
        suspicious = marks.search(value) or SECRET_KEY.fullmatch(key.rpartition(".")[2])
        if suspicious and (reason := _why_secret(key, value, secrets)):
            return key, reason
    return None


def shorten_home(text: str) -> str:
    """Replace the user's home folder in `text` with ~."""
    home = os.path.expanduser("~")
    return text if home not in text or home in (os.sep, "~") else _home_pattern(home).sub("~", text)


def expand_home(text: str) -> str:
    """Replace each ~ that begins a path with the user's home folder: the inverse of `shorten_home`.

    If the user has no home folder (such as a numeric user id in a container), `text` is returned unchanged.
    """
    return (
        re.sub(r"(?<![\w.~-])~(?=/)", lambda _: os.path.expanduser("~").rstrip(os.sep), text) if "~" in text else text
    )


def redact(value: Any, secrets: Mapping[str, str] | None = None) -> Any:
    """Return a copy of a plain, nested value with secrets blanked and the home folder shortened.

    `secrets`: `known_secrets()`, for callers that redact often; None reads it.
    """
    secrets = known_secrets() if secrets is None else secrets
    home = os.path.expanduser("~")
    home_pattern = _home_pattern(home) if home not in (os.sep, "~") else None

    def redact_text(text: str) -> str:
        for secret, name in secrets.items():
            text = text.replace(secret, f"<{name}>")
        text = URL_PASSWORD.sub(r"\1<secret>@", ASSIGNMENT.sub(r"\1<secret>", text))
        return text if home_pattern is None else home_pattern.sub("~", text)

    # one search of a text costs less than `redact_text` on each of a config's hundreds of values
    marks = re.compile(
        "|".join([*map(re.escape, secrets), *([re.escape(home)] if home_pattern else []), "://", SECRET_KEY_PATTERN])
    )

    root: list[Any] = [value]
    containers: list[Any] = [root]
    while containers:
        container = containers.pop()
        for key, item in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(item, str):
                container[key] = redact_text(item) if marks.search(item) else item
            elif isinstance(item, Mapping):
                container[key] = mapping = dict(item)
                containers.append(mapping)
                for name in item:
                    if isinstance(name, str) and marks.search(name):
                        mapping[redact_text(name)] = mapping.pop(name)
            elif isinstance(item, list | tuple):
                containers.append(list(item))
                container[key] = containers[-1]
    return root[0]


@cache
def _home_pattern(home: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(home)}(?=$|[^\w.-])")
