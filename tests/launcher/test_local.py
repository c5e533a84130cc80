"""A pool of processes: parallelism, accelerators, failures and interrupts."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from saddlepoint.error import Mistake
from saddlepoint.launcher import pool
from saddlepoint.launcher.job import DONE_BEFORE, FAILED, FINISHED, STOPPED, TRAINED_ELSEWHERE, Job
from saddlepoint.launcher.local import Local


def job(folder: Path, label: str, code: str, **settings) -> Job:
    return Job(
        label, [sys.executable, "-c", textwrap.dedent(code)], folder / label, folder / f"{label}.log", 1, **settings
    )


def play(launcher: Local, jobs: list[Job], watch=lambda: None) -> list[str]:
    launcher.run(jobs, watch, seconds_between=0.01)
    return [one.state for one in jobs]


def test_at_most_the_requested_number_of_processes_run_at_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path, str(i), "import time; time.sleep(0.15)") for i in range(5)]
    seen: list[int] = []
    assert (
        play(Local(2, gpus=0), jobs, lambda: seen.append(sum(one.state == "running" for one in jobs))) == [FINISHED] * 5
    )
    assert max(seen) == 2


def test_a_failed_job_does_not_stop_others_and_gives_its_last_message(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "bad", "raise SystemExit('saddlepoint: no such thing')"), job(tmp_path, "good", "")]
    assert play(Local(1, gpus=0), jobs) == [FAILED, FINISHED]
    assert jobs[0].exit_code == 1
    assert jobs[0].last_message == "saddlepoint: no such thing"


def test_a_run_trained_elsewhere_is_no_failure(tmp_path: Path) -> None:
    message = "raise SystemExit('saddlepoint: x is in use: another process is training there. Wait')"
    assert play(Local(1, gpus=0), [job(tmp_path, "held", message)]) == [TRAINED_ELSEWHERE]


def test_a_job_of_another_launcher_is_not_started_and_its_config_not_written(tmp_path: Path) -> None:
    """Two launchers get the same jobs at once: each job is started by one of them, which alone writes its files."""
    wrote: list[str] = []

    def of(launcher: str) -> list[Job]:
        code = f"import time; print({launcher!r}, flush=True); time.sleep(1.5)"
        return [job(tmp_path, str(i), code, write_config=lambda: wrote.append(launcher)) for i in range(2)]

    first, later = of("first"), of("second")
    other = threading.Thread(target=play, args=(Local(1, gpus=0), first))
    other.start()
    while first[0].state == "waiting" or not (tmp_path / "0.log").read_text():
        time.sleep(0.01)
    states = play(Local(1, gpus=0), later)
    other.join()
    assert states == [TRAINED_ELSEWHERE, FINISHED]
    assert later[0].reason.startswith(f"by process {os.getpid()}, since ")
    assert [one.state for one in first] == [FINISHED, TRAINED_ELSEWHERE]
    assert wrote == ["first", "second"]
    assert [(tmp_path / f"{i}.log").read_text().split() for i in range(2)] == [["first"], ["second"]]


def test_the_last_message_of_a_job_is_not_from_an_earlier_attempt(tmp_path: Path) -> None:
    (tmp_path / "silent.log").write_text("saddlepoint: what went wrong the last time\n")
    jobs = [job(tmp_path, "silent", "raise SystemExit(3)")]
    assert play(Local(1, gpus=0), jobs) == [FAILED]
    assert jobs[0].last_message == "it printed nothing"


def test_a_claim_ends_with_the_job_even_if_it_leaves_processes(tmp_path: Path) -> None:
    """As the process of W&B, which keeps the log open for a while after the run."""
    left = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'])"
    for _ in range(2):
        assert play(Local(1, gpus=0), [job(tmp_path, "again", left)]) == [FINISHED]


def test_a_finished_job_is_not_started(tmp_path: Path) -> None:
    assert play(Local(1, gpus=0), [job(tmp_path, "old", "raise SystemExit(1)", state=DONE_BEFORE)]) == [DONE_BEFORE]


def test_a_run_with_two_devices_gets_two_accelerators() -> None:
    pool = Local(gpus=5, devices=2)
    assert pool.processes == 2
    assert [pool.slot_gpus(slot) for slot in range(3)] == [["0", "1"], ["2", "3"], ["0", "1"]]
    assert Local(1, gpus=1, devices=2).slot_gpus(0) == ["0"]  # and says that it has one


def test_accelerators_are_assigned_in_turn_with_the_requested_threads(tmp_path: Path) -> None:
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS']); time.sleep(0.3)"
    jobs = [job(tmp_path, str(i), code) for i in range(4)]
    play(Local(4, threads=3, gpus=2), jobs)
    assert sorted(one.last_message for one in jobs) == ["0 3", "0 3", "1 3", "1 3"]


def test_visible_accelerators_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    launcher = Local()
    assert launcher.gpus == ["3", "5"]
    assert Local(gpus=1).gpus == ["3"]
    assert launcher.processes == 2


def test_without_accelerators_there_are_as_many_processes_as_cores_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert Local(threads=2).processes == 4
    assert Local(threads=16).processes == 1


def test_an_interrupt_stops_every_process_with_time_to_save(tmp_path: Path) -> None:
    code = f"""
        import signal, time, pathlib
        def save(*_):
            pathlib.Path({str(tmp_path)!r}, "saved").write_text("yes")
            raise SystemExit(130)
        signal.signal(signal.SIGTERM, save)
        pathlib.Path({str(tmp_path)!r}, "ready").write_text("")
        time.sleep(30)
    """
    jobs = [job(tmp_path, "long", code), job(tmp_path, "next", "")]

    def interrupt() -> None:
        if (tmp_path / "ready").exists() and jobs[0].state == "running":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(Local(1, gpus=0), jobs, interrupt)
    assert (tmp_path / "saved").exists()
    assert [one.state for one in jobs] == [STOPPED, "waiting"]


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "STOP_TIMEOUT", 0.2)
    deaf = f"""
        import signal, time, pathlib
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(tmp_path)!r}, "ready").write_text("")
        time.sleep(30)
    """
    jobs = [job(tmp_path, "deaf", deaf)]

    def interrupt() -> None:
        if (tmp_path / "ready").exists():
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        play(Local(1, gpus=0), jobs, interrupt)
    assert time.monotonic() - start < 20
    assert jobs[0].exit_code == -signal.SIGKILL


@pytest.mark.parametrize(("ending", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGQUIT", 131)])
def test_ending_the_launcher_ends_all_processes(tmp_path: Path, ending: str, code: int) -> None:
    jobs = [job(tmp_path, "long", "import time; time.sleep(30)"), job(tmp_path, "next", "")]

    def end() -> None:
        if jobs[0].state == "running":
            os.kill(os.getpid(), signal.Signals[ending])

    with pytest.raises(KeyboardInterrupt) as stop:
        play(Local(1, gpus=0), jobs, end)
    assert getattr(stop.value, "exit", None) == code
    assert jobs[0].exit_code == -signal.SIGTERM
    assert signal.getsignal(signal.Signals[ending]) == signal.SIG_DFL


def test_a_second_interrupt_does_not_wait_for_saving(tmp_path: Path) -> None:
    code = f"""
        import signal, sys, time, pathlib
        signals = []
        def save(*_):
            signals.append(1)
            if len(signals) > 1:
                sys.exit(9)
        signal.signal(signal.SIGTERM, save)
        pathlib.Path({str(tmp_path)!r}, "ready").write_text("")
        until = time.monotonic() + 30
        while time.monotonic() < until:
            time.sleep(0.05)
    """
    jobs = [job(tmp_path, "long", code)]

    def interrupt() -> None:
        if (tmp_path / "ready").exists() and jobs[0].state == "running":
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(Local(1, gpus=0), jobs, interrupt)
    assert (jobs[0].exit_code, jobs[0].state) == (9, STOPPED)


def test_a_launcher_that_is_suspended_suspends_its_processes_and_continues_them(tmp_path: Path) -> None:
    """Ctrl-Z and fg."""
    counting = "import time; [(print(i, flush=True), time.sleep(0.02)) for i in range(10**6)]"
    code = f"""
        import sys
        from pathlib import Path
        from saddlepoint.launcher.job import Job
        from saddlepoint.launcher.local import Local
        folder = Path({str(tmp_path)!r})
        job = Job("a", [sys.executable, "-c", {counting!r}], folder / "a", folder / "a.log", 1)
        Local(1, gpus=0).run([job], lambda: None)
    """
    log = tmp_path / "a.log"

    def grows() -> bool:
        before = log.stat().st_size
        time.sleep(0.5)
        return log.stat().st_size > before

    launcher = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], start_new_session=True)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        launcher.send_signal(signal.SIGTSTP)
        time.sleep(0.3)
        assert not grows()
        launcher.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        assert grows()
    finally:
        launcher.terminate()
        assert launcher.wait(30) != 0


@pytest.mark.parametrize(
    "settings",
    [{"processes": 0}, {"threads": 0}, {"gpus": -1}, {"processes": 1.5}, {"gpus": None}, {"threads": "auto"}],
)
def test_an_invalid_number_is_named(settings: dict) -> None:
    with pytest.raises(Mistake, match=f"launcher.{next(iter(settings))}="):
        Local(**settings)


def test_the_progress_of_a_job_is_read_from_its_journal(tmp_path: Path) -> None:
    one = job(tmp_path, "run", "")
    assert one.images_shown == 0
    one.folder.mkdir()
    (one.folder / "metrics.jsonl").write_text('{"images": 64}\n{"images": 128, "a": 1}\n{"images": 19')
    assert one.images_shown == 128


def test_the_rate_of_a_resumed_run_excludes_earlier_images(tmp_path: Path) -> None:
    one = job(tmp_path, "run", "")
    one.folder.mkdir()
    (one.folder / "metrics.jsonl").write_text('{"images": 1000}\n')
    one.mark_started()
    one.started_at -= 10
    assert one.rate == 0
    (one.folder / "metrics.jsonl").write_text('{"images": 1000}\n{"images": 1200}\n')
    assert one.rate == pytest.approx(20, rel=0.01)


def test_submitit_runs_the_same_jobs_through_its_local_executor(tmp_path: Path) -> None:
    from saddlepoint.launcher.submitit import Submitit

    (tmp_path / "name").mkdir()
    code = "import os; print('threads', os.environ['OMP_NUM_THREADS'])"
    jobs = [job(tmp_path / "name", "good", code), job(tmp_path / "name", "bad", "raise SystemExit('wrong')")]
    Submitit(cluster="local", threads=2, minutes=1).run(jobs, lambda: None, seconds_between=0.1)
    assert [one.state for one in jobs] == [FINISHED, FAILED]
    assert [one.last_message for one in jobs] == ["threads 2", "wrong"]
    assert (tmp_path / ".submitit").is_dir()


def test_jobs_for_a_cluster_that_is_not_there_run_here_and_a_line_says_so(tmp_path, capsys) -> None:
    from saddlepoint.launcher.submitit import Submitit

    (tmp_path / "name").mkdir()
    Submitit(minutes=1).run([job(tmp_path / "name", "a", "")], lambda: None, seconds_between=0.1)
    assert capsys.readouterr().err == "launcher=submitit: no SLURM here, so the jobs run on this machine\n"


def test_a_missing_cluster_is_reported(tmp_path: Path) -> None:
    from saddlepoint.launcher.submitit import Submitit

    with pytest.raises(Mistake, match="launcher=submitit"):
        Submitit(cluster="slurm").run([job(tmp_path, "x", "")], lambda: None)


@pytest.mark.parametrize("settings", [{"processes": 0}, {"minutes": "abc"}, {"gpus": -1}, {"threads": 1.5}])
def test_invalid_numbers_for_a_cluster_are_refused(settings: dict) -> None:
    from saddlepoint.launcher.submitit import Submitit

    with pytest.raises(Mistake, match=f"launcher.{next(iter(settings))}="):
        Submitit(**settings)


def test_the_output_of_an_earlier_attempt_stays(tmp_path: Path) -> None:
    for override in ("first", "second"):
        play(Local(1, gpus=0), [job(tmp_path, "again", f"print({override!r})")])
    assert (tmp_path / "again.log").read_text().split() == ["first", "second"]
