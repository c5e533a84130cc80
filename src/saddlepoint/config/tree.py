"""A checked config; and configs as trees: entries by dotted path, nodes with a `_target_`."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

TreeEntry = tuple[str, Any, Any, Any]  # dotted path, container, key or index in it, node


class CheckedConfig(DictConfig):
    """A read-only config whose keys and values have been checked.

    A copy is a plain DictConfig, which is not checked.
    """

    def __init__(self, config: DictConfig, identity: Callable[[DictConfig], str]) -> None:
        super().__init__(config)
        vars(self)["_identity_of"] = identity
        OmegaConf.set_readonly(self, True)

    @cached_property
    def identity(self) -> str:
        """The sha256, hex, of the settings that affect training."""
        return vars(self)["_identity_of"](self)


def tree_entries(root: Any, path: str = "") -> list[TreeEntry]:
    """Return every entry below a node, containers before their contents. Interpolations are not followed."""
    entries: list[TreeEntry] = []
    waiting: list[tuple[str, Any, Any, Any]] = [(path, None, None, root)]
    while waiting:
        key, container, name, node = waiting.pop()
        if container is not None:
            entries.append((key, container, name, node))
        if not isinstance(node, DictConfig | ListConfig):
            continue
        if node._is_none() or node._is_missing() or node._is_interpolation():
            continue
        names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
        for inner in reversed(names):
            waiting.append((f"{key}.{inner}" if key else str(inner), node, inner, node._get_node(inner)))
    return entries


def target_nodes(root: Any, path: str = "") -> list[tuple[str, DictConfig]]:
    """Return (path, node) of every node with a `_target_`, also `root`. Interpolations are not followed."""
    nodes = [(key, container) for key, container, name, _ in tree_entries(root, path) if name == "_target_"]
    return [(key.rpartition(".")[0], container) for key, container in nodes]


def to_plain(value: Any) -> Any:
    """Return a node as plain values, interpolations resolved."""
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value
