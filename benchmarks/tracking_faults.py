"""What W&B costs a training when its server fails: seconds at the start, for the rows and at the end.

    python benchmarks/tracking_faults.py [fault ...]

Each line is a training in a new process against a local test server with the fault in the first column, from the start
or (mid) from the middle on. start (import of wandb), rows (all of them) and end are the waiting time of the training
thread; cpu is the CPU time of the background worker's thread, including the start of W&B; fit is the training; exit is
the time until the process ends after it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
FAULTS = ("disabled", "offline", "none", "refuse", "hang", "500", "401",
          "mid 503", "mid hang", "mid 403", "mid core killed")  # fmt: skip
IMAGES, TIMEOUT = 64 * 200, 5.0


def timed(spent: dict[str, float], key: str, call: Any, clock: Any = time.perf_counter) -> Any:
    """Wrap `call` so that its time is added to spent[key]."""

    def timed_call(*args: Any, **kwargs: Any) -> Any:
        began = clock()
        try:
            return call(*args, **kwargs)
        finally:
            spent[key] = spent.get(key, 0.0) + clock() - began

    return timed_call


def measure(fault: str) -> dict[str, Any]:
    """Run one training with this fault in this process."""
    import os
    import signal

    import pytorch_lightning
    from tracking import Server, children, train_run  # from tests/support

    from saddlepoint.run.tracking.background_worker import BackgroundWorker
    from saddlepoint.run.tracking.tracker import Tracker

    mode = fault if fault in ("disabled", "offline") else "online"
    server = Server(fault if mode == "online" and not fault.startswith("mid") else "none")
    os.environ.update(WANDB_BASE_URL=server.url, WANDB_API_KEY="0" * 40)
    os.environ.pop("WANDB_MODE", None)
    spent: dict[str, float] = {}
    log = Tracker._log_row

    def log_with_fault(tracker: Tracker, row: dict[str, Any]) -> None:
        if fault.startswith("mid") and row["images"] >= IMAGES / 2:
            if fault == "mid core killed" and "killed" not in spent:
                spent["killed"] = 1
                for core in children("wandb-core"):
                    os.kill(core, signal.SIGKILL)
            elif fault != "mid core killed":
                server.fault = fault.removeprefix("mid ")
        log(tracker, row)

    Tracker.start = timed(spent, "start", Tracker.start)
    Tracker.close = timed(spent, "end", Tracker.close)
    Tracker.log_metrics = timed(spent, "rows", Tracker.log_metrics)
    Tracker._log_row = log_with_fault
    BackgroundWorker._run_queue = timed(spent, "cpu", BackgroundWorker._run_queue, time.thread_time)
    pytorch_lightning.Trainer.fit = timed(spent, "fit", pytorch_lightning.Trainer.fit)
    with tempfile.TemporaryDirectory() as folder:
        run = train_run(folder, f"images={IMAGES}", f"logger.mode={mode}", f"logger.timeout={TIMEOUT}",
                      "callback.journal.images_between=128", "callback.grid.images_between=1000000",
                      "callback.checkpoint.images_between=6400")  # fmt: skip
        outcome = {"status": run.summary["status"], "kept": count_kept_rows(run, mode)}
        return spent | outcome | {"ended": time.time()}


def count_kept_rows(run: Any, mode: str) -> str:
    """Return how many of the rows of the local journal are in the log of W&B."""
    import contextlib

    import wandb

    from saddlepoint.run.tracking.wandb_log import load_wandb_run

    with contextlib.suppress(OSError):  # the process of wandb may be dead
        wandb.teardown()  # waits until its files are written
    rows = load_wandb_run(run.folder).rows if mode != "disabled" else []
    return f"{sum('samples' not in row for row in rows)}/{len(list(run.rows()))}"


def main() -> None:
    heads = "".join(f"{head:>9}" for head in ("start s", "rows s", "end s", "cpu s", "fit s", "exit s"))
    print(f"{'fault':<16}{heads}  code  rows kept  status")
    for fault in sys.argv[1:] or FAULTS:
        child = subprocess.run([sys.executable, __file__, "--one", fault], capture_output=True, encoding="utf-8")
        exited = time.time()
        outcome = json.loads(next(line for line in child.stdout.splitlines() if line.startswith("{")))
        waits = [outcome.get(key, 0.0) for key in ("start", "rows", "end", "cpu", "fit")]
        numbers = "".join(f"{number:9.3f}" for number in (*waits, exited - outcome["ended"]))
        print(f"{fault:<16}{numbers} {child.returncode:5d} {outcome['kept']:>10}  {outcome['status']}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])), flush=True)
    else:
        main()
