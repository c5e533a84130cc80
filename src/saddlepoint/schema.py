"""What a setting may be: one schema, in pydantic, for the keys of every command and for the arguments of every piece.

A kind is a type that pydantic reads. The keys of commands are declared by kinds (config/keys.py); the arguments of a
piece have the annotations of its signature, which `kind_of` turns into kinds. All are held to the same rules:

    whole numbers  1e6 is one, 1.5, true and "1" are not
    numbers        1 is one; nan, inf, true and "1" are not
    true or false  also yes or no, on or off, in any case; 0 and 1 are not
    text           a whole number is text too, as in logger.project=2024
    a list         each part by its own kind; a pair has two
    anything else  a piece: a node with a `_target_`
"""

import collections.abc
import inspect
import types
from collections.abc import Callable, Collection, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from saddlepoint.error import Mistake, did_you_mean

TARGET = "_target_"
SENTENCE = "sentence"  # of a kind: what to say of a value that is none, instead of "<key> is a whole number"
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
TENSOR = "Tensor"  # what no config can say: left out of torch's own unions, lr: float | Tensor
LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
MANY = {"a number": "numbers", "a whole number": "whole numbers", "text": "words"}
NEEDS = {  # pydantic's types of errors
    "float_type": "a number",
    "finite_number": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: Any) -> Any:
    return FLAGS.get(value.lower(), value) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _piece(value: Any) -> Any:
    if (
        value is None
        or isinstance(value, str | int | float | list)
        or (isinstance(value, Mapping) and TARGET not in value)
    ):
        raise PydanticCustomError("piece", "no piece")
    return value


Integer = Annotated[int, Strict(), BeforeValidator(_whole)]
Natural = Annotated[int, Strict(), Field(ge=0), BeforeValidator(_whole)]
Count = Annotated[int, Strict(), Field(ge=1), BeforeValidator(_whole)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Strict(), BeforeValidator(_flag)]
Text = Annotated[str, Strict(), BeforeValidator(_text)]
NonEmptyText = Annotated[str, Strict(), Field(min_length=1), BeforeValidator(_text)]  # text that may not be empty
Component = Annotated[Any, BeforeValidator(_piece), WithJsonSchema({"description": "a piece ({_target_: ...})"})]
Schedule = Annotated[Any, BeforeValidator(_piece), WithJsonSchema({"description": "a schedule"})]
NumberOrSchedule = Annotated[Number | Schedule, Field(union_mode="left_to_right")]

LEAVES: dict[Any, Any] = {
    bool: Flag, int: Integer, float: Number, str: Text, Path: Text,
    list: list[Any], tuple: list[Any], dict: dict[str, Any],
    Any: Any, object: Any, inspect.Parameter.empty: Any,
}  # fmt: skip
ORDER = [Flag, Integer, Number]  # of a union's parts; then all others, and text, which takes whole numbers too, last


def validate_value(kind: Any, value: Any, key: str) -> Any:
    """The value as its kind has it: 1e6 whole, yes true, 0 among floats 0.0.  Raises Mistake, under `key`."""
    try:
        return type_adapter(kind).validate_python(value)
    except ValidationError as error:
        path, inner, need = _innermost(error, value)
        if path:
            key, value = ".".join([key, *path]), inner
        schema = type_adapter(kind).json_schema()
        told = schema.get(SENTENCE) or f"{key} is {need or _worded(schema)}{'' if path else _hint(kind, value, key)}"
        raise Mistake(f"{key}={format_value(value)}: {told}") from None


def describe_type(kind: Any) -> str:
    """A kind in words: "a whole number from 1 on, or null"."""
    return _worded(type_adapter(kind).json_schema())


def format_value(value: Any) -> str:
    """A value as one types it; text that looks like something else in quotes."""
    if isinstance(value, str):
        return repr(value) if _read(value) is not value or not value else value
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{format_value(part)}' for key, part in value.items())}}}"
    return str(value)


def integer_from(least: int) -> Any:
    """The kind of whole numbers from `least` on."""
    return Annotated[int, Strict(), Field(ge=least), BeforeValidator(_whole)]


