"""Communication between the ranks (processes) of one run.

Each rank holds all networks and trains on its slice of each global batch. A loss that is a mean over samples only needs
its gradients averaged. A loss that uses statistics of the whole batch computes them over all ranks with `all_reduce`,
which is differentiable twice. In a single process every function here is the identity.

The gradient of a sum over ranks is a sum over ranks: with L = sum_r L_r and s = sum_r x_r, dL/dx_r = sum_q dL_q/ds.
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

GROUP_TIMEOUT = timedelta(hours=1)  # long, because another rank may be training an extractor


_local_depth: list[None] = []  # one entry per open `local` context


def world_size() -> int:
    """Return the number of ranks; 1 outside a process group and inside `local`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _local_depth else 1


@contextmanager
def local() -> Iterator[None]:
    """Disable communication: each rank treats its batch as the global one. For work that all ranks do on equal data."""
    _local_depth.append(None)
    try:
        yield
    finally:
        _local_depth.pop()


def rank() -> int:
    """Return the rank of this process, 0 to world_size() - 1."""
    return dist.get_rank() if world_size() > 1 else 0


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return all_reduce(gradients[0])


def all_reduce(x: Tensor) -> Tensor:
    """Return the sum of x over ranks, same shape; twice differentiable. All ranks must call it, in the same order."""
    return x if world_size() == 1 else _AllReduce.apply(x)  # pyright: ignore[reportReturnType]


def mean(x: Tensor) -> Tensor:
    """Return the mean of x over ranks, same shape; twice differentiable."""
    return x if world_size() == 1 else all_reduce(x) / world_size()


def all_gather(x: Tensor) -> Tensor:
    """Return the rows of all ranks, [world_size * N, ...] for x [N, ...], in global batch order; differentiable."""
    if world_size() == 1:
        return x
    before, after = rank() * len(x), (world_size() - 1 - rank()) * len(x)
    rows = [x.new_zeros(before, *x.shape[1:]), x, x.new_zeros(after, *x.shape[1:])]
    return all_reduce(torch.cat(rows))


@torch.no_grad()
def mean_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over ranks, in place, with one all-reduce per dtype."""
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for group in by_dtype.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        dist.all_reduce(flat)
        means = (flat / world_size()).split([tensor.numel() for tensor in group])
        torch._foreach_copy_(group, [value.view_as(t) for value, t in zip(means, group, strict=True)])  # pyright: ignore[reportPrivateImportUsage]


def all_gather_object(value: Any) -> list[Any]:
    """Return the values of all ranks, by rank; plain values and CPU tensors."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_cpu_group())
    return values


def broadcast(value: Any) -> Any:
    """Return the value of rank 0."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, group=_cpu_group())
    return values[0]


def max(number: int) -> int:  # noqa: A001
    """Return the largest number of any rank, without synchronising with an accelerator."""
    if world_size() == 1:
        return number
    largest = torch.tensor(number)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=_cpu_group())
    return int(largest)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256, in hexadecimal, of the names and exact contents of tensors."""
    content = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        content.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        content.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


@cache
def _cpu_group() -> Any:
    """Return a gloo group for Python objects, so that no rank waits for an accelerator; None: the default group."""
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo", timeout=GROUP_TIMEOUT)


def join_group(device: torch.device, rank: int, world_size: int) -> None:
    """Join the process group as `rank` of `world_size`; MASTER_ADDR and MASTER_PORT give the address of rank 0."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=GROUP_TIMEOUT)


def barrier() -> None:
    """Wait until all ranks reach this call; after a minute, continue without them."""
    if world_size() > 1:
        with suppress(RuntimeError):
            dist.monitored_barrier(group=_cpu_group(), timeout=timedelta(minutes=1))


def is_lost_rank(error: Exception) -> bool:
    """Whether `error` means that this rank waited for one that has exited."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")
    return world_size() > 1 and (isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs))


def leave_group() -> None:
    """Leave the process group."""
    if dist.is_available() and dist.is_initialized():
        _cpu_group.cache_clear()
        dist.destroy_process_group()
