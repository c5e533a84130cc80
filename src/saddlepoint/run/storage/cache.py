"""A cache of files shared by runs: named by a hash of their key, written atomically, by one process at a time."""

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

Log = Callable[[str], None]  # prints a message to the user

BROKEN = (ValueError, KeyError, TypeError, SafetensorError)  # raised when a file is read that is damaged
T = TypeVar("T")
logger = logging.getLogger("saddlepoint")


class Cache:
    """A folder of cached files.  If `folder` is None, nothing is cached."""

    def __init__(self, folder: Path | str | None, log: Log = logger.warning) -> None:
        self.folder, self.log = None if folder is None else Path(folder).expanduser(), log

    def get_or_make_tensors(
        self, kind: str, about: Mapping[str, Any], make: Callable[[], Mapping[str, Tensor]], all_ranks: bool = False
    ) -> dict[str, Tensor]:
        """Return the cached tensors of the key `about`, on the CPU; if there are none, compute them with `make`.

        about      plain values; equal `about` must give equal tensors
        all_ranks  whether all ranks call `make` and share the work; if not, the first rank does and the others wait
        """

        def write() -> bytes:
            return to_safetensors({name: value.cpu() for name, value in make().items()}, about)

        return self._load_or_make(
            f"{kind}/{json_sha256(about)}.safetensors",
            lambda content: from_safetensors(content, about),
            write,
            all_ranks,
        )

    def get_or_make_json(
        self, kind: str, about: Mapping[str, Any], make: Callable[[], Any], all_ranks: bool = False
    ) -> Any:
        """Like `get_or_make_tensors`, for plain values, stored as JSON."""

        def write() -> bytes:
            value = make()
            return json.dumps({"about": about, "sha256": json_sha256(value), "value": value}, indent=1).encode()

        def read(content: bytes) -> Any:
            record = json.loads(content)
            _check_match(record["about"] == _to_json_values(about) and record["sha256"] == json_sha256(record["value"]))
            return record["value"]

        return self._load_or_make(f"{kind}/{json_sha256(about)}.json", read, write, all_ranks)

    def _load_or_make(self, name: str, read: Callable[[bytes], T], make: Callable[[], bytes], all_ranks: bool) -> T:
        if all_ranks and ranks.world_size() > 1 and not all(ranks.all_gather_object(self._is_cached(name, read))):
            content = make()
            make = lambda: content  # noqa: E731
        if self.folder is None:
            return read(make())
        path = self.folder / name
        # files are replaced atomically, so reading needs no lock, and a read-only cache works too
        with suppress(OSError, *BROKEN):
            return read(path.read_bytes())
        with self._entry_lock(path):
            try:
                return read(path.read_bytes())  # another process wrote it while we waited for the lock
            except BROKEN:
                self.log(f"{path} is damaged or incomplete; it is computed again.")
            except OSError:
                pass
            content = make()
            try:
                atomic.write_atomic(path, content)
            except OSError as error:
                # a full or read-only cache costs time, but must not end the run
                self.log(f"the cache {self.folder} cannot be written ({error}); cache=FOLDER chooses another.")
            return read(content)

    def _is_cached(self, name: str, read: Callable[[bytes], Any]) -> bool:
        with suppress(OSError, *BROKEN):
            return self.folder is not None and read((self.folder / name).read_bytes()) is not None
        return False

    @contextmanager
    def _entry_lock(self, path: Path) -> Iterator[None]:
        with ExitStack() as stack:
            with suppress(OSError, NotImplementedError):  # no locks here or no permission: the write reports it
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(f"{path}.lock"))
            yield


def json_sha256(value: Any) -> str:
    """Return the sha256 of plain values as JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def to_safetensors(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return the content of a safetensors file of `tensors`, with `about` and a sha256 of the tensors as metadata."""
    plain = {name: value.detach().contiguous() for name, value in tensors.items()}
    # one key, because safetensors writes several keys in an order that differs between processes
    record = {"about": about, "sha256": _tensors_sha256(plain)}
    return safetensors.torch.save(plain, {"saddlepoint": json.dumps(record, sort_keys=True)})


def from_safetensors(content: bytes, about: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Return the tensors of a file of `to_safetensors`.

    Raises ValueError or SafetensorError if they are damaged, or if the file holds another `about` than the one given.
    """
    # the header: eight bytes of length, then JSON
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    record = json.loads(header["__metadata__"]["saddlepoint"])
    tensors = safetensors.torch.load(content)
    _check_match(record["sha256"] == _tensors_sha256(tensors))
    _check_match(about is None or record["about"] == _to_json_values(about))
    return tensors


def _tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        sha256.update(f"{name} {value.dtype} {list(value.shape)}".encode() + value.numpy().tobytes())
    return sha256.hexdigest()


def _to_json_values(about: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(about))


def _check_match(matches: bool) -> None:
    if not matches:
        raise ValueError("the content does not match its recorded checksum or key")