def nullable(kind: Any) -> Any:
    """A kind, or null."""
    return kind | None


def invalid_message(sentence: str) -> WithJsonSchema:
    """Of a kind: what to say of a value that is none."""
    return WithJsonSchema({SENTENCE: sentence})


@cache
def value_type(annotation: Any) -> Any:
    """The kind of an annotation: float of Number, tuple[float, float] of two of them, a class of a Piece."""
    if isinstance(annotation, str | TypeVar):
        return Any
    if annotation in LEAVES:
        return LEAVES[annotation]
    if annotation is None or annotation is type(None):
        return None
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotation
    if origin in (Union, types.UnionType):
        found, kinds = {}, []
        for part in parts:
            if part is not type(None) and getattr(part, "__name__", "") != TENSOR:
                found[LEAVES[part] if part in LEAVES else value_type(part)] = None
        for kind in (*ORDER, *found, Text):  # text, which takes whole numbers too, comes last
            if kind in found and kind not in kinds and (kind != Text or len(kinds) == len(found) - 1):
                kinds.append(kind)
        if Integer in kinds and Number in kinds:  # 1.0 stays what it is
            kinds[kinds.index(Integer)] = Annotated[int, Strict()]
        if kinds == [Number, Component]:
            kinds = [NumberOrSchedule]
        one: Any = kinds[0] if len(kinds) == 1 else Annotated[Union[*kinds], Field(union_mode="left_to_right")]
        return one | None if type(None) in parts else one
    if origin is Literal:
        return annotation
    if origin is tuple and Ellipsis not in parts:
        return Annotated[tuple[*map(value_type, parts)], AfterValidator(list)]
    if origin in (*LISTS, tuple):
        return list[value_type(parts[0]) if parts else Any]
    if origin in MAPPINGS:
        return dict[str, value_type(parts[1])]
    return Component


