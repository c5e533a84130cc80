"""What a setting may be: each kind takes what it says and nothing else, and says so in a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.schema import Count, Flag, Name, Natural, Number, Text, arguments, checked, fitted, kind_of, wanted

TAKEN = [
    (Number, 1, 1.0),
    (Number, 0.5, 0.5),
    (Natural, 0, 0),
    (Count, 1e6, 1_000_000),
    (Text, "a", "a"),
    (Text, 2024, "2024"),
    (kind_of(tuple[float, float]), [0, 0.9], [0.0, 0.9]),
    (kind_of(float | Tensor), 1, 1.0),
    (kind_of(tuple[float | Tensor, float | Tensor]), [0, 1], [0.0, 1.0]),
    (kind_of(Sequence[int]), [1, 2.0], [1, 2]),
    (kind_of(Mapping[str, int | None]), {"label": None}, {"label": None}),
    (kind_of(float | Callable[[int], float]), {"_target_": "x"}, {"_target_": "x"}),
    (kind_of(nn.Module | None), None, None),
    (kind_of(bool | str), "Yes", True),
    (kind_of(bool | str), "inductor", "inductor"),
    (kind_of(bool | Literal["warn"] | None), "warn", "warn"),
    (kind_of(int | float), 1, 1),
    (kind_of(int | float), 1.0, 1.0),
    (kind_of(Any), object, object),
    (kind_of("what no module holds"), 5, 5),
]
REFUSED = [
    (Number, "1e-4", "is a number, and in quotes this is text: key=1e-4"),
    (Number, None, "key=null: key is a number"),
    (Number, True, "key=true: key is a number"),
    (Number, float("nan"), "is a number"),
    (Number, float("inf"), "is a number"),
    (Count, 0, "a whole number from 1 on"),
    (Count, 16.5, "a whole number from 1 on"),
    (Natural, True, "a whole number from 0 on"),
    (Natural, "32x32", "a whole number from 0 on"),
    (Flag, 1, "true or false"),
    (Flag, "maybe", "true or false"),
    (Name, "", "key='': key is text"),
    (Text, None, "is text"),
    (kind_of(tuple[float, float]), [0.5], "key=[0.5]: key is a list of 2 numbers"),
    (kind_of(Sequence[int]), ["a"], "a list of whole numbers"),
    (kind_of(Sequence[int]), 5, "a list of whole numbers"),
    (kind_of(float | Tensor), {"_target_": "x"}, "is a number"),
    (kind_of(float | Callable[[int], float]), "fast", "is a number or a schedule"),
    (kind_of(Callable[..., Any] | None), "batch", "is a piece ({_target_: ...}) or null"),
    (kind_of(Literal["bilinear", "bicubic"]), "bilinea", "one of bilinear, bicubic. Did you mean bilinear?"),
    (kind_of(Mapping[str, Mapping[str, float]]), {"a": {"b": "c"}}, "key.a.b=c: key.a.b is a number"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), TAKEN, ids=[str(value) for _, value, _ in TAKEN])
def test_a_value_of_its_kind_is_taken_as_the_kind_has_it(kind: Any, value: Any, expected: Any) -> None:
    found = fitted(kind, value, "key")
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(expected, list):
        assert list(map(type, found)) == list(map(type, expected))


@pytest.mark.parametrize(("kind", "value", "part"), REFUSED, ids=[str(value) for _, value, _ in REFUSED])
def test_a_value_of_another_kind_is_refused_in_a_line_under_its_key(kind: Any, value: Any, part: str) -> None:
    with pytest.raises(Mistake) as caught:
        fitted(kind, value, "key")
    assert part in str(caught.value)
    assert str(caught.value).startswith("key")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["true", "Yes", "ON", "false", "No", "oFF"])
def test_true_and_false_may_be_said_in_three_ways_and_any_case(word: str) -> None:
    assert fitted(Flag, word, "key") is (word.lower() in ("true", "yes", "on"))


def test_a_kind_is_described_in_words() -> None:
    assert wanted(Count | None) == "a whole number from 1 on or null"
    assert wanted(kind_of(tuple[float, float])) == "a list of 2 numbers"


def test_an_init_may_hold_its_arguments_against_its_annotations() -> None:
    class Piece:
        @checked("launcher")
        def __init__(self, processes: Count | None = None, threads: Count = 1) -> None:
            self.processes, self.threads = processes, threads

    assert Piece(2.0).processes == 2  # pyright: ignore[reportArgumentType]
    with pytest.raises(Mistake, match=r"launcher\.threads=0: launcher\.threads is a whole number from 1 on"):
        Piece(threads=0)


def test_an_argument_that_nobody_takes_is_refused_by_name() -> None:
    def session(mode: str = "auto", timeout: float = 15.0) -> None: ...

    assert arguments(session, {"timeout": 5}, "logger") == {"timeout": 5.0}
    with pytest.raises(Mistake, match=r"logger\.timeuot: there is no such key\. Did you mean timeout\?"):
        arguments(session, {"timeuot": 5}, "logger")
