"""An account with Weights & Biases: online for those who have logged in, offline for everybody else."""

import configparser
import contextlib
import netrc
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.redaction import redact
from saddlepoint.run.tracking.background_worker import error_summary
from saddlepoint.run.tracking.wandb_log import load_part

MODES = ("auto", "online", "offline", "disabled")
ALIASES = {"run": "online", "dryrun": "offline"}  # W&B's older names of modes
PROJECT = "saddlepoint"  # where neither the config nor W&B's own settings name one
# what a user of W&B may have set: setting -> (variable, key in a settings file)
USER_SETTINGS = {
    "project": ("WANDB_PROJECT", "project"),
    "entity": ("WANDB_ENTITY", "entity"),
    "group": ("WANDB_RUN_GROUP", "run_group"),
    "name": ("WANDB_NAME", "run_name"),
    "job_type": ("WANDB_JOB_TYPE", "run_job_type"),
    "tags": ("WANDB_TAGS", "run_tags"),
    "mode": ("WANDB_MODE", "mode"),
    "base_url": ("WANDB_BASE_URL", "base_url"),
}
FLUSHED = 1.0  # seconds until a row is in the file of the run
LOG_WAIT_SECONDS, READ = (
    2.0,
    2**23,
)  # seconds that a run's end may take to be in that file; bytes of a file that is read for it
LONGEST = 64  # characters of a tag: W&B refuses the run for a longer one
Mode = Literal["online", "offline", "disabled"]


