"""Gradients of a D step under FSDP2 against one process:  torchrun --nproc-per-node 2 benchmarks/sharded.py

Two gloo ranks, a small D, the non-saturating loss with and without R1, backward to all tensors or only to D's weights.
"""

import copy
import itertools

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import softplus


def set_gradients(D: nn.Module, real: Tensor, fake: Tensor, penalty: bool, confined: bool) -> None:
    """Set .grad to the gradients of D's loss."""
    x = real.clone().requires_grad_()
    logits = D(x)
    loss = softplus(-logits).mean() + softplus(D(fake)).mean()
    if penalty:
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        loss = loss + slope.square().sum(1).mean() / 2
    loss.backward(inputs=list(D.parameters()) if confined else None)


def compare_sharded(penalty: bool, confined: bool) -> str:
    """Return the difference of the gradients to those of one process on the whole batch, or the error."""
    torch.manual_seed(0)
    D = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1))
    real, fake = torch.randn(8, 4), torch.randn(8, 4)
    unsharded = copy.deepcopy(D)
    set_gradients(unsharded, real, fake, penalty, confined)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in (D[0], D[2], D):
        fully_shard(layer, mesh=mesh)
    local = slice(dist.get_rank() * 4, dist.get_rank() * 4 + 4)
    try:
        set_gradients(D, real[local], fake[local], penalty, confined)
    except RuntimeError as error:
        return f"RuntimeError: {str(error)[:90]}"
    pairs = list(zip(D.parameters(), unsharded.parameters(), strict=True))
    if any(p.grad is None for p, _ in pairs):
        return "no gradient at all"
    return f"differs by {max(float((p.grad.full_tensor() - q.grad).abs().max()) for p, q in pairs):.0e}"


if __name__ == "__main__":
    dist.init_process_group("gloo")
    for penalty, confined in itertools.product((False, True), repeat=2):
        result = compare_sharded(penalty, confined)
        if dist.get_rank() == 0:
            print(
                f"R1 {'yes' if penalty else 'no '}  confined to D {'yes' if confined else 'no '}  {result}", flush=True
            )
    dist.destroy_process_group()
