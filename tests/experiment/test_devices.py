"""The rank of a process: torchrun takes precedence over SLURM, and a config must request the started ranks."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment import devices
from saddlepoint.experiment.devices import join_process_group, rank_info

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "GROUP_RANK": "1"}
SLURM = {
    "SLURM_NTASKS": "8", "SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_NODEID": "1", "SLURM_JOB_NAME": "train",
    "SLURM_JOB_ID": "4711", "SLURM_NODELIST": "node[1-2]", "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS_PER_NODE": "4",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in (*TORCHRUN, *SLURM):
        monkeypatch.delenv(name, raising=False)


def _set(monkeypatch, *environments):
    for environment in environments:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("environments", "expected"),
    [([], (0, 1, 0)), ([TORCHRUN], (5, 8, 1)), ([SLURM], (6, 8, 2)), ([SLURM, TORCHRUN], (5, 8, 1))],
    ids=["alone", "torchrun", "slurm", "torchrun in a slurm job"],
)
def test_a_rank_is_read_from_the_environment(monkeypatch, environments, expected):
    _set(monkeypatch, *environments)
    info = rank_info()
    assert (info.rank, info.world_size, info.local_rank) == expected


def test_an_interactive_slurm_job_is_a_single_rank(monkeypatch):
    _set(monkeypatch, {**SLURM, "SLURM_JOB_NAME": "interactive"})
    assert rank_info().world_size == 1


def test_a_batch_script_without_srun_is_a_single_rank(monkeypatch):
    _set(monkeypatch, {name: value for name, value in SLURM.items() if "STEP" not in name})
    assert rank_info().world_size == 1


def test_lightning_does_not_requeue_slurm_jobs(monkeypatch):
    _set(monkeypatch, SLURM)
    assert rank_info().environment.auto_requeue is False
    assert rank_info().environment.main_address == "node1"


def test_a_config_with_another_number_of_ranks_is_refused(monkeypatch):
    _set(monkeypatch, TORCHRUN)
    with pytest.raises(Mistake, match="8 processes were started, but the config requests devices=2 x nodes=1 = 2"):
        join_process_group(compose(["devices=2", "device=cpu"]), rank_info())


@pytest.fixture
def old_gpu(monkeypatch):
    """A GPU without bf16 and without Triton."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla P100")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(devices, "has_triton", lambda: False)


def test_a_precision_that_a_gpu_would_emulate_is_refused(old_gpu):
    with pytest.raises(Mistake, match="Tesla P100 has no bf16, which would be emulated slowly; use 16-mixed"):
        devices.check_precision(compose(["trainer.precision=bf16-mixed", "device=cuda"]))
    devices.check_precision(compose(["trainer.precision=16-mixed", "device=cuda"]))


def with_compile(backend) -> Any:
    return SimpleNamespace(compile=backend)


def test_compiling_without_triton_or_a_compiler_is_refused(old_gpu, monkeypatch):
    with pytest.raises(Mistake, match=r"compile=true needs Triton, .* Tesla P100\. compile=aot_eager works without"):
        devices.check_compile(with_compile(True), "cuda")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Mistake, match=r"compile=inductor needs a C\+\+ compiler, and no-such-compiler is not there"):
        devices.check_compile(with_compile("inductor"), "cpu")
    for backend in (False, "aot_eager"):
        devices.check_compile(with_compile(backend), "cpu")
