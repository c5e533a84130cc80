"""An account with Weights & Biases: online for those who have logged in, offline for everybody else."""

from __future__ import annotations

import contextlib
import netrc
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from saddlepoint.error import Mistake
from saddlepoint.record.courier import reason
from saddlepoint.record.discretion import discreet

MODES = ("auto", "online", "offline", "disabled")
FLUSHED = 1.0  # seconds until a row is in the file of the run
LONGEST = 64  # characters of a tag: W&B refuses the run for a longer one
Mode = Literal["online", "offline", "disabled"]
Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Session:
    """How W&B runs are begun.

    mode       auto: WANDB_MODE where it is set, else online if an API key is at hand, else offline
    A server that does not answer within `timeout` seconds makes a run an offline one, with a word; at a run's end it
    has as long to take what it has not taken yet, and the rest stays on disk.
    Raises Mistake for an unknown mode.
    """

    mode: str = "auto"
    project: str = "saddlepoint"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Mistake(f"logger.mode={self.mode}: it can be {', '.join(MODES)}")

    @property
    def resolved(self) -> Mode:
        """The mode, auto told."""
        return cast(Mode, resolved_mode() if self.mode == "auto" else self.mode)

    def begun(
        self, folder: Path, config: Mapping[str, Any], about: Mapping[str, Any], say: Callable[[str], None]
    ) -> Any:
        """A W&B run that is kept in `folder`; `about` says its name, and its id where it goes on with one."""
        _settle(folder, self.timeout)
        import wandb

        quiet = wandb.Settings(
            silent=True, console="off", disable_git=True, x_disable_meta=True, init_timeout=self.timeout,
            finish_timeout=max(self.timeout, 1e-3), finish_timeout_raises=True,  # 0 would be: wait for ever
            x_transaction_log_flush_interval=FLUSHED,
        )  # fmt: skip
        told: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group,
            "tags": [tag[:LONGEST] for tag in self.tags],
            "config": dict(config),
            "dir": str(folder),
            "id": fresh_id(),
            "settings": quiet,
            **about,
        }
        before = attempts(folder)
        try:
            return wandb.init(mode=self.resolved, **told)
        except Exception as error:  # many classes, of wandb's and of its network stack: none may end a training
            if self.resolved != "online":
                raise
            say(f"W&B cannot be reached ({reason(error)}); this run is tracked offline")
            _forget()  # else the id is taken, by the attempt that failed
            for path in attempts(folder) - before:
                shutil.rmtree(path, ignore_errors=True)
            return wandb.init(mode="offline", **told)

    def report(
        self,
        folder: Path,
        config: Mapping[str, Any],
        tables: Mapping[str, tuple[Sequence[str], Rows]],
        say: Callable[[str], None],
    ) -> str:
        """Hand in the comparison that lies in `folder`: its tables, (columns, rows) by title, drawings and page.

        It is a W&B run of job type `comparison`, kept in that folder; returns one line, where it is.
        """
        if self.resolved == "disabled":
            return whereabouts(None)
        try:
            return self._reported(folder, config, tables, say)
        except Exception as error:  # the report lies in the folder, whatever W&B says to it
            return f"W&B: {reason(error)}; the report is not there"

    def _reported(
        self,
        folder: Path,
        config: Mapping[str, Any],
        tables: Mapping[str, tuple[Sequence[str], Rows]],
        say: Callable[[str], None],
    ) -> str:
        import wandb

        run = self.begun(folder, config, {"name": folder.name, "job_type": "comparison"}, say)
        told = {title: wandb.Table(list(names), [list(row) for row in rows]) for title, (names, rows) in tables.items()}
        drawn = {path.stem: wandb.Image(str(path)) for path in sorted(folder.glob("*.png"))}
        pages = {path.stem: wandb.Html(path.read_text()) for path in sorted(folder.glob("*.html"))}
        run.log({**told, **drawn, **pages})
        return whereabouts(run, ended(run))


def ended(run: Any, exit_code: int = 0) -> bool:
    """End a W&B run; whether all of it arrived, on the server or in its own files, in the time that it had."""
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return False
    except Exception:  # W&B's own process is gone, and the next run needs one
        abandon()
        raise
    return True


def abandon() -> None:
    """End W&B's own process, which does not end a run, or is dead: W&B would wait for it, or fail, at exit."""
    import wandb

    with contextlib.suppress(Exception):  # names of W&B's own, so they may go; the exit waits then
        service: Any = wandb.setup().assert_service()
        service._proc._process.kill()
    _forget()  # it fails, and the next run has a process of its own


def _forget() -> None:
    """Have W&B forget its own process.  Where that ended badly, W&B would have ours end with its exit code."""
    import wandb

    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()


def attempts(folder: Path) -> set[Path]:
    """Where the W&B runs lie that were begun in `folder`, each start a folder of its own."""
    return set(folder.glob("wandb/*run-*"))


def quieten(folder: Path | None) -> None:
    """Take home folders and secrets out of W&B's own logs in the folder of a run that has ended."""
    for path in folder.glob("logs/*.log") if folder else ():
        with contextlib.suppress(OSError):  # a log is no reason to fail
            path.write_text(discreet(path.read_text(errors="replace")))


def whereabouts(run: Any, arrived: bool = True) -> str:
    """One line: where a W&B run is and how to send up what has not `arrived`; None for one that is not."""
    if run is None:
        return "W&B: not tracked (logger.mode=disabled)"
    if arrived and not run.offline:
        return f"W&B: {run.url}"
    where = "offline; to send it up" if run.offline else f"{run.url}, but not all of it; to send up the rest"
    return f"W&B: {where}: wandb sync {_short(Path(run.dir).parent)}"


def fresh_id() -> str:
    """8 hex that no run has."""
    return uuid.uuid4().hex[:8]


def agents_id() -> str | None:
    """The id that a W&B agent has given to the run that it started, which W&B takes, whatever we say."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def resolved_mode() -> str:
    """What auto means here: WANDB_MODE, else online where there is an API key, else offline."""
    if (mode := os.environ.get("WANDB_MODE")) in MODES[1:]:
        return str(mode)
    return "online" if logged_in() else "offline"


def logged_in() -> bool:
    """Whether an API key is at hand, in the environment or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _settle(folder: Path, timeout: float) -> None:
    """What W&B reads of the environment; whoever has set it keeps it."""
    for name, value in {
        "WANDB_DATA_DIR": str(folder.resolve() / "wandb"),  # else artifacts stage in the home folder
        "WANDB_SILENT": "true",  # the login does not ask the settings of the run
        "WANDB_ERROR_REPORTING": "false",  # it is sent at exit, and a server that hangs then holds the process for 20 s
        "WANDB_HTTP_TIMEOUT": str(max(1, round(timeout))),  # of the request that goes before an artifact
    }.items():
        os.environ.setdefault(name, value)


def _short(path: Path) -> str:
    """A path as one would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