def validate_init(under: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Of an __init__: its arguments held against its annotations, told as `under`.<argument>.  Raises Mistake."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)

        @wraps(function)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            bound = signature.bind(self, *args, **kwargs)
            given = dict(list(bound.arguments.items())[1:])
            function(self, **validate_arguments(function, given, under))

        return init

    return decorate


def validate_arguments(function: Callable[..., Any], given: Mapping[str, Any], under: str) -> dict[str, Any]:
    """Arguments by name as a function's annotations have them.  Raises Mistake for a wrong one, as `under`.<name>."""
    known = {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}
    for name in given:
        if name not in known:
            raise Mistake(
                f"{under}.{name}: there is no such key.{did_you_mean(name, known)} It takes {', '.join(known)}"
            )
    return {
        name: validate_value(value_type(resolve_annotation(function, known[name])), value, f"{under}.{name}")
        for name, value in given.items()
    }


def resolve_annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """A parameter's annotation, where it is written as text evaluated in its module; Any where that cannot be done."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:
        alone = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
        return get_type_hints(alone, getattr(inspect.unwrap(function), "__globals__", {}), include_extras=True)["it"]
    except Exception:  # a name that is imported for type checkers alone, say
        return Any


def _innermost(error: ValidationError, value: Any) -> tuple[list[str], Any, str | None]:
    """Of a mapping the key whose value is wrong, that value and what it has to be; ([], value, None) of all others."""
    found: tuple[list[str], Any, str | None] = [], value, None
    for one in error.errors():
        path: list[str] = []
        at = value
        for part in one["loc"]:  # the members of a union stand among the keys
            if isinstance(at, Mapping) and part in at:
                path, at = [*path, str(part)], at[part]
        if len(path) >= max(1, len(found[0])) and (need := NEEDS.get(one["type"])):
            found = path, at, need
    return found


@cache
def type_adapter(kind: Any) -> TypeAdapter[Any]:
    """What validates values of a kind."""
    return TypeAdapter(kind)


def _read(word: str) -> Any:
    """What a text would be without its quotes."""
    low = word.lower()
    if low in ("null", "none", *FLAGS):
        return FLAGS.get(low)
    try:
        return float(word)
    except ValueError:
        return word


def _hint(kind: Any, value: Any, key: str) -> str:
    """What to type instead, where that can be guessed."""
    schema = type_adapter(kind).json_schema()
    if isinstance(value, str) and _read(value) is not value and "type" in str(schema):
        try:
            type_adapter(kind).validate_python(_read(value))
            return f", and in quotes this is text: {key}={value}"
        except ValidationError:
            return ""
    names = [str(name) for part in (schema, *schema.get("anyOf", ())) for name in part.get("enum", ())]
    return f".{meant}" if isinstance(value, str) and (meant := did_you_mean(value, names)) else ""


def _worded(schema: Mapping[str, Any]) -> str:
    if "description" in schema:
        return schema["description"]
    if "anyOf" in schema:
        parts = list(dict.fromkeys(_worded(part) for part in schema["anyOf"]))
        return f"{', '.join(parts[:-1])} or {parts[-1]}" if len(parts) > 1 else parts[0]
    if "enum" in schema or "const" in schema:
        names = [format_value(name) for name in schema.get("enum", (schema.get("const"),))]
        return f"one of {', '.join(names)}" if len(names) > 1 else names[0]
    match schema.get("type"):
        case "integer" | "number" as kind:
            return f"{'a whole number' if kind == 'integer' else 'a number'}{_bounds(schema)}"
        case "array" if "prefixItems" in schema:
            parts = list(dict.fromkeys(map(_worded, schema["prefixItems"])))
            return f"a list of {len(schema['prefixItems'])} {MANY.get(parts[0], parts[0])}"
        case "array":
            return f"a list{_of(schema.get('items') or {})}"
        case "object":
            own = schema.get("additionalProperties")
            return f"a mapping of names{' to ' + _worded(own) if isinstance(own, Mapping) and own else ''}"
        case kind:
            return {"boolean": "true or false", "string": "text", "null": "null"}.get(str(kind), "anything")


def _of(items: Mapping[str, Any]) -> str:
    inner = _worded(items)
    return "" if inner == "anything" else f" of {MANY.get(inner, inner)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is not None and below is not None:
        return f" between {above:g} and {below:g}"
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" from {low:g} on"
    return f" above {above:g}" if above is not None else ""


# ------------------------------------------------------------------------------------------ files that people write


class FileSection(BaseModel):
    """What a file says in one place: these keys, and no others; a key that is null says nothing."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def key_requirements(cls) -> dict[str, bool]:
        """Each key, and whether it has to be there."""
        return {field.alias or name: field.is_required() for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, said: Any) -> dict[str, Any]:
        given = select_keys({} if said is None else said, cls.key_requirements())
        if missing := sorted(key for key, needed in cls.key_requirements().items() if needed and key not in given):
            raise section_error(f"{', '.join(missing)} missing")
        return given


def select_keys(said: Any, keys: Collection[str]) -> dict[str, Any]:
    """What is said at these keys, without those that are null.  Raises what `wrong` makes for another key."""
    if not isinstance(said, dict):
        raise section_error(f"keys and values are expected, not {said!r}")
    if unknown := [str(key) for key in said if key not in keys]:
        close = did_you_mean(unknown[0], sorted(keys))
        raise section_error(f"no such key: {unknown[0]}.{close} There are: {', '.join(sorted(keys))}")
    return {key: value for key, value in said.items() if value is not None}


def section_error(text: str) -> PydanticCustomError:
    """What is wrong with a whole part."""
    return PydanticCustomError("part", "{text}", {"text": text})


def replace_error(sentence: str) -> WrapValidator:
    """Of a kind: what is said of a value that is none, "<key>=<value> <sentence>"."""

    def fit(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(sentence) from None

    return WrapValidator(fit)


def to_mistake(error: ValidationError, where: str, within: Collection[str] = ()) -> Mistake:
    """The first thing that is wrong, in a line; a key of `within` and the name below it are told of as a place."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if len(path) > 1 and path[0] in within:
        where, path = f"{where}, {path[0]} {path[1]}", path[2:]
    if first["type"] == "part":
        return Mistake(f"{', '.join([where, *path])}: {first['msg']}")
    return Mistake(f"{where}: {'.'.join(path)}={first['input']} {first.get('ctx', {}).get('error', first['msg'])}")
