"""Trainings for tests/run/tracking, in a module that other processes can import; and a W&B server."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TINY = ["data=gaussians", "data.number=500", "evaluation.extractor=null", "batch=64", "logger.mode=offline",
        "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]", "name=run",
        "callback=[finite,grid,checkpoint,journal]", "callback.journal.images_between=128",
        "callback.grid.images_between=640", "callback.checkpoint.images_between=640"]  # fmt: skip


def train_run(folder: str | Path, *overrides: str) -> Any:
    """Train TINY with `overrides` into `folder`; return the run, with the terminal output as `.said`."""
    import io

    from rich.console import Console

    from saddlepoint.config.compose import compose
    from saddlepoint.experiment.train import train

    output = io.StringIO()
    console = Console(file=output, width=250)
    run: Any = train(compose([*TINY, f"outputs={folder}", *overrides]), console)
    run.said = output.getvalue()
    return run


def train_and_kill(folder: str, at: int) -> None:
    """Train TINY, and kill the process when the journal writes the row of `at` images."""
    from saddlepoint.run.journal import RunJournal

    log = RunJournal.log_metrics

    def log_metrics(journal: RunJournal, metrics: Any, step: int | None = None) -> None:
        log(journal, metrics, step)
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(RunJournal, "log_metrics", log_metrics)  # noqa: B010
    train_run(folder, "images=1920")


def on_ranks(rank: int, folder: str, port: int) -> list[str]:
    """Train TINY on two ranks; return the ids of this rank's W&B runs."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", GROUP_RANK="0",
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))  # fmt: skip
    ids: list[str] = []
    import wandb

    init = wandb.init
    wandb.init = lambda *args, **settings: (ids.append(settings["id"]), init(*args, **settings))[1]
    train_run(folder, "images=256", "devices=2")
    return ids


class Server:
    """A minimal W&B server; `fault`: none, hang, refuse, or an HTTP status."""

    def __init__(self, fault: str = "none") -> None:
        self.fault, self.rows, self.free = fault, 0, threading.Event()
        if fault == "refuse":  # a port on which nothing listens
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            return
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (Answer,), {"server_of": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()
        if self.fault != "refuse":
            self.http.shutdown()
            self.http.server_close()


ACCOUNT = {"viewer": {"id": "dg==", "username": "me", "entity": "me", "flags": "{}", "teams": {"edges": []}},
           "serverInfo": {"cliVersionInfo": {"max_cli_version": "0.31.0"}, "features": []},
           "model": None, "project": None, "createRunFiles": {"runID": "aQ==", "uploadHeaders": [], "files": []},
           "createArtifact": {"artifact": {"id": "YQ==", "state": "COMMITTED",
                                           "artifactSequence": {"id": "cw==", "latestArtifact": None}}}}  # fmt: skip
PROJECT = {"id": "cA==", "name": "saddlepoint", "entity": {"id": "ZQ==", "name": "me"}}


class Answer(BaseHTTPRequestHandler):
    """The handler of one connection."""

    protocol_version = "HTTP/1.1"
    server_of: Server

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        if self.server_of.fault == "hang":
            self.server_of.free.wait(120)
        elif self.server_of.fault != "none":
            self._reply({"error": "no"}, int(self.server_of.fault))
        elif "file_stream" in self.path:
            self.server_of.rows += request.count('\\"_step\\"')
            self._reply({})
        elif "UpsertBucket" in request:
            name = json.loads(request)["variables"].get("name")
            self._reply({"data": {"upsertBucket": {"bucket": {"id": "aQ==", "name": name, "project": PROJECT,
                                                            "historyLineCount": 0}, "inserted": True}}})  # fmt: skip
        else:
            self._reply({"data": ACCOUNT})

    def do_GET(self) -> None:
        self._reply({})

    def _reply(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


def children(name: str) -> list[int]:
    """Return the child processes of this name, from /proc."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, fields = path.read_text().split(" ", 1)
        except OSError:  # the process has just ended
            continue
        process_name, _, state = fields[1:].rpartition(") ")
        if process_name == name and state[0] != "Z" and state.split()[1] == str(os.getpid()):
            pids.append(int(pid))
    return pids


def becomes_true(seconds: float, condition: Any) -> bool:
    """Whether condition() becomes true within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())
