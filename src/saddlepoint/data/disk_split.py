"""A split on disk: its rows are read batch by batch, in advance, by worker processes.

Each worker holds up to two batches ready (the default of torch's DataLoader).  For a GPU a thread puts them into pinned
memory, from which the copy to the device does not block.
"""

import atexit
import signal
from collections.abc import Generator, Iterable, Iterator
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from saddlepoint.data.data import Rows, Split
from saddlepoint.error import Mistake, ending_signals

ReadRows = tuple[Tensor, Tensor | None, list[str]]  # x, y, and the changes that decoding made


class DiskSplit(Split):
    """A split whose rows are read when they are needed; a subclass defines `read_rows`.

    workers   number of processes; 0: the main process reads
    """

    in_memory = False
    workers: int

    def read_rows(self, index: Tensor) -> ReadRows:
        """Read the rows at `index`, int64 [n]; also return the changes to each of them.  Raises Mistake."""
        raise NotImplementedError(f"{type(self).__name__} must define read_rows(index)")

    def __getitem__(self, index: Tensor) -> Rows:
        x, y, _ = self.read_rows(index)
        return x, y

    def batches_at(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Rows]:
        """Yield the rows at each index, on `device`, read in advance by the workers."""
        for x, y, _ in self.read_in_workers(indices, torch.device(device)):
            yield x.to(device, non_blocking=True), None if y is None else y.to(device, non_blocking=True)

    def read_in_workers(self, indices: Iterable[Tensor], device: torch.device) -> Iterator[ReadRows]:
        """Return an iterator of the rows at each index, on the CPU; in pinned memory if `device` is a GPU."""
        batches = self._read_in_workers(indices, device)
        _OPEN.add(batches)
        return batches

    def _read_in_workers(self, indices: Iterable[Tensor], device: torch.device) -> Generator[ReadRows]:
        loader = DataLoader(
            _Reader(self),
            batch_size=None,
            sampler=indices,
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else the loader draws a seed from torch's global generator
            worker_init_fn=_ignore_ending_signals,
        )
        for rows in _close_at_exit(iter(loader)):  # not a variable, which the traceback of an error would keep open
            if isinstance(rows, Mistake):
                raise rows
            yield rows


def _ignore_ending_signals(worker: int) -> None:
    """Ignore the signals with which a scheduler ends every process of a job, so that the run can finish its round."""
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


def _close_at_exit(results: Iterator[Any]) -> Iterator[Any]:
    """Register `close_open_iterators` to run before what torch has just registered, which waits for the workers."""
    atexit.unregister(close_open_iterators)
    atexit.register(close_open_iterators)
    return results


_OPEN: WeakSet[Generator[ReadRows]] = WeakSet()


def close_open_iterators() -> None:
    """End the workers of all iterators. An error can leave some open, and Python would wait for them without end.

    At exit it sends SIGTERM, which they ignore.
    """
    for batches in list(_OPEN):
        batches.close()


class _Reader(Dataset):
    """Rows, or the Mistake as a value: if a worker raised it, a traceback would hide its message."""

    def __init__(self, split: DiskSplit) -> None:
        self.split = split

    def __getitem__(self, index: Tensor) -> ReadRows | Mistake:
        try:
            return self.split.read_rows(index)
        except Mistake as mistake:
            return mistake
