"""Types of config values, validated by pydantic: one set of rules for the keys of commands and arguments of components.

A component is an object that a config builds from a node with a `_target_`. The types of command keys are declared in
config/key_types.py; those of a component's arguments are its annotations, converted by `pydantic_type`. The rules:

    integers       1e6 is valid; 1.5, true and "1" are not
    numbers        1 is valid; nan, inf, true and "1" are not
    true or false  also yes or no, on or off, in any case; 0 and 1 are not valid
    text           an integer is valid too, as in logger.project=2024
    a list         each element is validated by its own type; a pair has two
    anything else  a component
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
MESSAGE_KEY = "sentence"  # key of a JSON schema: the message for an invalid value, instead of "<key> is an integer"
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
TENSOR = "Tensor"  # ignored in unions, as in torch's lr: float | Tensor: a config cannot contain one
LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
PLURALS = {
    "a number": "numbers",
    "an integer": "integers",
    "text": "words",
    "a number or a schedule": "numbers or schedules",
}
REQUIRED_TYPES = {  # pydantic's error type -> the required type
    "float_type": "a number",
    "finite_number": "a number",
    "int_type": "an integer",
    "bool_type": "true or false",
    "string_type": "text",
}


def _to_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_flag(value: Any) -> Any:
    return FLAGS.get(value.lower(), value) if isinstance(value, str) else value


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_component(value: Any) -> Any:
    if (
        value is None
        or isinstance(value, str | int | float | list)
        or (isinstance(value, Mapping) and TARGET not in value)
    ):
        raise PydanticCustomError("component", "no component")
    return value


Integer = Annotated[int, Strict(), BeforeValidator(_to_integer)]
Natural = Annotated[int, Strict(), Field(ge=0), BeforeValidator(_to_integer)]
Count = Annotated[int, Strict(), Field(ge=1), BeforeValidator(_to_integer)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Strict(), BeforeValidator(_to_flag)]
Text = Annotated[str, Strict(), BeforeValidator(_to_text)]
NonEmptyText = Annotated[str, Strict(), Field(min_length=1), BeforeValidator(_to_text)]  # text, not empty
Component = Annotated[
    Any, BeforeValidator(_check_component), WithJsonSchema({"description": "a component ({_target_: ...})"})
]
Schedule = Annotated[Any, BeforeValidator(_check_component), WithJsonSchema({"description": "a schedule"})]
NumberOrSchedule = Annotated[Number | Schedule, Field(union_mode="left_to_right")]

SIMPLE_TYPES: dict[Any, Any] = {
    bool: Flag, int: Integer, float: Number, str: Text, Path: Text,
    list: list[Any], tuple: list[Any], dict: dict[str, Any],
    Any: Any, object: Any, inspect.Parameter.empty: Any,
}  # fmt: skip
ORDER = [Flag, Integer, Number]  # members of a union that are tried first; text, which accepts integers too, is last


def validate_value(type_: Any, value: Any, key: str) -> Any:
    """Return the value converted to its type: 1e6 to 1000000, yes to true, 0 to 0.0 for a float.

    Raises Mistake with `key` if the value is invalid.
    """
    try:
        return type_adapter(type_).validate_python(value)
    except ValidationError as error:
        path, inner, required = _innermost_error(error, value)
        if path:
            key, value = ".".join([key, *path]), inner
        schema = type_adapter(type_).json_schema()
        message = (
            schema.get(MESSAGE_KEY)
            or f"{key} is {required or _type_in_words(schema)}{'' if path else _suggest_correction(type_, value, key)}"
        )
        raise Mistake(f"{key}={format_value(value)}: {message}") from None


def describe_type(type_: Any) -> str:
    """Return a type in words: "an integer from 1 on or null"."""
    return _type_in_words(type_adapter(type_).json_schema())


def format_value(value: Any) -> str:
    """Format a value as it is typed on a command line; text that looks like another type is quoted."""
    if isinstance(value, str):
        return repr(value) if _parse_unquoted(value) is not value or not value else value
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{format_value(item)}' for key, item in value.items())}}}"
    return str(value)


def integer_type_from(least: int) -> Any:
    """Return the type of integers of at least `least`."""
    return Annotated[int, Strict(), Field(ge=least), BeforeValidator(_to_integer)]


def nullable(type_: Any) -> Any:
    """Return the type that also accepts null."""
    return type_ | None


def invalid_message_annotation(sentence: str) -> WithJsonSchema:
    """Return an annotation with the whole message of `validate_value` for an invalid value."""
    return WithJsonSchema({MESSAGE_KEY: sentence})


@cache
def pydantic_type(annotation: Any) -> Any:
    """Return the pydantic type of an annotation: Number for float, two of them for tuple[float, float].

    Classes become Component.
    """
    if isinstance(annotation, str | TypeVar):
        return Any
    if annotation in SIMPLE_TYPES:
        return SIMPLE_TYPES[annotation]
    if annotation is None or annotation is type(None):
        return None
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotation
    if origin in (Union, types.UnionType):
        types_in_union, members = {}, []
        for arg in args:
            if arg is not type(None) and getattr(arg, "__name__", "") != TENSOR:
                types_in_union[SIMPLE_TYPES[arg] if arg in SIMPLE_TYPES else pydantic_type(arg)] = None
        for type_ in (*ORDER, *types_in_union, Text):  # text accepts integers too, so it is last
            if (
                type_ in types_in_union
                and type_ not in members
                and (type_ != Text or len(members) == len(types_in_union) - 1)
            ):
                members.append(type_)
        if Integer in members and Number in members:  # 1.0 stays a float
            members[members.index(Integer)] = Annotated[int, Strict()]
        if members == [Number, Component]:
            members = [NumberOrSchedule]
        union: Any = members[0] if len(members) == 1 else Annotated[Union[*members], Field(union_mode="left_to_right")]
        return union | None if type(None) in args else union
    if origin is Literal:
        return annotation
    if origin is tuple and Ellipsis not in args:
        return Annotated[tuple[*map(pydantic_type, args)], AfterValidator(list)]
    if origin in (*LISTS, tuple):
        return list[pydantic_type(args[0]) if args else Any]
    if origin in MAPPINGS:
        return dict[str, pydantic_type(args[1])]
    return Component


def validate_init(prefix: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate an __init__ to validate its arguments by their annotations.

    It raises Mistake for an invalid argument, named `prefix`.<argument>.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)

        @wraps(function)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            bound = signature.bind(self, *args, **kwargs)
            values = dict(list(bound.arguments.items())[1:])
            function(self, **validate_arguments(function, values, prefix))

        return init

    return decorate


def validate_arguments(function: Callable[..., Any], values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the arguments, by name, converted to the function's annotations.

    Raises Mistake for an unknown or invalid argument, named `prefix`.<name>.
    """
    known = {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}
    for name in values:
        if name not in known:
            raise Mistake(
                f"{prefix}.{name}: there is no such key.{did_you_mean(name, known)} It takes {', '.join(known)}"
            )
    return {
        name: validate_value(pydantic_type(resolve_annotation(function, known[name])), value, f"{prefix}.{name}")
        for name, value in values.items()
    }


