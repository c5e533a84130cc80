"""Where a process stands: torchrun's word counts before SLURM's, and a config must speak of as many as there are."""

import pytest

from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.devices import join_ranks, rank_info

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
def test_a_rank_knows_its_place_from_the_environment(monkeypatch, environments, expected):
    _set(monkeypatch, *environments)
    here = rank_info()
    assert (here.rank, here.world_size, here.local_rank) == expected


def test_a_person_in_an_interactive_slurm_job_is_alone(monkeypatch):
    _set(monkeypatch, {**SLURM, "SLURM_JOB_NAME": "interactive"})
    assert rank_info().world_size == 1


def test_a_batch_script_that_starts_no_step_is_alone_whatever_tasks_it_has_asked_for(monkeypatch):
    _set(monkeypatch, {name: value for name, value in SLURM.items() if "STEP" not in name})
    assert rank_info().world_size == 1


def test_slurm_does_not_requeue_by_lightnings_own_handler(monkeypatch):
    _set(monkeypatch, SLURM)
    assert rank_info().environment.auto_requeue is False
    assert rank_info().environment.main_address == "node1"


def test_a_config_that_speaks_of_other_ranks_than_were_started_is_told(monkeypatch):
    _set(monkeypatch, TORCHRUN)
    with pytest.raises(Mistake, match="8 processes were started, and the config speaks of devices=2 x nodes=1 = 2"):
        join_ranks(compose(["devices=2", "device=cpu"]), rank_info())
