"""From a node with a `_target_` to an object: the class is found, looked at, and given what its signature names.

What is refused is told under the path at which it was written.
"""

import ast
import copy
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from saddlepoint.config import allow_list, config_file, user_code
from saddlepoint.config.tree import CheckedConfig, tree_entries
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.schema import resolve_annotation

REFUSALS = (ValueError, TypeError, RuntimeError, OSError)
_FOUND: dict[str, Callable[..., Any]] = {}  # what the list lets every config build, once it was found


def instantiate(node: Any, path: str, **given: Any) -> Any:
    """What `node` describes, built, None for None; `given` arguments are passed as they are.

    What torch and the pieces themselves refuse (ValueError, TypeError, RuntimeError, OSError) is taken for a mistake in
    the config and told under its path; any other exception passes as it is.  Raises Mistake, and builds nothing, where
    a target is not permitted.
    """
    if node is None:
        return None
    root = node._get_root()
    try:
        node = _permitted(node, path)
        if given:
            return hydra.utils.instantiate(node, _convert_="all", _partial_=True)(**given)
        return hydra.utils.instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error.__cause__ or ValueError(" ".join(str(error).splitlines()[:2]))
        if match := re.search(r"full_key: (\S+)", str(error)):
            path = origin_path(root, match[1])
    except REFUSALS as error:
        cause = error
    cause.add_note(path)
    if isinstance(cause, REFUSALS):
        raise Mistake(f"{path}: {str(cause) or type(cause).__name__}{user_code.error_location(cause)}") from cause
    raise cause


def _permitted(node: Any, path: str) -> Any:
    """The node without interpolations, each of its texts and targets looked at."""
    root, parts = node._get_root(), tree_entries(node, path)
    is_open = node._is_interpolation()
    for *_, part in parts:
        is_open = is_open or (part is not None and part._is_interpolation())
    found = allow_list.resolved_copy(node) if is_open else copy.deepcopy(node)
    texts = []
    for where, _, name, part in tree_entries(found, path) if is_open else parts:
        if part is not None and isinstance(text := part._value(), str):
            texts.append((where, text))
            if name == "_target_" and text not in _FOUND:
                locate(origin_path(root, where.rpartition(".")[0]), text, allow_list.allowed_names(node))
    if is_open or not isinstance(root, CheckedConfig):  # else all of it was looked at when the config was composed
        config_file.check_no_secrets(texts)
    found._set_flag(["allow_objects", "struct", "readonly"], [True, False, False])
    return found


def origin_path(config: Any, path: str) -> str:
    """Where a node was written: architecture.generator rather than game.players.generator.network."""
    parts = path.split(".")
    for i in range(1, len(parts) + 1):
        node = OmegaConf.select(config, ".".join(parts[: i - 1])) if i > 1 else config
        raw = node._get_node(parts[i - 1]) if isinstance(node, DictConfig) else None
        if raw is not None and raw._is_interpolation() and (match := re.fullmatch(r"\$\{([\w.]+)\}", raw._value())):
            return ".".join([match[1], *parts[i:]])
    return path


def locate(path: str, name: Any, allowed: Sequence[str] = ()) -> Callable[..., Any]:
    """The class or function of a `_target_`.  Raises Mistake under `path`, with close names, where it is not there.

    Also where it is not on the list of what a config may build, nor among `allowed` (see `allow_list`).
    """
    if (known := _FOUND.get(str(name))) is not None:
        return known
    parts = str(name).split(".")
    if len(parts) > 1:
        allow_list.check_name(path, str(name), allowed)
    for i in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:i])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if f"{module}.".startswith(f"{error.name}."):
                continue
            why = f"{path}: {module} needs the module {error.name}, which is not installed"
            raise Mistake(f"{why}{user_code.error_location(error)}") from None
        for part in parts[i:]:
            if not hasattr(found, part):
                inside = [m.name for m in pkgutil.iter_modules(getattr(found, "__path__", []))]
                raise Mistake(
                    f"{path}: {name} is not there: no {part} in {module}.{did_you_mean(part, [*dir(found), *inside])}"
                )
            found = getattr(found, part)
        if not callable(found):
            raise Mistake(f"{path}: {name} is no class or function")
        allow_list.check_object(path, str(name), found, allowed)
        if not allowed:  # what a person allowed for one config is not found for another
            _FOUND[str(name)] = found
        return found
    raise Mistake(f"{path}: {name}: there is no module {parts[0]}. Run from the folder that holds it, or install it")


@cache
def signature_parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """What a class or function can be given by name, annotations evaluated; None where that is anything.

    Where __init__ hands its **keywords on to its parent's, the parent's optional ones belong to it.
    """
    found: dict[str, inspect.Parameter] = {}
    functions = [target]
    if inspect.isclass(target):
        functions = []
        for parent in target.__mro__:
            functions += [vars(parent)["__init__"]] if "__init__" in vars(parent) else []
    for function in functions:
        try:
            signature = inspect.signature(function, eval_str=True).parameters
        except NameError:  # a name that is imported for type checkers alone, say: each annotation by itself
            written = inspect.signature(function).parameters
            signature = {name: p.replace(annotation=resolve_annotation(function, p)) for name, p in written.items()}
        except (ValueError, TypeError):
            return None
        first, rest, own = next(iter(signature), "") if inspect.isclass(target) else None, None, not found
        for name, p in signature.items():
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                if name != first and name not in found and (own or p.default is not p.empty):  # the first is self
                    found[name] = p
            elif p.kind == p.VAR_KEYWORD:
                rest = name
        if rest is None:
            return found
        if not _hands_on(function, rest):
            return None
    return found


def settable_arguments(known: Mapping[str, inspect.Parameter], node: DictConfig) -> list[str]:
    """The arguments that a config may set: those with a default, and those that the node has."""
    return [name for name, p in known.items() if p.default is not p.empty or name in node]


def _hands_on(function: Callable[..., Any], rest: str) -> bool:
    """Whether an __init__ calls another __init__ with its own **rest."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    return any(
        keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == rest
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"
        for keyword in call.keywords
    )
