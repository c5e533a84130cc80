"""Where this process stands among others: alone, or one of the ranks that torchrun, SLURM or `train` itself started."""

import os
from dataclasses import dataclass

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from saddlepoint import ranks
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake


@dataclass(frozen=True)
class RankInfo:
    """Rank `number` of `of`, the `local`-th on its machine; `environment` is how Lightning is told so."""

    environment: ClusterEnvironment
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


def rank_info() -> RankInfo:
    """This process's, from its environment: torchrun's variables, else SLURM's, else it is alone."""
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ):
        found: ClusterEnvironment = TorchElasticEnvironment()
    elif SLURMEnvironment.detect() and "SLURM_STEP_NODELIST" in os.environ:  # srun's; a batch script itself is one
        found = SLURMEnvironment(auto_requeue=False)  # Lightning's saves inside the signal's handler, amid a step
    else:
        return RankInfo(LightningEnvironment())
    return RankInfo(found, found.global_rank(), found.world_size(), found.local_rank())


def requested_world_size(config: CheckedConfig) -> int:
    """How many ranks a config speaks of, on all its machines.

    Raises Mistake for more than this machine has, or among which batches do not divide.
    """
    if config.compile not in (True, False, *(known := torch.compiler.list_backends(None))):
        raise Mistake(f"compile={config.compile}: true, false, or a backend of torch.compile: {', '.join(known)}")
    check_precision(config)
    kind = resolve_device(config).type
    there = {"cpu": os.cpu_count() or 1, "cuda": torch.cuda.device_count(), "mps": 1}[kind]
    if config.devices > there:
        counted = " (of a CPU its cores are counted)" if kind == "cpu" else ""
        raise Mistake(f"devices={config.devices}: this machine has {there} of {kind}{counted}")
    if kind == "cpu" and config.trainer.get("sync_batchnorm"):
        raise Mistake("trainer.sync_batchnorm=true: batch norm over all ranks is there for GPUs alone; null on a CPU")
    number = config.devices * config.nodes
    sizes = {"batch": config.batch}
    if config.data.get("labels") is not None:
        sizes["data.labelled_batch"] = config.data.get("labelled_batch") or config.batch
    for key, size in sizes.items():
        if size % number:
            near = max(number, round(size / number) * number)
            raise Mistake(f"{key}={size} does not divide among {number} ranks: it is of all together; try {key}={near}")
        for name, player in config.game.players.items() if number > 1 else ():
            if size // number % (parts := player.get("accumulate", 1)):
                raise Mistake(
                    f"{key}={size} is {size // number} on each of {number} ranks, which cannot be split in "
                    f"game.players.{name}.accumulate={parts} equal parts"
                )
    return number


def check_precision(config: CheckedConfig) -> None:
    """Raises Mistake where Lightning would take another precision than the one that is asked for, without a word."""
    if config.trainer.precision == "16-mixed" and resolve_device(config).type == "cpu":
        raise Mistake("trainer.precision=16-mixed is for GPUs; on a CPU there is bf16-mixed")


def join_ranks(config: CheckedConfig, info: RankInfo) -> None:
    """Take the place: join the other ranks.  Raises Mistake where the config speaks of another number of them."""
    if info.world_size != (asked := requested_world_size(config)):
        raise Mistake(
            f"{info.world_size} processes were started, and the config speaks of devices={config.devices} x "
            f"nodes={config.nodes} = {asked}: make them agree"
        )
    if info.world_size > 1:
        os.environ.setdefault("MASTER_ADDR", info.environment.main_address)
        os.environ.setdefault("MASTER_PORT", str(info.environment.main_port))
        kind = resolve_device(config).type
        ranks.join_group(
            torch.device("cuda", info.local_rank) if kind == "cuda" else torch.device(kind), info.rank, info.world_size
        )


def resolve_device(config: CheckedConfig) -> torch.device:
    """device=auto: CUDA, a rank's own device of it, else the CPU.  Raises Mistake where the one named is missing."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = ("cuda" if there["cuda"] else "cpu") if config.device == "auto" else config.device
    if not there.get(kind):
        raise Mistake(
            f"device={config.device} is not there; this machine has {', '.join(k for k, v in there.items() if v)}"
        )
    if kind == "cuda" and ranks.world_size() > 1:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(kind)
