"""Properties of a run: reproducible, resumable, robust against kills, and bad input is refused."""

import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console
from runs import SMALL, assert_equal, rows, run, state

from saddlepoint.callback.finite import Diverged
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.experiment.train import train
from saddlepoint.run.folder import Run


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The run without further overrides, trained once; not to be changed."""
    return run(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def copied(plain, tmp_path):
    """A function: folder -> a copy of the run there, as if trained there."""

    def copy(outputs=tmp_path):
        return Run(shutil.copytree(plain.folder, outputs / plain.folder.parent.name / plain.folder.name))

    return copy


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(plain, tmp_path):
    first, repeated = plain, run(tmp_path / "b")
    assert rows(first) == rows(repeated)
    assert_equal(state(first), state(repeated))
    assert rows(run(tmp_path / "c", "seed=4"))[1] != rows(first)[1]


def test_evaluating_more_often_or_with_a_cold_cache_changes_nothing_in_training(plain, tmp_path):
    seldom, frequent = plain, run(tmp_path / "b", "callback.evaluation.images_between=256")
    cold = run(tmp_path / "c", f"cache={tmp_path / 'cold'}")
    none = run(tmp_path / "d", "metric=[]")
    assert len([r for r in rows(frequent) if "rounds" in r]) > len(rows(seldom))
    for other in (frequent, cold, none):
        assert_equal(state(seldom), state(other))
    assert rows(cold) == rows(seldom)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["regularizer=[r1,r2]", "objective=relativistic", "regularizer.discriminator.r1.every=4"],
        ["objective=wasserstein", "regularizer=[gradient_penalty]", "game.players.generator.every=5"],
        ["game=simultaneous", "game.players.generator.average.statistics=reestimated"],
    ],
    ids=["nonsaturating", "relativistic + lazy r1 + r2", "wasserstein + gradient penalty 5:1", "simultaneous"],
)
def test_training_2n_images_equals_training_n_and_resuming_to_2n_bit_for_bit(tmp_path, overrides):
    """N = 1,152 is 18 batches: an epoch of digits is 897 images, so the stop is in the second epoch."""
    straight = run(tmp_path / "a", *overrides, "images=2304")
    stopped = run(tmp_path / "b", *overrides, "images=1152")
    assert stopped.summary["images"] == 1152
    resumed = run(tmp_path / "b", *overrides, "images=2304")
    assert resumed.folder == stopped.folder
    assert "resuming at 1,152 images" in resumed.said
    assert_equal(state(straight), state(resumed))
    assert rows(straight) == rows(resumed)
    for record in (straight, resumed):
        assert {p.name for p in record.checkpoints.iterdir()} == {p.name for p in straight.checkpoints.iterdir()}
    if (straight.checkpoints / "best.ckpt").exists():
        assert_equal(state(straight, "best"), state(resumed, "best"))
    assert resumed.summary["final"] == straight.summary["final"]
    assert resumed.summary["best"] == straight.summary["best"]


def test_dropout_and_batch_norm_resume_exactly(tmp_path):
    layers = [
        "architecture.generator.norm={_target_: torch.nn.BatchNorm1d, _partial_: true}",
        "architecture.discriminator.neck={_target_: dropping.Half, _partial_: true}",
        "allow_target=[dropping]",
    ]
    module = tmp_path / "dropping.py"
    module.write_text(
        "from torch import nn\n\n"
        "class Half(nn.Dropout):\n    def __init__(self, features):\n        super().__init__(0.5)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        straight = run(tmp_path / "a", *layers, "metric=[]")
        run(tmp_path / "b", *layers, "metric=[]", "images=640")
        assert_equal(state(straight), state(run(tmp_path / "b", *layers, "metric=[]")))
    finally:
        sys.path.remove(str(tmp_path))


@pytest.mark.slow
def test_a_run_killed_after_its_first_checkpoint_resumes_to_the_same_result(tmp_path):
    """SIGKILL at an arbitrary moment, then the same command; test_crash.py stops a run at each of its operations."""
    settings = [
        "images=32000",
        "callback.checkpoint.images_between=1280",
        "callback.grid.images_between=64000",
        "metric=[]",
    ]
    straight = run(tmp_path / "a", *settings)
    overrides = {override.partition("=")[0]: override for override in (*SMALL, *settings)}.values()
    command = [sys.executable, "-m", "saddlepoint", "train", *overrides, f"outputs={tmp_path / 'b'}"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "b" / straight.folder.parent.name / "seed0"
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "previous.ckpt").exists():
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert Run(folder).summary["status"] == "running"
    again = run(tmp_path / "b", *settings)
    assert "resuming at" in again.said
    assert again.summary["status"] == "finished"
    assert_equal(state(straight), state(again))
    assert rows(straight) == rows(again)


def test_a_run_killed_before_its_first_checkpoint_starts_again_with_the_same_result(plain, copied, tmp_path):
    straight = plain
    killed = copied(tmp_path / "b")
    for checkpoint in killed.checkpoints.iterdir():
        checkpoint.unlink()
    killed.update_summary(status="running", final={})
    again = run(tmp_path / "b")
    assert rows(again) == rows(straight)
    assert_equal(state(straight), state(again))


def test_a_run_killed_in_its_final_evaluation_only_repeats_the_evaluation(tmp_path):
    settings = ["callback.evaluation.images_between=512"]  # not at 1,280: the last scores are measured after training
    straight = run(tmp_path / "a", *settings)
    killed = run(tmp_path / "b", *settings)
    lines = killed.metrics.read_text().splitlines()
    assert json.loads(lines[-1])["final"] is True
    killed.metrics.write_text("\n".join(lines[:-1]) + "\n")
    before = (killed.checkpoints / "last.ckpt").stat().st_mtime_ns
    killed.update_summary(status="running", final={})
    again = run(tmp_path / "b", *settings)
    assert (again.checkpoints / "last.ckpt").stat().st_mtime_ns == before
    assert rows(again) == rows(straight)
    assert again.summary["final"] == straight.summary["final"]
    assert again.summary["best"] == straight.summary["best"]


def test_a_finished_run_is_left_unchanged(copied, tmp_path):
    first = copied()
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*") if path.is_file()}
    again = run(tmp_path)
    assert "finished" in again.said
    assert "overwrite=true" in again.said
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*") if path.is_file()} == before


def test_overwriting_moves_the_old_run_aside(copied, tmp_path):
    first = copied()
    old = state(first)
    again = run(tmp_path, "overwrite=true")
    assert_equal(old, state(again))
    assert_equal(old, state(Run(first.folder.with_name("seed0-old1"))))


def test_a_run_folder_of_another_identity_is_refused_and_the_difference_named(tmp_path):
    first = run(tmp_path, "name=mine")
    before = (first.folder / "config.yaml").read_text()
    with pytest.raises(Mistake, match=r"holds another run: .*objective") as refused:
        run(tmp_path, "name=mine", "objective=hinge")
    assert "overwrite=true" in str(refused.value)
    assert (first.folder / "config.yaml").read_text() == before


def test_fewer_images_than_a_finished_run_has_are_refused(copied, tmp_path):
    copied()
    with pytest.raises(Mistake, match="cannot end earlier"):
        run(tmp_path, "images=640")


def test_more_images_are_refused_if_a_schedule_depends_on_them_unless_allowed(tmp_path):
    ramp = [
        "+schedule@optimizer.generator.lr=linear",
        "optimizer.generator.lr.start=1e-3",
        "optimizer.generator.lr.end=0",
    ]
    first = run(tmp_path, *ramp)
    with pytest.raises(Mistake, match=r"optimizer\.generator\.lr\.images depends on images"):
        run(tmp_path, *ramp, "images=1920")
    assert Run(first.folder).summary["images"] == 1280
    assert run(tmp_path, *ramp, "images=1920", "resume.allow=[images]").summary["images"] == 1920


def test_a_folder_that_is_not_a_run_is_left_unchanged(tmp_path):
    (tmp_path / "mine" / "seed0").mkdir(parents=True)
    (tmp_path / "mine" / "seed0" / "thesis.tex").write_text("x")
    with pytest.raises(Mistake, match="not a run"):
        run(tmp_path, "name=mine")
    assert [p.name for p in (tmp_path / "mine" / "seed0").iterdir()] == ["thesis.tex"]


def test_a_diverged_run_names_the_term_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    blow = ["+schedule@optimizer.discriminator.lr=step", "optimizer.discriminator.lr.value=1e-4",
            "optimizer.discriminator.lr.milestones=[800]", "optimizer.discriminator.lr.factor=1e42"]  # fmt: skip
    with pytest.raises(Diverged, match=r"(discriminator|generator)/adversarial = (nan|inf)") as stopped:
        run(tmp_path, *blow)
    (folder,) = tmp_path.glob("*/seed0")
    record = Run(folder)
    assert record.summary["status"] == "diverged"
    assert record.summary["exit"] == 1
    assert record.summary["error"] == str(stopped.value)
    assert state(record)["saddlepoint/images"] == 640
    assert all(torch.isfinite(v).all() for k, v in state(record).items() if isinstance(v, torch.Tensor))


def test_a_truncated_checkpoint_is_replaced_by_the_previous_one_with_a_message(copied, tmp_path):
    straight = run(tmp_path / "a", "images=2560")
    cut = copied(tmp_path / "b")
    last = cut.checkpoints / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    again = run(tmp_path / "b", "images=2560")
    assert "not a readable checkpoint" in again.said
    assert "previous.ckpt, 640 images" in again.said
    assert_equal(state(straight), state(again))
    assert rows(straight) == rows(again)


def test_variants_of_a_config_get_different_run_names(tmp_path):
    variants = [["objective=minimax"], ["objective=nonsaturating"], ["objective.discriminator.real_label=0.9"]]
    records = [run(tmp_path, *variant, "images=640") for variant in variants]
    names = [record.folder.parent.name for record in records]
    assert len(set(names)) == 3
    assert names[0].startswith("digits-mlp-minimax-")
    assert names[1].startswith("digits-mlp-nonsaturating-")
    losses = [next(row for row in rows(record) if "discriminator/adversarial" in row) for record in records]
    assert losses[1]["discriminator/adversarial"] != losses[2]["discriminator/adversarial"]


def test_a_run_writes_the_documented_files(tmp_path):
    record = run(tmp_path, "logger=wandb", "logger.mode=offline")
    names = {path.name for path in record.folder.iterdir()}
    assert names == {
        "config.yaml",
        "provenance.json",
        "metrics.jsonl",
        "summary.json",
        "samples",
        "checkpoints",
        "snapshots",
        "wandb",
    }
    assert {p.name for p in record.samples.iterdir()} == {
        "real.png", "000000000.png", "000000640.png", "000001280.png", "animation.gif",
    }  # fmt: skip
    assert {p.name for p in record.checkpoints.iterdir()} >= {"last.ckpt", "previous.ckpt"}
    summary = record.summary
    assert summary["status"] == "finished"
    assert summary["exit"] == 0
    metrics, extractors = ("fid", "inception_score", "coverage"), ("digits", "digits-b")
    assert set(summary["final"]) == {f"{metric}_{name}_900_train" for metric in metrics for name in extractors}
    contract = summary["final"]["fid_digits_900_train"]["contract"]
    assert (contract["n_real"], contract["n_fake"], contract["split"], contract["weights"]) == (
        897,
        900,
        "train",
        "averaged",
    )
    assert set(summary["anchors"]) == {"real", "10 memorised", "100 memorised", "class means + noise"}
    provenance = json.loads((record.folder / "provenance.json").read_text())
    assert provenance["exit"] == 0
    assert provenance["data"]["sizes"] == {"train": 897, "validation": 450, "test": 450}
    config = (record.folder / "config.yaml").read_text()
    assert "network: ${architecture.generator}" in config
    assert "choice:" in config
    measured = [row for row in record.rows() if "fid_digits_900_train" in row]
    assert [row["images"] for row in measured] == [0, 640, 1280]


def test_a_checkpoint_of_another_network_or_seed_is_refused(tmp_path):
    ours = run(tmp_path / "a", "images=640")
    before = (ours.folder / "summary.json").read_text()
    for other in (["architecture.generator.widths=[8]"], ["seed=5"]):
        theirs = run(tmp_path / "b", *other, "images=640")
        (ours.checkpoints / "last.ckpt").write_bytes((theirs.checkpoints / "last.ckpt").read_bytes())
        with pytest.raises(Mistake, match=r"another network|has seed 5"):
            run(tmp_path / "a")
        assert (ours.folder / "summary.json").read_text() == before


def test_overwriting_moves_nothing_aside_if_the_new_run_cannot_start(tmp_path):
    first = run(tmp_path, "name=x", "images=640")
    with pytest.raises(Mistake, match="missing in"):
        run(tmp_path, "name=x", "overwrite=true", "data=mnist", f"data.root={tmp_path / 'nowhere'}")
    assert first.summary["status"] == "finished"


def test_the_final_score_updates_the_best_checkpoint_if_it_is_the_best(tmp_path):
    fast = [
        "optimizer.generator.lr=1e-3",
        "optimizer.discriminator.lr=1e-3",
        "callback.evaluation.images_between=99999",
    ]
    record = run(tmp_path, *fast, "images=19200")
    assert record.summary["best"]["fid_digits_900_train"]["images"] == 19200
    assert_equal(state(record), state(record, "best"))


def test_a_run_without_checkpoints_has_the_scores_of_one_with_them(plain, tmp_path):
    settings = [override for override in SMALL if not override.startswith("callback.")]
    config = compose([*settings, "callback=[evaluation,journal]", f"outputs={tmp_path / 'without'}"])
    without = train(config, console := Console(file=io.StringIO(), width=200))
    assert without.summary["status"] == "finished"
    assert without.summary["final"] == plain.summary["final"]
    assert "this run cannot be resumed" in console.file.getvalue()


def test_a_lazy_term_is_logged_with_its_last_value(tmp_path):
    record = run(tmp_path, "regularizer=[r1]", "regularizer.discriminator.r1.every=7", "metric=[]")
    assert all("discriminator/r1" in row for row in rows(record) if "discriminator/adversarial" in row)


def test_a_run_is_tracked_offline_if_the_server_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    record = run(tmp_path, "logger=wandb", "logger.mode=online", "logger.timeout=2", "images=640")
    assert "tracked offline" in record.said
    assert record.summary["status"] == "finished"
    assert list((record.folder / "wandb").glob("offline-run-*"))


def test_data_without_an_extractor_train_without_scores_and_with_a_message(tmp_path):
    record = run(tmp_path, "evaluation.extractor=null", "images=640")
    assert "no scores" in record.said
    assert record.summary["final"] == {}
    assert not any("fid" in key for row in record.rows() for key in row)


@pytest.mark.parametrize(
    "overrides",
    [["data=point", "architecture=dirac", "prior.z.dim=1"], ["data=gaussians", "data.number=2000"]],
    ids=str,
)
def test_points_are_trained_scored_and_drawn(tmp_path, overrides):
    small = [o for o in overrides if "dirac" in o]
    overrides = [*overrides, "evaluation.n=500", "images=640"]
    if small:
        from runs import train as _train  # the dirac pieces have no widths

        from saddlepoint.config.compose import compose

        record = _train(compose([o for o in SMALL if "widths" not in o] + overrides + [f"outputs={tmp_path}"]))
    else:
        record = run(tmp_path, *overrides)
    assert record.summary["status"] == "finished"
    assert any(key.startswith("fid_identity_") for key in record.summary["final"])
    assert not any("inception_score" in key for key in record.summary["final"])
    assert all(math.isfinite(score["value"]) for score in record.summary["final"].values())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["images=32"], "batch"),
        (["architecture.generator.latent=50"], "latent"),
        (["architecture.generator.shape=[3,8,8]"], "makes"),
        (["architecture.discriminator.shape=[3,8,8]"], "discriminator does not take"),
        (["architecture=conv28"], "28 x 28"),
        (["device=cuda"], "device=cuda is not available"),
        (["devices=2", "batch=15"], "batch=15, the total of all ranks, is not divisible by 2; try batch=16"),
        (
            ["devices=2", "batch=16", "game.players.discriminator.accumulate=16", "device=cpu"],
            "batch=16 is 8 on each of 2 ranks, which cannot be split in game.players.discriminator.accumulate=16",
        ),
        (["devices=1000", "device=cpu"], "this machine has [0-9]+ of cpu"),
        (["devices=0"], "devices is an integer from 1 on"),
        (["nodes=0"], "nodes is an integer from 1 on"),
        (["nodes=2"], "by torchrun or SLURM"),
        (["trainer.sync_batchnorm=true", "device=cpu"], "works only on GPUs"),
        (["trainer.precision=16-mixed", "device=cpu"], "use bf16-mixed on a CPU"),
        (["compile=inductorr"], "compile=inductorr: true, false, or a backend"),
        (["optimizer.generator.lr=-1"], "optimizer.generator: Invalid learning rate"),
        (["trainer.precision=64-true"], "bf16-mixed"),
        (["callback.checkpoint.images_between=0"], "images_between=0"),
        (["callback.grid.rows=0"], "is empty"),
        (["objective=relativistic", "game.players.generator.multiple=2"], "pairs reals and fakes"),
        (["optimizer.generator.betas=[0.5]"], "optimizer.generator"),
        (["logger=wandb", "logger.mode=loud"], "online, offline"),
        (["game.players.generator.every=0"], "every=0"),
        (["batch=63", "game.players.discriminator.accumulate=2"], "accumulate=2"),
        (
            [
                "data.labels=2",
                "regularizer=[classification]",
                "architecture.discriminator.heads={label: 10}",
                "data.labelled_batch=5",
                "game.players.discriminator.accumulate=2",
            ],
            "labelled_batch=5 cannot be split",
        ),
        (
            ["data.labels=2", "regularizer=[classification]", "architecture.discriminator.heads={label: 5}"],
            "head label has 5 outputs, but the data have 10 classes",
        ),
        (
            ["+layer@architecture.generator.norm=virtual_batch_norm", "architecture.generator.norm.reference=null"],
            "architecture.generator.norm.reference=null: .* is an integer",
        ),
        (["+layer@architecture.discriminator.neck=log_sum_exp"], "layers do not fit as neck or readout"),
        (
            ["regularizer=[feature_matching]", "regularizer.generator.feature_matching.features=3"],
            "has no feature 3",
        ),
        (["objective.discriminator.real_label=null"], "objective.discriminator.real_label=null: .* is a number"),
        (["objective.discriminator.real_label=1.2"], "objective.discriminator: real_label=1.2"),
        (["+layer@architecture.discriminator.neck=minibatch_discrimination", "batch=1"], "batch=1: MinibatchDisc"),
    ],
)
def test_bad_input_is_refused_and_leaves_no_folder(tmp_path, overrides, message):
    if overrides == ["device=cuda"] and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    if overrides == ["architecture=conv28"]:
        from saddlepoint.config.compose import compose
        from saddlepoint.experiment.train import train

        with pytest.raises(Mistake, match=message):
            train(compose([o for o in SMALL if "widths" not in o] + overrides + [f"outputs={tmp_path}"]))
    else:
        with pytest.raises(Mistake, match=message):
            run(tmp_path, *overrides)
    assert not list(tmp_path.glob("*/seed0"))


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match="cannot write"):
        run(tmp_path / "file")


def test_a_full_disk_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    save, calls = torch.save, []

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        save(*args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(Mistake, match=r"No space left on device.*Free some space"):
        run(tmp_path, "metric=[]")
    monkeypatch.undo()
    (folder,) = tmp_path.glob("*/seed0")
    assert Run(folder).summary["status"] == "failed"
    straight = run(tmp_path / "b", "metric=[]")
    assert_equal(state(straight), state(run(tmp_path, "metric=[]")))
