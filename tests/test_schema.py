"""Types of settings: each accepts its values only, and an error is one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.schema import (
    Count,
    Flag,
    Natural,
    NonEmptyText,
    Number,
    Text,
    describe_type,
    pydantic_type,
    validate_arguments,
    validate_init,
    validate_value,
)

ACCEPTED = [
    (Number, 1, 1.0),
    (Number, 0.5, 0.5),
    (Natural, 0, 0),
    (Count, 1e6, 1_000_000),
    (Text, "a", "a"),
    (Text, 2024, "2024"),
    (pydantic_type(tuple[float, float]), [0, 0.9], [0.0, 0.9]),
    (pydantic_type(float | Tensor), 1, 1.0),
    (pydantic_type(tuple[float | Tensor, float | Tensor]), [0, 1], [0.0, 1.0]),
    (pydantic_type(Sequence[int]), [1, 2.0], [1, 2]),
    (pydantic_type(Mapping[str, int | None]), {"label": None}, {"label": None}),
    (pydantic_type(float | Callable[[int], float]), {"_target_": "x"}, {"_target_": "x"}),
    (pydantic_type(nn.Module | None), None, None),
    (pydantic_type(bool | str), "Yes", True),
    (pydantic_type(bool | str), "inductor", "inductor"),
    (pydantic_type(bool | Literal["warn"] | None), "warn", "warn"),
    (pydantic_type(int | float), 1, 1),
    (pydantic_type(int | float), 1.0, 1.0),
    (pydantic_type(Any), object, object),
    (pydantic_type("what no module holds"), 5, 5),
]
REFUSED = [
    (Number, "1e-4", "is a number, and in quotes this is text: key=1e-4"),
    (Number, None, "key=null: key is a number"),
    (Number, True, "key=true: key is a number"),
    (Number, float("nan"), "is a number"),
    (Number, float("inf"), "is a number"),
    (Count, 0, "an integer from 1 on"),
    (Count, 16.5, "an integer from 1 on"),
    (Natural, True, "an integer from 0 on"),
    (Natural, "32x32", "an integer from 0 on"),
    (Flag, 1, "true or false"),
    (Flag, "maybe", "true or false"),
    (NonEmptyText, "", "key='': key is text"),
    (Text, None, "is text"),
    (pydantic_type(tuple[float, float]), [0.5], "key=[0.5]: key is a list of 2 numbers"),
    (pydantic_type(Sequence[int]), ["a"], "a list of integers"),
    (pydantic_type(Sequence[int]), 5, "a list of integers"),
    (pydantic_type(float | Tensor), {"_target_": "x"}, "is a number"),
    (pydantic_type(float | Callable[[int], float]), "fast", "is a number or a schedule"),
    (pydantic_type(Callable[..., Any] | None), "batch", "is a component ({_target_: ...}) or null"),
    (pydantic_type(Literal["bilinear", "bicubic"]), "bilinea", "one of bilinear, bicubic. Did you mean bilinear?"),
    (pydantic_type(Mapping[str, Mapping[str, float]]), {"a": {"b": "c"}}, "key.a.b=c: key.a.b is a number"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), ACCEPTED, ids=[str(value) for _, value, _ in ACCEPTED])
def test_a_valid_value_is_converted_to_its_kind(kind: Any, value: Any, expected: Any) -> None:
    converted = validate_value(kind, value, "key")
    assert converted == expected
    assert type(converted) is type(expected)
    if isinstance(expected, list):
        assert list(map(type, converted)) == list(map(type, expected))


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED, ids=[str(value) for _, value, _ in REFUSED])
def test_a_value_of_another_kind_is_refused_with_its_key(kind: Any, value: Any, message: str) -> None:
    with pytest.raises(Mistake) as caught:
        validate_value(kind, value, "key")
    assert message in str(caught.value)
    assert str(caught.value).startswith("key")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["true", "Yes", "ON", "false", "No", "oFF"])
def test_booleans_are_accepted_in_three_spellings_and_any_case(text: str) -> None:
    assert validate_value(Flag, text, "key") is (text.lower() in ("true", "yes", "on"))


def test_a_kind_is_described_in_words() -> None:
    assert describe_type(Count | None) == "an integer from 1 on or null"
    assert describe_type(pydantic_type(tuple[float, float])) == "a list of 2 numbers"


def test_arguments_of_an_init_are_checked_against_its_annotations() -> None:
    class Component:
        @validate_init("launcher")
        def __init__(self, processes: Count | None = None, threads: Count = 1) -> None:
            self.processes, self.threads = processes, threads

    assert Component(2.0).processes == 2  # pyright: ignore[reportArgumentType]
    with pytest.raises(Mistake, match=r"launcher\.threads=0: launcher\.threads is an integer from 1 on"):
        Component(threads=0)


def test_an_unknown_argument_is_refused_by_name() -> None:
    def session(mode: str = "auto", timeout: float = 15.0) -> None: ...

    assert validate_arguments(session, {"timeout": 5}, "logger") == {"timeout": 5.0}
    with pytest.raises(Mistake, match=r"logger\.timeuot: there is no such key\. Did you mean timeout\?"):
        validate_arguments(session, {"timeuot": 5}, "logger")
