"""Several processes, ranks, that play one game: where this one stands, and what they find out together.

Each rank holds every network and plays its slice of each global batch. A loss that is a mean over samples needs nothing
but the mean of its gradients; one that looks at the batch as a whole takes its statistics over all ranks, by `total`,
through which gradients pass, and gradients of gradients.  In a single process everything here is the identity.

Backward of the sum over ranks is the sum over ranks: with L = sum_r L_r and s = sum_r x_r, dL/dx_r = sum_q dL_q/ds.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

GROUP_TIMEOUT = timedelta(hours=1)  # how long a rank waits for another, which may be training a ruler


_apart: list[None] = []  # not empty where each rank is for itself


def world_size() -> int:
    """How many ranks play; 1 outside a group, and where each is for itself."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _apart else 1


@contextmanager
def local() -> Iterator[None]:
    """Meanwhile a rank takes what it sees for the whole batch: for what all of them do alike, on the same samples."""
    _apart.append(None)
    try:
        yield
    finally:
        _apart.pop()


def rank() -> int:
    """Which of them this process is, from 0 on."""
    return dist.get_rank() if world_size() > 1 else 0


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        whole = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return all_reduce(gradients[0])


def all_reduce(x: Tensor) -> Tensor:
    """The sum over ranks, of the shape of x; differentiable, twice too.  Every rank has to ask, in the same order."""
    return x if world_size() == 1 else _Total.apply(x)  # pyright: ignore[reportReturnType]


def mean(x: Tensor) -> Tensor:
    """The mean over ranks, of the shape of x; differentiable."""
    return x if world_size() == 1 else all_reduce(x) / world_size()


def all_gather(x: Tensor) -> Tensor:
    """The rows of all ranks, [world * N, ...] of x [N, ...], in the order of the global batch; differentiable."""
    if world_size() == 1:
        return x
    before, after = rank() * len(x), (world_size() - 1 - rank()) * len(x)
    rows = [x.new_zeros(before, *x.shape[1:]), x, x.new_zeros(after, *x.shape[1:])]
    return all_reduce(torch.cat(rows))


@torch.no_grad()
def mean_(tensors: Iterable[Tensor]) -> None:
    """Put the mean over ranks in the place of each tensor, by one all-reduce for all of one type."""
    if world_size() == 1:
        return
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.dtype, []).append(tensor)
    for alike in kinds.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in alike])
        dist.all_reduce(flat)
        parts = (flat / world_size()).split([tensor.numel() for tensor in alike])
        torch._foreach_copy_(alike, [part.view_as(t) for part, t in zip(parts, alike, strict=True)])  # pyright: ignore[reportPrivateImportUsage]


def all_gather_object(value: Any) -> list[Any]:
    """What each rank says, by rank; plain values and tensors on the CPU."""
    if world_size() == 1:
        return [value]
    said: list[Any] = [None] * world_size()
    dist.all_gather_object(said, value, group=_beside())
    return said


def broadcast(value: Any) -> Any:
    """What rank 0 says."""
    if world_size() == 1:
        return value
    said = [value]
    dist.broadcast_object_list(said, src=0, group=_beside())
    return said[0]


def max(number: int) -> int:
    """The largest of the ranks' numbers; an accelerator is not waited for."""
    if world_size() == 1:
        return number
    said = torch.tensor(number)
    dist.all_reduce(said, dist.ReduceOp.MAX, group=_beside())
    return int(said)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of named tensors, bit by bit, in hexadecimal."""
    content = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        content.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        content.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


@cache
def _beside() -> Any:
    """The group for plain words: over the CPU, so that nobody waits for an accelerator; None: the group of all."""
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo", timeout=GROUP_TIMEOUT)


def join_group(where: torch.device, number: int, of: int) -> None:
    """Become rank `number` of `of`, on `where`; MASTER_ADDR and MASTER_PORT say where rank 0 is to be found."""
    if where.type == "cuda":
        torch.cuda.set_device(where)
    backend = "nccl" if where.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=number, world_size=of, timeout=GROUP_TIMEOUT)


def barrier() -> None:
    """Wait until every rank has come here, before each goes its way; a minute, then go all the same."""
    if world_size() > 1:
        with suppress(RuntimeError):
            dist.monitored_barrier(group=_beside(), timeout=timedelta(minutes=1))


def is_lost_rank(error: Exception) -> bool:
    """Whether an error is that of a rank which waits for one that is gone."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")
    return world_size() > 1 and (isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs))


def leave_group() -> None:
    """Leave the group."""
    if dist.is_available() and dist.is_initialized():
        _beside.cache_clear()
        dist.destroy_process_group()
