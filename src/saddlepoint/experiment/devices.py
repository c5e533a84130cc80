"""Devices and ranks: the device of a config, and the rank of this process under torchrun, SLURM or `train` itself."""

import os
import shutil
import sys
from dataclasses import dataclass

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.utils._triton import has_triton

from saddlepoint import ranks
from saddlepoint.config.tree import CheckedConfig
from saddlepoint.error import Mistake


@dataclass(frozen=True)
class RankInfo:
    """The rank of this process, in total and on its machine; `environment` gives the same to Lightning."""

    environment: ClusterEnvironment
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


def rank_info() -> RankInfo:
    """Return the rank of this process from the variables of torchrun, else of SLURM, else a single rank."""
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ):
        environment: ClusterEnvironment = TorchElasticEnvironment()
    elif SLURMEnvironment.detect() and "SLURM_STEP_NODELIST" in os.environ:  # set by srun, not in the batch script
        environment = SLURMEnvironment(auto_requeue=False)  # which would save in the signal handler, during a step
    else:
        return RankInfo(LightningEnvironment())
    return RankInfo(environment, environment.global_rank(), environment.world_size(), environment.local_rank())


def check_world_size(config: CheckedConfig) -> int:
    """Return the number of ranks that a config requests, over all machines.

    Raises Mistake if this machine has fewer devices, or if a batch cannot be divided among the ranks.
    """
    device_type = resolve_device(config).type
    check_compile(config, device_type)
    check_precision(config)
    available = {"cpu": os.cpu_count() or 1, "cuda": torch.cuda.device_count(), "mps": 1}[device_type]
    if config.devices > available:
        note = " (for a CPU, its cores are counted)" if device_type == "cpu" else ""
        raise Mistake(f"devices={config.devices}: this machine has {available} of {device_type}{note}")
    if device_type == "cpu" and config.trainer.get("sync_batchnorm"):
        raise Mistake("trainer.sync_batchnorm=true works only on GPUs; set it to null on a CPU")
    world_size = config.devices * config.nodes
    sizes = {"batch": config.batch}
    if config.data.get("labels") is not None:
        sizes["data.labelled_batch"] = config.data.get("labelled_batch") or config.batch
    for key, size in sizes.items():
        if size % world_size:
            nearest = max(world_size, round(size / world_size) * world_size)
            raise Mistake(
                f"{key}={size}, the total of all ranks, is not divisible by {world_size}; try {key}={nearest}"
            )
        for name, player in config.game.players.items() if world_size > 1 else ():
            if size // world_size % (parts := player.get("accumulate", 1)):
                raise Mistake(
                    f"{key}={size} is {size // world_size} on each of {world_size} ranks, which cannot be split in "
                    f"game.players.{name}.accumulate={parts} equal parts"
                )
    return world_size


def check_compile(config: CheckedConfig, device_type: str) -> None:
    """Raise Mistake if the backend of `compile` is unknown or cannot generate code on this machine."""
    if config.compile not in (True, False, *(known := torch.compiler.list_backends(None))):
        raise Mistake(f"compile={config.compile}: true, false, or a backend of torch.compile: {', '.join(known)}")
    if config.compile not in (True, "inductor"):
        return
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    missing = None
    if device_type == "cuda" and not has_triton():
        missing = f"Triton, which is not installed or does not know {torch.cuda.get_device_name()}"
    if device_type == "cpu" and shutil.which(compiler) is None:
        missing = f"a C++ compiler, and {compiler} is not there (CXX names another)"
    if missing:
        raise Mistake(
            f"compile={str(config.compile).lower()} needs {missing}. compile=aot_eager works without it, but is no "
            "faster; compile=false"
        )


def check_precision(config: CheckedConfig) -> None:
    """Raise Mistake if Lightning would silently use another precision than the requested one, or emulate it."""
    precision, device_type = config.trainer.precision, resolve_device(config).type
    if precision == "16-mixed" and device_type == "cpu":
        raise Mistake("trainer.precision=16-mixed works only on GPUs; use bf16-mixed on a CPU")
    if precision == "bf16-mixed" and device_type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise Mistake(
            f"trainer.precision=bf16-mixed: {torch.cuda.get_device_name()} has no bf16, which would be emulated "
            "slowly; use 16-mixed"
        )


def join_process_group(config: CheckedConfig, info: RankInfo) -> None:
    """Join the process group of all ranks.  Raises Mistake if the config requests another number of ranks."""
    if info.world_size != (requested := check_world_size(config)):
        raise Mistake(
            f"{info.world_size} processes were started, but the config requests devices={config.devices} x "
            f"nodes={config.nodes} = {requested}; the two numbers must be equal"
        )
    if info.world_size > 1:
        os.environ.setdefault("MASTER_ADDR", info.environment.main_address)
        os.environ.setdefault("MASTER_PORT", str(info.environment.main_port))
        device_type = resolve_device(config).type
        ranks.join_group(
            torch.device("cuda", info.local_rank) if device_type == "cuda" else torch.device(device_type),
            info.rank,
            info.world_size,
        )


def resolve_device(config: CheckedConfig) -> torch.device:
    """Return the device of a config; auto: CUDA, with the device of this rank, else the CPU.

    Raises Mistake if the requested device is not available.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    device_type = ("cuda" if available["cuda"] else "cpu") if config.device == "auto" else config.device
    if not available.get(device_type):
        devices = ", ".join(name for name, exists in available.items() if exists)
        raise Mistake(f"device={config.device} is not available; this machine has {devices}")
    if device_type == "cuda" and ranks.world_size() > 1:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(device_type)