def resolve_annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return a parameter's annotation, evaluated in its module if it is a string; Any if that fails."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:
        holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
        return get_type_hints(holder, getattr(inspect.unwrap(function), "__globals__", {}), include_extras=True)["it"]
    except Exception:  # for example a name that is imported only for type checkers
        return Any


def _innermost_error(error: ValidationError, value: Any) -> tuple[list[str], Any, str | None]:
    """Return the path of the invalid value in a mapping, that value and its required type.

    Returns ([], value, None) if `value` is no mapping.
    """
    innermost: tuple[list[str], Any, str | None] = [], value, None
    for detail in error.errors():
        path: list[str] = []
        inner = value
        for part in detail["loc"]:  # also contains the members of a union
            if isinstance(inner, Mapping) and part in inner:
                path, inner = [*path, str(part)], inner[part]
        if len(path) >= max(1, len(innermost[0])) and (required := REQUIRED_TYPES.get(detail["type"])):
            innermost = path, inner, required
    return innermost


@cache
def type_adapter(type_: Any) -> TypeAdapter[Any]:
    """Return the cached validator of a type."""
    return TypeAdapter(type_)


def _parse_unquoted(text: str) -> Any:
    """Return the value that a text would have without quotes."""
    lower = text.lower()
    if lower in ("null", "none", *FLAGS):
        return FLAGS.get(lower)
    try:
        return float(text)
    except ValueError:
        return text