@dataclass(frozen=True)
class WandbSession:
    """How W&B runs are begun.  What is None, or empty, is as the user of W&B has set it (`theirs`), else ours.

    mode       auto: WANDB_MODE or the mode of a settings file, else online if an API key is at hand, else offline
    project    None: theirs, else "saddlepoint"
    name, group, tags, job_type    None or (): theirs, else what `begun` is told
    A server that does not answer within `timeout` seconds makes a run an offline one, with a word; at a run's end it
    has as long to take what it has not taken yet, and the rest stays on disk.
    Raises Mistake for an unknown mode, here or in what the user has set.
    """

    mode: str = "auto"
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    timeout: float = 15.0
    name: str | None = None
    job_type: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Mistake(f"logger.mode={self.mode}: it can be {', '.join(MODES)}")
        if self.mode != "disabled":
            user_mode()

    @property
    def resolved_mode(self) -> Mode:
        """The mode, auto told."""
        return cast(Mode, resolve_mode() if self.mode == "auto" else self.mode)

    def start_run(
        self, folder: Path, config: Mapping[str, Any], about: Mapping[str, Any], log: Callable[[str], None]
    ) -> Any:
        """A W&B run that is kept in `folder`.

        `about` says its id where it goes on with one, tags that it has in any case, and the name, group and job type
        that it has where neither this session nor the user names them.
        """
        _settle(folder, self.timeout)
        import wandb

        quiet = wandb.Settings(
            silent=True, console="off", disable_git=True, x_disable_meta=True, host="", init_timeout=self.timeout,
            finish_timeout=max(self.timeout, 1e-3), finish_timeout_raises=True,  # 0 would be: wait for ever
            x_transaction_log_flush_interval=FLUSHED,
        )  # fmt: skip
        told: dict[str, Any] = {
            **about,
            "project": self.project or user_setting("project") or PROJECT,
            "entity": self.entity or user_setting("entity"),
            **{key: getattr(self, key) or user_setting(key) or about.get(key) for key in ("name", "group", "job_type")},
            "tags": list(dict.fromkeys(tag[:LONGEST] for tag in (*(self.tags or user_tags()), *about.get("tags", ())))),
            "config": dict(config),
            "dir": str(folder),
            "id": about.get("id") or new_run_id(),
            "settings": quiet,
        }
        before = wandb_run_folders(folder)
        try:
            return wandb.init(mode=self.resolved_mode, **told)
        except Exception as error:  # many classes, of wandb's and of its network stack: none may end a training
            if self.resolved_mode != "online":
                raise
            log(f"W&B cannot be reached ({error_summary(error)}); this run is tracked offline")
            _forget()  # else the id is taken, by the attempt that failed
            for path in wandb_run_folders(folder) - before:
                shutil.rmtree(path, ignore_errors=True)
            return wandb.init(mode="offline", **told)

    def log_comparison(
        self,
        folder: Path,
        config: Mapping[str, Any],
        tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]],
        log: Callable[[str], None],
    ) -> str:
        """Hand in the comparison that lies in `folder`: its tables, (columns, rows) by title, drawings and page.

        It is a W&B run of job type `comparison`, kept in that folder; returns one line, where it is.
        """
        if self.resolved_mode == "disabled":
            return format_whereabouts(None)
        try:
            import wandb

            run = self.start_run(folder, config, {"name": folder.name, "job_type": "comparison"}, log)
            told = {title: wandb.Table(list(names), list(map(list, rows))) for title, (names, rows) in tables.items()}
            drawn = {path.stem: wandb.Image(str(path)) for path in sorted(folder.glob("*.png"))}
            pages = {path.stem: wandb.Html(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.html"))}
            run.log({**told, **drawn, **pages})
            return format_whereabouts(run, finish_run(run))
        except Exception as error:  # the report lies in the folder, whatever W&B says to it
            return f"W&B: {error_summary(error)}; the report is not there"


def finish_run(run: Any, exit_code: int = 0) -> bool:
    """End a W&B run; whether all of it arrived, on the server or in its own files, in the time that it had."""
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return False
    except Exception:  # W&B's own process is gone, and the next run needs one
        kill_wandb_service()
        raise
    _await_log(run)
    return True


def _await_log(run: Any) -> None:
    """Wait, two seconds at most, until the run's own log holds its end: W&B's process may write it a moment later.

    A log of more than 8 MB is not read for it.
    """
    folder = getattr(run, "dir", None)
    logs = list(Path(folder).parent.glob("run-*.wandb")) if isinstance(folder, str) else []
    until = time.monotonic() + LOG_WAIT_SECONDS
    while logs and time.monotonic() < until:
        with contextlib.suppress(Mistake, OSError):  # half a record
            if logs[0].stat().st_size > READ or load_part(logs[0]).exit is not None:
                return
        time.sleep(0.02)


def kill_wandb_service() -> None:
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


def wandb_run_folders(folder: Path) -> set[Path]:
    """Where the W&B runs lie that were begun in `folder`, each start a folder of its own."""
    return set(folder.glob("wandb/*run-*"))


def redact_wandb_logs(folder: Path | None) -> None:
    """Take home folders and secrets out of W&B's own logs in the folder of a run that has ended."""
    for path in folder.glob("logs/*.log") if folder else ():
        with contextlib.suppress(OSError):  # a log is no reason to fail
            path.write_text(redact(path.read_text(encoding="utf-8", errors="replace")), encoding="utf-8")


def format_whereabouts(run: Any, arrived: bool = True) -> str:
    """One line: where a W&B run is and how to send up what has not `arrived`; None for one that is not."""
    if run is None:
        return "W&B: not tracked (logger.mode=disabled)"
    if arrived and not run.offline:
        return f"W&B: {run.url}"
    where = "offline; to send it up" if run.offline else f"{run.url}, but not all of it; to send up the rest"
    folder, here = Path(run.dir).parent, Path.cwd()
    return f"W&B: {where}: wandb sync {folder.relative_to(here) if folder.is_relative_to(here) else folder}"


def new_run_id() -> str:
    """8 hex that no run has."""
    return uuid.uuid4().hex[:8]


def agent_run_id() -> str | None:
    """The id that a W&B agent has given to the run that it started, which W&B takes, whatever we say."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def resolve_mode() -> str:
    """What auto means here: what the user of W&B has set, else online where there is an API key, else offline."""
    return user_mode() or ("online" if is_logged_in() else "offline")


def user_setting(setting: str) -> str | None:
    """What the user of W&B has set: in the environment, else in wandb/settings here, else in that of the user."""
    return _found(setting)[0]


def user_mode() -> str | None:
    """The mode that the user of W&B has set, by its present name.  Raises Mistake for one that there is none of."""
    said, where = _found("mode")
    if said is None or (mode := ALIASES.get(said, said)) == "auto":
        return None
    if mode not in MODES:
        raise Mistake(f"{where}={said}: it can be {', '.join(MODES[1:])}.{did_you_mean(said, MODES[1:])}")
    return mode


def user_tags() -> list[str]:
    """The tags that the user of W&B has set."""
    return [tag for part in (user_setting("tags") or "").strip("[]").split(",") if (tag := part.strip().strip("\"'"))]


def _found(setting: str) -> tuple[str | None, str]:
    """What the user has set, and where: a variable, or a key and the file that it stands in."""
    variable, key = USER_SETTINGS[setting]
    if value := os.environ.get(variable, "").strip():
        return value, variable
    for path in _settings_files():
        parser = configparser.ConfigParser(interpolation=None)
        with contextlib.suppress(OSError, UnicodeDecodeError, configparser.Error):  # of W&B's to complain about
            parser.read(path, encoding="utf-8")
            if value := parser.get("default", key, fallback="").strip():
                return value, f"{path}: {key}"
    return None, ""


def _settings_files() -> list[Path]:
    """W&B's settings files, the one that counts first: of the folder that one stands in, and of the user."""
    here = Path(os.environ.get("WANDB_DIR") or ".").expanduser()
    local = next((here / name for name in (".wandb", "wandb") if (here / name).is_dir()), here / "wandb")
    of_user = Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb")
    with contextlib.suppress(RuntimeError):  # a user without a home
        return [local / "settings", of_user.expanduser() / "settings"]
    return [local / "settings"]


def is_logged_in() -> bool:
    """Whether an API key is at hand, in the environment or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(user_setting("base_url") or "https://api.wandb.ai").hostname or ""
    path = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))
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
