"""Training 2N images equals training N and resuming to 2N, to the last bit of everything in a checkpoint."""

import json
import shutil

import pytest
import torch
from filelock import FileLock
from ranked import free_port, run_on_ranks
from resumed import CONFIGS, LAST, all_on_ranks, checkpoint_content, train_run

from saddlepoint.error import Mistake

# keys that depend on when and where a checkpoint was written
NOT_COMPARED = {"loops", "callbacks", "wandb_id", "epoch", "global_step"}


def resumable_state(folder):
    return {key: value for key, value in checkpoint_content(folder).items() if key not in NOT_COMPARED}


@pytest.mark.parametrize("name", CONFIGS)
def test_training_2n_images_equals_training_n_and_resuming_to_2n(name, tmp_path):
    train_run([*CONFIGS[name], "images=480"], tmp_path / "whole")
    train_run([*CONFIGS[name], "images=240"], tmp_path / "halves")
    train_run([*CONFIGS[name], "images=480"], tmp_path / "halves")
    assert resumable_state(tmp_path / "whole") == resumable_state(tmp_path / "halves")


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory, worker_id):
    """The folder of all runs on two ranks, trained once for all processes of pytest."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "two_ranks"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            train_run([*CONFIGS["D:G 5:1"], "images=240"], folder / "moved")  # by one process
            ports = [free_port() for _ in range(3 * len(CONFIGS) + 2)]
            run_on_ranks(all_on_ranks, 2, str(folder), ports, join=False)
            (folder / "complete").touch()
    return folder


@pytest.mark.parametrize("i", range(len(CONFIGS)), ids=list(CONFIGS))
def test_training_2n_images_equals_training_n_and_resuming_to_2n_on_two_ranks(on_two_ranks, i):
    assert resumable_state(on_two_ranks / str(i) / "whole") == resumable_state(on_two_ranks / str(i) / "halves")


def test_a_run_on_two_ranks_does_not_depend_on_its_blocks(on_two_ranks):
    whole = on_two_ranks / str(list(CONFIGS).index("D:G 5:1")) / "whole"
    assert resumable_state(whole) == resumable_state(on_two_ranks / "blocks")


def test_a_run_of_one_process_resumes_on_two_ranks_with_the_same_random_state(on_two_ranks):
    whole, moved = (on_two_ranks / name for name in (f"{list(CONFIGS).index('D:G 5:1')}/whole", "moved"))
    for key in ("streams", "images", "rounds"):
        assert checkpoint_content(whole)["saddlepoint"][key] == checkpoint_content(moved)["saddlepoint"][key]
    ours, theirs = (torch.load(folder / LAST, weights_only=True)["state_dict"] for folder in (moved, whole))
    for key, value in theirs.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(ours[key], value, atol=1e-5, rtol=1e-5, msg=key)


def test_a_run_of_two_ranks_resumes_in_one_process_with_the_same_random_state(on_two_ranks, tmp_path):
    name = "D:G 5:1"
    shutil.copytree(on_two_ranks / str(list(CONFIGS).index(name)) / "whole", tmp_path / "moved")
    for folder in ("moved", "alone"):
        train_run([*CONFIGS[name], "images=720"], tmp_path / folder)
    moved, alone = (checkpoint_content(tmp_path / folder)["saddlepoint"] for folder in ("moved", "alone"))
    assert {key: moved[key] for key in ("streams", "images", "rounds")} == {
        key: alone[key] for key in ("streams", "images", "rounds")
    }


def test_an_allowed_change_of_a_setting_equals_a_schedule(tmp_path):
    train_run(["optimizer.generator.lr=1e-3", "images=240"], tmp_path / "changed")
    for refused in ([], ["resume.allow=[optimizer.discriminator]"], ["resume.allow=[optimizer.generator.l]"]):
        with pytest.raises(Mistake, match=r"optimizer.generator.lr: 0.001 -> 0.0005"):
            train_run(["optimizer.generator.lr=5e-4", "images=480", *refused], tmp_path / "changed")
    train_run(["optimizer.generator.lr=5e-4", "images=480", "resume.allow=[optimizer.generator]"], tmp_path / "changed")
    at = json.loads(next((tmp_path / "changed").rglob("provenance.json")).read_text())["changed"]
    assert at == {"at": 240, "keys": ["optimizer.generator.lr: 0.001 -> 0.0005"]}
    step = "optimizer.generator.lr={value: 1e-3, milestones: [240], factor: 0.5}"
    train_run(["+schedule@optimizer.generator.lr=step", step, "images=480"], tmp_path / "scheduled")
    assert (
        checkpoint_content(tmp_path / "changed")["state_dict"]
        == checkpoint_content(tmp_path / "scheduled")["state_dict"]
    )


def test_resume_allow_takes_one_key_without_brackets_and_never_another_optimizer(tmp_path):
    train_run(["images=240"], tmp_path)
    train_run(["batch=24", "images=480", "resume.allow=batch"], tmp_path)
    with pytest.raises(Mistake, match=r"_target_: torch.optim.Adam -> torch.optim.SGD. The state of one optimizer"):
        train_run(["batch=24", "optimizer=sgd", "images=720", "resume.allow=[optimizer]"], tmp_path)