def _suggest_correction(type_: Any, value: Any, key: str) -> str:
    """Return a correction of the value, "" if none can be guessed."""
    schema = type_adapter(type_).json_schema()
    if isinstance(value, str) and _parse_unquoted(value) is not value and "type" in str(schema):
        try:
            type_adapter(type_).validate_python(_parse_unquoted(value))
            return f", and in quotes this is text: {key}={value}"
        except ValidationError:
            return ""
    names = [str(name) for part in (schema, *schema.get("anyOf", ())) for name in part.get("enum", ())]
    return f".{meant}" if isinstance(value, str) and (meant := did_you_mean(value, names)) else ""


def _type_in_words(schema: Mapping[str, Any]) -> str:
    if "description" in schema:
        return schema["description"]
    if "anyOf" in schema:
        parts = list(dict.fromkeys(_type_in_words(part) for part in schema["anyOf"]))
        return f"{', '.join(parts[:-1])} or {parts[-1]}" if len(parts) > 1 else parts[0]
    if "enum" in schema or "const" in schema:
        names = [format_value(name) for name in schema.get("enum", (schema.get("const"),))]
        return f"one of {', '.join(names)}" if len(names) > 1 else names[0]
    match schema.get("type"):
        case "integer" | "number" as kind:
            return f"{'an integer' if kind == 'integer' else 'a number'}{_bounds_in_words(schema)}"
        case "array" if "prefixItems" in schema:
            parts = list(dict.fromkeys(map(_type_in_words, schema["prefixItems"])))
            return f"a list of {len(schema['prefixItems'])} {PLURALS.get(parts[0], parts[0])}"
        case "array":
            return f"a list{_element_type_in_words(schema.get('items') or {})}"
        case "object":
            values = schema.get("additionalProperties")
            return (
                f"a mapping of names{' to ' + _type_in_words(values) if isinstance(values, Mapping) and values else ''}"
            )
        case kind:
            return {"boolean": "true or false", "string": "text", "null": "null"}.get(str(kind), "anything")


def _element_type_in_words(items: Mapping[str, Any]) -> str:
    inner = _type_in_words(items)
    return "" if inner == "anything" else f" of {PLURALS.get(inner, inner)}"


def _bounds_in_words(schema: Mapping[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is not None and below is not None:
        return f" between {above:g} and {below:g}"
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" from {low:g} on"
    return f" above {above:g}" if above is not None else ""


# -------------------------------------------------------------------------------------------- yaml files of users


class FileSection(BaseModel):
    """A mapping in a yaml file with a fixed set of keys; a key that is null counts as absent."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def key_requirements(cls) -> dict[str, bool]:
        """Return each key and whether it is required."""
        return {field.alias or name: field.is_required() for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _check_file_keys(cls, content: Any) -> dict[str, Any]:
        values = select_keys({} if content is None else content, cls.key_requirements())
        if missing := sorted(key for key, required in cls.key_requirements().items() if required and key not in values):
            raise section_error(f"{', '.join(missing)} missing")
        return values


def select_keys(content: Any, keys: Collection[str]) -> dict[str, Any]:
    """Return the values at `keys` that are not null. Raises `section_error` for an unknown key."""
    if not isinstance(content, dict):
        raise section_error(f"keys and values are expected, not {content!r}")
    if unknown := [str(key) for key in content if key not in keys]:
        close = did_you_mean(unknown[0], sorted(keys))
        raise section_error(f"no such key: {unknown[0]}.{close} There are: {', '.join(sorted(keys))}")
    return {key: value for key, value in content.items() if value is not None}


def section_error(text: str) -> PydanticCustomError:
    """Return a pydantic error about a whole section."""
    return PydanticCustomError("part", "{text}", {"text": text})


def with_error_message(sentence: str) -> WrapValidator:
    """Return an annotation with which an invalid value raises ValueError: "<key>=<value> <sentence>"."""

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(sentence) from None

    return WrapValidator(validate)


def to_mistake(error: ValidationError, source: str, sections: Collection[str] = ()) -> Mistake:
    """Convert the first error to a Mistake. A key in `sections` and the name below it become part of the location."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if len(path) > 1 and path[0] in sections:
        source, path = f"{source}, {path[0]} {path[1]}", path[2:]
    if first["type"] == "part":
        return Mistake(f"{', '.join([source, *path])}: {first['msg']}")
    return Mistake(f"{source}: {'.'.join(path)}={first['input']} {first.get('ctx', {}).get('error', first['msg'])}")
