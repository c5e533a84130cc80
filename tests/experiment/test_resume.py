"""Training 2N images is training N, stopping, and going on to 2N, to the last bit of all that a checkpoint holds."""

import json
import shutil

import pytest
import torch
from filelock import FileLock
from ranked import free_port, played
from resumed import CONFIGS, LAST, all_on_ranks, content, trained

from saddlepoint.error import Mistake

# what says when and where it was written, not what it holds
ELSEWHERE = {"loops", "callbacks", "wandb_id", "epoch", "global_step"}


def told(folder):
    return {key: value for key, value in content(folder).items() if key not in ELSEWHERE}


@pytest.mark.parametrize("name", CONFIGS)
def test_two_n_images_are_n_and_a_stop_and_n(name, tmp_path):
    trained([*CONFIGS[name], "images=480"], tmp_path / "whole")
    trained([*CONFIGS[name], "images=240"], tmp_path / "halves")
    trained([*CONFIGS[name], "images=480"], tmp_path / "halves")
    assert told(tmp_path / "whole") == told(tmp_path / "halves")


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory, worker_id):
    """The folder of all runs on two ranks, trained once for all processes of pytest."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "two_ranks"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            trained([*CONFIGS["D:G 5:1"], "images=240"], folder / "moved")  # by one process
            ports = [free_port() for _ in range(3 * len(CONFIGS) + 1)]
            played(all_on_ranks, 2, str(folder), ports, join=False)
            (folder / "complete").touch()
    return folder


@pytest.mark.parametrize("i", range(len(CONFIGS)), ids=list(CONFIGS))
def test_so_they_are_on_two_ranks(on_two_ranks, i):
    assert told(on_two_ranks / str(i) / "whole") == told(on_two_ranks / str(i) / "halves")


def test_a_run_of_one_process_goes_on_on_two_ranks_with_the_same_draws(on_two_ranks):
    whole, moved = (on_two_ranks / name for name in (f"{list(CONFIGS).index('D:G 5:1')}/whole", "moved"))
    for part in ("streams", "images", "rounds"):
        assert content(whole)["saddlepoint"][part] == content(moved)["saddlepoint"][part]
    ours, theirs = (torch.load(folder / LAST, weights_only=True)["state_dict"] for folder in (moved, whole))
    for key, value in theirs.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(ours[key], value, atol=1e-5, rtol=1e-5, msg=key)


def test_a_run_of_two_ranks_goes_on_in_one_process_with_the_same_draws(on_two_ranks, tmp_path):
    name = "D:G 5:1"
    shutil.copytree(on_two_ranks / str(list(CONFIGS).index(name)) / "whole", tmp_path / "moved")
    for folder in ("moved", "alone"):
        trained([*CONFIGS[name], "images=720"], tmp_path / folder)
    moved, alone = (content(tmp_path / folder)["saddlepoint"] for folder in ("moved", "alone"))
    assert {part: moved[part] for part in ("streams", "images", "rounds")} == {
        part: alone[part] for part in ("streams", "images", "rounds")
    }


def test_a_setting_that_is_allowed_to_change_counts_from_there_on_as_a_schedule_would(tmp_path):
    trained(["optimizer.generator.lr=1e-3", "images=240"], tmp_path / "changed")
    for refused in ([], ["resume.allow=[optimizer.discriminator]"], ["resume.allow=[optimizer.generator.l]"]):
        with pytest.raises(Mistake, match=r"optimizer.generator.lr: 0.001 -> 0.0005"):
            trained(["optimizer.generator.lr=5e-4", "images=480", *refused], tmp_path / "changed")
    trained(["optimizer.generator.lr=5e-4", "images=480", "resume.allow=[optimizer.generator]"], tmp_path / "changed")
    at = json.loads(next((tmp_path / "changed").rglob("provenance.json")).read_text())["changed"]
    assert at == {"at": 240, "keys": ["optimizer.generator.lr: 0.001 -> 0.0005"]}
    step = "optimizer.generator.lr={value: 1e-3, milestones: [240], factor: 0.5}"
    trained(["+schedule@optimizer.generator.lr=step", step, "images=480"], tmp_path / "scheduled")
    assert content(tmp_path / "changed")["state_dict"] == content(tmp_path / "scheduled")["state_dict"]


def test_one_key_may_be_said_without_brackets_and_another_optimizer_is_another_run(tmp_path):
    trained(["images=240"], tmp_path)
    trained(["batch=24", "images=480", "resume.allow=batch"], tmp_path)
    with pytest.raises(Mistake, match=r"_target_: torch.optim.Adam -> torch.optim.SGD. What one optimizer remembers"):
        trained(["batch=24", "optimizer=sgd", "images=720", "resume.allow=[optimizer]"], tmp_path)
