"""Files that are made once and shared: named by content, written whole or not at all, by one process at a time."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from filelock import FileLock
from safetensors import SafetensorError
from torch import Tensor

from saddlepoint import ranks
from saddlepoint.run.storage import atomic

Log = Callable[[str], None]  # a word to the user

BROKEN = (ValueError, KeyError, TypeError, SafetensorError)  # what reading a file raises that is not as it was written
T = TypeVar("T")
logger = logging.getLogger("saddlepoint")


class Cache:
    """A folder of such files; without a folder everything is made anew."""

    def __init__(self, folder: Path | str | None, log: Log = logger.warning) -> None:
        self.folder, self.log = None if folder is None else Path(folder).expanduser(), log

    def get_tensors(
        self, kind: str, about: Mapping[str, Any], make: Callable[[], Mapping[str, Tensor]], all_ranks: bool = False
    ) -> dict[str, Tensor]:
        """What `make` gives for what `about` says (plain values; equal `about`, equal tensors), on the CPU.

        together  whether all ranks make it, sharing the work; else the first that comes does, and the others wait
        """

        def write() -> bytes:
            return to_safetensors({name: value.cpu() for name, value in make().items()}, about)

        return self._kept(
            f"{kind}/{json_sha256(about)}.safetensors",
            lambda content: from_safetensors(content, about),
            write,
            all_ranks,
        )

    def get_json(self, kind: str, about: Mapping[str, Any], make: Callable[[], Any], all_ranks: bool = False) -> Any:
        """The same for plain values, kept as JSON."""

        def write() -> bytes:
            value = make()
            return json.dumps({"about": about, "sha256": json_sha256(value), "value": value}, indent=1).encode()

        def read(content: bytes) -> Any:
            found = json.loads(content)
            _expect(found["about"] == _plain(about) and found["sha256"] == json_sha256(found["value"]))
            return found["value"]

        return self._kept(f"{kind}/{json_sha256(about)}.json", read, write, all_ranks)

    def _kept(self, name: str, read: Callable[[bytes], T], make: Callable[[], bytes], together: bool) -> T:
        if together and ranks.world_size() > 1 and not all(ranks.all_gather_object(self._holds(name, read))):
            content = make()
            make = lambda: content  # noqa: E731
        if self.folder is None:
            return read(make())
        path = self.folder / name
        # files are replaced whole, so a look needs no lock, and a read-only cache serves
        with suppress(OSError, *BROKEN):
            return read(path.read_bytes())
        with self._lock(path):
            try:
                return read(path.read_bytes())  # made by whom we waited for
            except BROKEN:
                self.log(f"{path} is broken or half-written; it is made again.")
            except OSError:
                pass
            content = make()
            try:
                atomic.write_atomic(path, content)
            except OSError as error:
                # a cache is a convenience: a full or read-only one costs time, not the run
                self.log(f"the cache {self.folder} cannot be written ({error}); cache=FOLDER chooses another.")
            return read(content)

    def _holds(self, name: str, read: Callable[[bytes], Any]) -> bool:
        with suppress(OSError, *BROKEN):
            return self.folder is not None and read((self.folder / name).read_bytes()) is not None
        return False

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        with ExitStack() as stack:
            with suppress(OSError, NotImplementedError):  # a folder without locks, or not ours: the writing says so
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(f"{path}.lock"))
            yield


def json_sha256(value: Any) -> str:
    """sha256 of plain values as JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def to_safetensors(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The content of a safetensors file that carries `about`, and a sha256 of its tensors."""
    plain = {name: value.detach().contiguous() for name, value in tensors.items()}
    # one key: safetensors writes several in an order that differs from run to run
    record = {"about": about, "sha256": _content(plain)}
    return safetensors.torch.save(plain, {"saddlepoint": json.dumps(record, sort_keys=True)})


def from_safetensors(content: bytes, about: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """The tensors of such a file; ValueError or SafetensorError where they, or what it is about, are not as written."""
    # the header: eight bytes of length, then JSON
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    record = json.loads(header["__metadata__"]["saddlepoint"])
    tensors = safetensors.torch.load(content)
    _expect(record["sha256"] == _content(tensors))
    _expect(about is None or record["about"] == _plain(about))
    return tensors


def _content(tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        whole.update(f"{name} {value.dtype} {list(value.shape)}".encode() + value.numpy().tobytes())
    return whole.hexdigest()


def _plain(about: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(about))


def _expect(holds: bool) -> None:
    if not holds:
        raise ValueError("the content is not what its own record says")
