"""A config that was checked; and any config as a tree: its keys by dotted path, the nodes that stand for objects."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

TreeEntry = tuple[
    str, Any, Any, Any
]  # dotted path, the container, the name or index of the key in it, what stands there


class CheckedConfig(DictConfig):
    """A config whose every key is known to reach something and to be of its kind; it cannot be changed any more.

    A copy is a DictConfig again, which nobody has checked.
    """

    def __init__(self, config: DictConfig, identity: Callable[[DictConfig], str]) -> None:
        super().__init__(config)
        vars(self)["_identity_of"] = identity
        OmegaConf.set_readonly(self, True)

    @cached_property
    def identity(self) -> str:
        """Which training it is: a sha256, hex."""
        return vars(self)["_identity_of"](self)


def tree_entries(root: Any, path: str = "") -> list[TreeEntry]:
    """Every key below a node, a container before what is in it, none through an interpolation."""
    found: list[TreeEntry] = []
    waiting: list[tuple[str, Any, Any, Any]] = [(path, None, None, root)]
    while waiting:
        here, container, name, node = waiting.pop()
        if container is not None:
            found.append((here, container, name, node))
        if not isinstance(node, DictConfig | ListConfig):
            continue
        if node._is_none() or node._is_missing() or node._is_interpolation():
            continue
        names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
        for inner in reversed(names):
            waiting.append((f"{here}.{inner}" if here else str(inner), node, inner, node._get_node(inner)))
    return found


def target_nodes(root: Any, path: str = "") -> list[tuple[str, DictConfig]]:
    """Every node with a `_target_`, `root` among them, none through an interpolation."""
    found = [(here, container) for here, container, name, _ in tree_entries(root, path) if name == "_target_"]
    return [(here.rpartition(".")[0], container) for here, container in found]


def to_plain(value: Any) -> Any:
    """A node as plain values, interpolations followed."""
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value
