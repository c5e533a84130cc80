"""Full and read-only disks, non-finite terms, lost ranks, concurrent processes: the errors, and the files kept."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from crashed import PLAIN, run_result, train_run

from saddlepoint.callback.finite import Diverged
from saddlepoint.error import Mistake
from saddlepoint.run.checkpoint import load_checkpoint
from saddlepoint.run.folder import Run

WIDE = ["data=digits", "architecture=mlp", "architecture.generator.widths=[64]", "name=run", "logger=none", "batch=16",
        "architecture.discriminator.widths=[64]", "callback=[finite,checkpoint]", "evaluation.extractor=null",
        "callback.checkpoint.images_between=32"]  # fmt: skip


@contextmanager
def small_disk(folder, size="2m"):
    """Mount a small file system at `folder`; skips the test if it cannot be mounted."""
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def last_good_images(folder):
    """Load the last checkpoint and return its images."""
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")["saddlepoint"]["images"]


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk_is_reported_in_bytes_and_the_same_command_resumes_once_there_is_space(tmp_path):
    straight = run_result(train_run([*WIDE, "images=96"], tmp_path / "straight"))
    with small_disk(tmp_path / "disk") as disk:
        folder = train_run([*WIDE, "images=64"], disk)
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(2**21))
        with pytest.raises(Mistake, match=r"No space left on device \(it takes [\d,]+ bytes, [\d,]+ are free\)"):
            train_run([*WIDE, "images=96"], disk)
        assert last_good_images(folder) == 64
        ballast.unlink()
        train_run([*WIDE, "images=96"], disk)
        assert run_result(folder)[0]["last.ckpt"] == straight[0]["last.ckpt"]
        assert list(folder.rglob(".*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_folder_that_becomes_read_only_is_named_and_its_content_is_kept(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        folder = train_run([*WIDE, "images=64"], disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(Mistake, match=r"cannot write .*run.*Read-only file system"):
            train_run([*WIDE, "images=96"], disk)
        assert last_good_images(folder) == 64


@pytest.mark.parametrize("call", [1, 4, 7, 9, 10])
def test_no_space_at_any_sync_to_disk_raises_mistake_and_the_run_resumes(tmp_path, call, monkeypatch):
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if len(calls) >= call:
            raise OSError(28, os.strerror(28))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Mistake, match="No space left on device"):
        train_run(PLAIN, tmp_path)
    monkeypatch.undo()
    folder = train_run(PLAIN, tmp_path)
    assert run_result(folder)[2]["status"] == "finished"
    assert list(folder.rglob(".*")) == []


TERMS = {  # player/term -> the overrides that add it
    "discriminator/adversarial": [],
    "generator/adversarial": [],
    "discriminator/r1": ["regularizer=[r1]"],
    "discriminator/r2": ["regularizer=[r2]"],
    "discriminator/gradient_penalty": ["regularizer=[gradient_penalty]"],
    "discriminator/historical_averaging": ["regularizer=[historical_averaging]"],
    "generator/historical_averaging": ["regularizer=[historical_averaging]"],
    "generator/feature_matching": ["regularizer=[feature_matching]"],
    "discriminator/classification": [
        "regularizer=[classification]", "data.labels=2", "architecture.discriminator.heads={label: 10}"
    ],
}  # fmt: skip


PLANTED = [pytest.param(term, "two_player", id=term) for term in TERMS] + [
    pytest.param(term, "simultaneous", id=f"{term}, simultaneous", marks=[pytest.mark.slow] * (i > 1))
    for i, term in enumerate(TERMS)
]


@pytest.mark.parametrize(("term", "game"), PLANTED)
def test_a_non_finite_term_is_named(term, game, tmp_path, monkeypatch):
    from saddlepoint.game.player import Player

    original, (name, term_name) = Player.losses, term.split("/")

    def losses(self, turn, number, *drawn):
        losses_by_term = original(self, turn, number, *drawn)
        player = (
            "generator"
            if self.network is turn.player.network and "real" not in self.adversarial_terms[0].sides
            else "discriminator"
        )
        if turn.images >= 48 and player == name and term_name in losses_by_term:
            losses_by_term[term_name] = losses_by_term[term_name] * float("nan")
        return losses_by_term

    monkeypatch.setattr(Player, "losses", losses)
    overrides = [*WIDE, *TERMS[term], f"game={game}", "images=96"]
    with pytest.raises(Diverged, match=rf"diverged: {term} = nan in round 4, after 48 images") as stopped:
        train_run(overrides, tmp_path)
    folder = tmp_path / "run" / "seed0"
    assert last_good_images(folder) == 32
    assert all(torch.isfinite(v).all() for v in load_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"].values()
               if isinstance(v, torch.Tensor))  # fmt: skip
    assert (Run(folder).summary["status"], Run(folder).summary["exit"]) == ("diverged", 1)
    assert f"saddlepoint replay dump={folder}/dumps/48.pt" in str(stopped.value)


def test_a_live_process_locks_its_folder_and_a_killed_one_does_not(tmp_path):
    ready, write_end = os.pipe()
    run = Run(tmp_path / "run" / "seed0")
    if (child := os.fork()) == 0:
        try:
            with run.lock():
                os.write(write_end, b"x")
                time.sleep(60)
        finally:
            os._exit(0)
    assert os.read(ready, 1) == b"x"
    assert run.in_use
    with pytest.raises(Mistake, match="is in use: another process is training there"):
        train_run(PLAIN, tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not run.in_use
    assert run_result(train_run(PLAIN, tmp_path))[2]["status"] == "finished"
    os.close(ready)
    os.close(write_end)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds its ranks in /proc")
def test_a_killed_rank_stops_the_other_and_the_same_command_resumes(tmp_path):
    overrides = [
        *WIDE,
        "images=200_000",
        "devices=2",
        "device=cpu",
        f"outputs={tmp_path}",
        "callback=[finite,checkpoint]",
    ]
    command = [sys.executable, "-m", "saddlepoint", "train", *overrides]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    last = tmp_path / "run/seed0/checkpoints/last.ckpt"
    until = time.monotonic() + 200
    while not last.exists() and time.monotonic() < until:
        time.sleep(0.2)
    rank = {number: pid for pid, number in ranks_of(started.pid)}
    killed = time.monotonic()
    os.kill(rank["1"], signal.SIGKILL)
    message = started.communicate(timeout=60)[1]
    assert time.monotonic() - killed < 20
    assert started.returncode not in (0, None)
    assert "rank 1 of 2 was killed by SIGKILL; the others are stopped" in message, message
    assert not Path(f"/proc/{rank['0']}").exists()
    reached = last_good_images(tmp_path / "run" / "seed0")
    more = [override if not override.startswith("images=") else f"images={reached + 320}" for override in overrides]
    assert subprocess.run([*command[:4], *more], timeout=250).returncode == 0
    assert last_good_images(tmp_path / "run" / "seed0") == reached + 320


def ranks_of(supervisor):
    """Yield the child processes of a supervisor, and their RANK."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"PPid:\t{supervisor}\n" in (folder / "status").read_text():
                    environment = dict(
                        entry.split("=", 1) for entry in (folder / "environ").read_text().split("\0") if "=" in entry
                    )
                    yield int(folder.name), environment.get("RANK")
            except OSError:  # the process has ended
                continue
