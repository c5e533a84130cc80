"""Build the object of a node with a `_target_`: locate its class, check that it is allowed, pass its arguments.

Errors name the path at which the node was written.
"""

import ast
import copy
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import allow_list, config_file, user_code
from saddlepoint.config.tree import CheckedConfig, tree_entries
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.schema import resolve_annotation

CONFIG_ERRORS = (ValueError, TypeError, RuntimeError, OSError)
_LOCATED: dict[str, Callable[..., Any]] = {}  # located targets that every config may build


def instantiate(node: Any, path: str, **arguments: Any) -> Any:
    """Build the object that `node` describes, None for None; `arguments` are passed to it unchanged.

    ValueError, TypeError, RuntimeError and OSError of the object become a Mistake with the path, because they are
    probably errors in the config; other exceptions are not caught. Raises Mistake, before anything is built, if a
    target is not allowed.
    """
    if node is None:
        return None
    root = node._get_root()
    try:
        node = _checked_copy(node, path)
        if arguments:
            return hydra.utils.instantiate(node, _convert_="all", _partial_=True)(**arguments)
        result = hydra.utils.instantiate(node, _convert_="all")
        return _plain_partial(result) if isinstance(result, partial) else result
    except InstantiationException as error:
        cause: BaseException = error.__cause__ or ValueError(" ".join(str(error).splitlines()[:2]))
        if match := re.search(r"full_key: (\S+)", str(error)):
            path = origin_path(root, match[1])
    except CONFIG_ERRORS as error:
        cause = error
    cause.add_note(path)
    if isinstance(cause, CONFIG_ERRORS):
        raise Mistake(
            f"{path}: {str(cause) or type(cause).__name__}{user_code.format_error_location(cause)}"
        ) from cause
    raise cause


def _plain_partial(value: partial[Any]) -> partial[Any]:
    """Return a partial function of Hydra as a plain one.

    Hydra's checks the target again at each call, which costs a fifth of a small round (an objective, a schedule); it
    was checked when the node was copied.
    """
    return partial(value.func, *value.args, **value.keywords)


def _checked_copy(node: Any, path: str) -> Any:
    """Return the node without interpolations, after checking its targets, and its texts for secrets.

    The nodes with `_partial_` below it are replaced by their partial functions.
    """
    root, entries = node._get_root(), tree_entries(node, path)
    has_interpolations, has_partials = node._is_interpolation(), False
    for *_, name, child in entries:
        has_interpolations = has_interpolations or (child is not None and child._is_interpolation())
        has_partials = has_partials or name == "_partial_"
    result = allow_list.resolved_copy(node) if has_interpolations else copy.deepcopy(node)
    texts, partials = [], []
    for key, container, name, child in tree_entries(result, path) if has_interpolations or has_partials else entries:
        if isinstance(child, DictConfig) and child.get("_partial_"):
            partials.append((container, name, child))
        if child is not None and isinstance(text := child._value(), str):
            texts.append((key, text))
            if name == "_target_" and text not in _LOCATED:
                import_target(origin_path(root, key.rpartition(".")[0]), text, allow_list.allowed_names(node))
    if has_interpolations or not isinstance(root, CheckedConfig):  # else it was checked when the config was composed
        config_file.check_no_secrets(texts)
    result._set_flag(["allow_objects", "struct", "readonly"], [True, False, False])
    for container, name, child in reversed(partials):  # innermost first
        container[name] = _plain_partial(hydra.utils.instantiate(child, _convert_="all"))
    return result


def origin_path(config: Any, path: str) -> str:
    """Return the path at which a node was written: architecture.generator for game.players.generator.network."""
    parts = path.split(".")
    for i in range(1, len(parts) + 1):
        node = OmegaConf.select(config, ".".join(parts[: i - 1])) if i > 1 else config
        raw = node._get_node(parts[i - 1]) if isinstance(node, DictConfig) else None
        if raw is not None and raw._is_interpolation() and (match := re.fullmatch(r"\$\{([\w.]+)\}", raw._value())):
            return ".".join([match[1], *parts[i:]])
    return path


def import_target(path: str, name: Any, allowed: Sequence[str] = ()) -> Callable[..., Any]:
    """Return the class or function of a `_target_`.

    Raises Mistake with `path`, and similar names, if it does not exist, or is neither on the allow list nor in
    `allowed` (see `allow_list`).
    """
    if (known := _LOCATED.get(str(name))) is not None:
        return known
    names = str(name).split(".")
    if len(names) > 1:
        allow_list.check_name(path, str(name), allowed)
    for i in range(len(names) - 1, 0, -1):
        module = ".".join(names[:i])
        try:
            target: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if f"{module}.".startswith(f"{error.name}."):
                continue
            reason = f"{path}: {module} needs the module {error.name}, which is not installed"
            raise Mistake(f"{reason}{user_code.format_error_location(error)}") from None
        for attribute in names[i:]:
            if not hasattr(target, attribute):
                submodules = [m.name for m in pkgutil.iter_modules(getattr(target, "__path__", []))]
                suggestion = did_you_mean(attribute, [*dir(target), *submodules])
                raise Mistake(f"{path}: {name} is not there: no {attribute} in {module}.{suggestion}")
            target = getattr(target, attribute)
        if not callable(target):
            raise Mistake(f"{path}: {name} is not a class or function")
        allow_list.check_object(path, str(name), target, allowed)
        if not allowed:  # a target allowed for one config is not allowed for another
            _LOCATED[str(name)] = target
        return target
    raise Mistake(f"{path}: {name}: there is no module {names[0]}. Run from the folder that holds it, or install it")


@cache
def signature_parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return the parameters of a class or function, annotations evaluated; None if it accepts any keyword.

    If __init__ passes its **kwargs to its parent's, the parent's optional parameters are included.
    """
    result: dict[str, inspect.Parameter] = {}
    functions = [target]
    if inspect.isclass(target):
        functions = []
        for parent in target.__mro__:
            functions += [vars(parent)["__init__"]] if "__init__" in vars(parent) else []
    for function in functions:
        try:
            signature = inspect.signature(function, eval_str=True).parameters
        except NameError:  # for example a name imported only for type checkers: evaluate each annotation separately
            raw = inspect.signature(function).parameters
            signature = {name: p.replace(annotation=resolve_annotation(function, p)) for name, p in raw.items()}
        except (ValueError, TypeError):
            return None
        first, kwargs, is_first = next(iter(signature), "") if inspect.isclass(target) else None, None, not result
        for name, p in signature.items():
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                if name != first and name not in result and (is_first or p.default is not p.empty):  # the first is self
                    result[name] = p
            elif p.kind == p.VAR_KEYWORD:
                kwargs = name
        if kwargs is None:
            return result
        if not _passes_kwargs(function, kwargs):
            return None
    return result


def settable_arguments(known: Mapping[str, inspect.Parameter], node: DictConfig) -> list[str]:
    """Return the parameters that a config may set: those with a default, and those in the node."""
    return [name for name, p in known.items() if p.default is not p.empty or name in node]


def _passes_kwargs(function: Callable[..., Any], kwargs: str) -> bool:
    """Whether an __init__ passes its **kwargs, named `kwargs`, to another __init__."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    return any(
        keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == kwargs
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"
        for keyword in call.keywords
    )
