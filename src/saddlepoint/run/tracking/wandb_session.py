"""Starting and finishing W&B runs: online if the user has logged in, else offline."""

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
ALIASES = {"run": "online", "dryrun": "offline"}  # older names of modes in W&B
PROJECT = "saddlepoint"  # the default if neither the config nor the W&B settings name one
# W&B settings of the user: setting -> (environment variable, key in a settings file)
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
FLUSH_SECONDS = 1.0  # seconds until a row is written to the file of the run
LOG_WAIT_SECONDS = 2.0  # to wait for the exit record in that file
MAX_LOG_BYTES = 2**23  # a larger file is not read for it
MAX_TAG_LENGTH = 64  # characters of a tag; W&B rejects a run with a longer one
Mode = Literal["online", "offline", "disabled"]


@dataclass(frozen=True)
class WandbSession:
    """Settings of W&B runs.  None or empty: the user's W&B setting (`user_setting`), else a default.

    mode       auto: WANDB_MODE or the mode of a settings file, else online if there is an API key, else offline
    project    the default is "saddlepoint"
    name, group, tags, job_type    the defaults are given to `start_run`
    timeout    seconds; if the server does not answer within them, the run is tracked offline, with a warning.  The
               server has as long at the end of a run to receive the remaining data; the rest stays on disk
    Raises Mistake for an unknown mode, here or in the user's settings.
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
            raise Mistake(f"logger.mode={self.mode}: choose one of {', '.join(MODES)}")
        if self.mode != "disabled":
            user_mode()

    @property
    def resolved_mode(self) -> Mode:
        """The mode, with auto resolved."""
        return cast(Mode, resolve_mode() if self.mode == "auto" else self.mode)

    def start_run(
        self, folder: Path, config: Mapping[str, Any], defaults: Mapping[str, Any], log: Callable[[str], None]
    ) -> Any:
        """Start a W&B run whose files are in `folder`.

        defaults  the id of a run to resume; additional tags; and the name, group and job type that are used if neither
                  this session nor the user sets them
        """
        _set_environment(folder, self.timeout)
        import wandb

        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, x_disable_meta=True, host="", init_timeout=self.timeout,
            finish_timeout=max(self.timeout, 1e-3), finish_timeout_raises=True,  # 0 would wait forever
            x_transaction_log_flush_interval=FLUSH_SECONDS,
        )  # fmt: skip
        arguments: dict[str, Any] = {
            **defaults,
            "project": self.project or user_setting("project") or PROJECT,
            "entity": self.entity or user_setting("entity"),
            **{
                key: getattr(self, key) or user_setting(key) or defaults.get(key)
                for key in ("name", "group", "job_type")
            },
            "tags": list(
                dict.fromkeys(tag[:MAX_TAG_LENGTH] for tag in (*(self.tags or user_tags()), *defaults.get("tags", ())))
            ),
            "config": dict(config),
            "dir": str(folder),
            "id": defaults.get("id") or new_run_id(),
            "settings": settings,
        }
        old_folders = wandb_run_folders(folder)
        try:
            return wandb.init(mode=self.resolved_mode, **arguments)
        except Exception as error:  # wandb and its network stack raise many classes; none may end the training
            if self.resolved_mode != "online":
                raise
            log(f"W&B cannot be reached ({error_summary(error)}); this run is tracked offline")
            _teardown_wandb()  # otherwise the failed attempt keeps the id
            for path in wandb_run_folders(folder) - old_folders:
                shutil.rmtree(path, ignore_errors=True)
            return wandb.init(mode="offline", **arguments)

    def log_comparison(
        self,
        folder: Path,
        config: Mapping[str, Any],
        tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]],
        log: Callable[[str], None],
    ) -> str:
        """Log the comparison in `folder` as a W&B run of job type `comparison`: its tables, plots and page.

        tables  (columns, rows) by title
        Returns one line: where the W&B run is.
        """
        if self.resolved_mode == "disabled":
            return format_whereabouts(None)
        try:
            import wandb

            run = self.start_run(folder, config, {"name": folder.name, "job_type": "comparison"}, log)
            wandb_tables = {
                title: wandb.Table(list(names), list(map(list, rows))) for title, (names, rows) in tables.items()
            }
            plots = {path.stem: wandb.Image(str(path)) for path in sorted(folder.glob("*.png"))}
            pages = {path.stem: wandb.Html(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.html"))}
            run.log({**wandb_tables, **plots, **pages})
            return format_whereabouts(run, finish_run(run))
        except Exception as error:  # the report is in the folder in any case
            return f"W&B: {error_summary(error)}; the report was not logged"


def finish_run(run: Any, exit_code: int = 0) -> bool:
    """Finish a W&B run; return whether all data arrived in time, on the server or, offline, in the run's files."""
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return False
    except Exception:  # the process of W&B has died, and the next run needs a new one
        kill_wandb_service()
        raise
    _await_log(run)
    return True


def _await_log(run: Any) -> None:
    """Wait at most two seconds until the run's log has the exit record, which the process of W&B writes a little later.

    A log of more than 8 MB is not read for this.
    """
    folder = getattr(run, "dir", None)
    logs = list(Path(folder).parent.glob("run-*.wandb")) if isinstance(folder, str) else []
    deadline = time.monotonic() + LOG_WAIT_SECONDS
    while logs and time.monotonic() < deadline:
        with contextlib.suppress(Mistake, OSError):  # an incomplete record
            if logs[0].stat().st_size > MAX_LOG_BYTES or load_part(logs[0]).exit is not None:
                return
        time.sleep(0.02)


def kill_wandb_service() -> None:
    """Kill the process of W&B, which hangs or has died; otherwise wandb would wait for it, or fail, at exit."""
    import wandb

    with contextlib.suppress(Exception):  # private names of wandb, which may change; then the exit waits
        service: Any = wandb.setup().assert_service()
        service._proc._process.kill()
    _teardown_wandb()  # it fails, and the next run starts a new process


def _teardown_wandb() -> None:
    """Call wandb.teardown; suppresses its SystemExit, because wandb exits with the exit code of its process."""
    import wandb

    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()


def wandb_run_folders(folder: Path) -> set[Path]:
    """Return the folders of the W&B runs in `folder`, one per start."""
    return set(folder.glob("wandb/*run-*"))


def redact_wandb_logs(folder: Path | None) -> None:
    """Redact home folders and secrets in W&B's own logs of a finished run."""
    for path in folder.glob("logs/*.log") if folder else ():
        with contextlib.suppress(OSError):  # a log must not make the run fail
            path.write_text(redact(path.read_text(encoding="utf-8", errors="replace")), encoding="utf-8")


def format_whereabouts(run: Any, finished_in_time: bool = True) -> str:
    """Return one line: where a W&B run is, and how to upload it if not all has `arrived`.  run None: not tracked."""
    if run is None:
        return "W&B: not tracked (logger.mode=disabled)"
    if finished_in_time and not run.offline:
        return f"W&B: {run.url}"
    state = "offline; to upload it" if run.offline else f"{run.url}, but not all of it; to upload the rest"
    folder, cwd = Path(run.dir).parent, Path.cwd()
    return f"W&B: {state}: wandb sync {folder.relative_to(cwd) if folder.is_relative_to(cwd) else folder}"


def new_run_id() -> str:
    """Return a random id of 8 hexadecimal digits."""
    return uuid.uuid4().hex[:8]


def agent_run_id() -> str | None:
    """Return the id that a W&B sweep agent has set; wandb uses it instead of any other id."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def resolve_mode() -> str:
    """Resolve mode auto: the user's W&B setting, else online if there is an API key, else offline."""
    return user_mode() or ("online" if is_logged_in() else "offline")


def user_setting(name: str) -> str | None:
    """Return a W&B setting of the user: from the environment, else wandb/settings here, else the user's settings."""
    return _find_setting(name)[0]


def user_mode() -> str | None:
    """Return the user's W&B mode under its current name.  Raises Mistake for an unknown mode."""
    name, source = _find_setting("mode")
    if name is None or (mode := ALIASES.get(name, name)) == "auto":
        return None
    if mode not in MODES:
        raise Mistake(f"{source}={name}: choose one of {', '.join(MODES[1:])}.{did_you_mean(name, MODES[1:])}")
    return mode


def user_tags() -> list[str]:
    """Return the user's W&B tags."""
    return [tag for text in (user_setting("tags") or "").strip("[]").split(",") if (tag := text.strip().strip("\"'"))]


def _find_setting(name: str) -> tuple[str | None, str]:
    """Return a user's setting and its source: an environment variable, or a settings file and key."""
    variable, key = USER_SETTINGS[name]
    if value := os.environ.get(variable, "").strip():
        return value, variable
    for path in _settings_files():
        parser = configparser.ConfigParser(interpolation=None)
        with contextlib.suppress(OSError, UnicodeDecodeError, configparser.Error):  # wandb reports a damaged file
            parser.read(path, encoding="utf-8")
            if value := parser.get("default", key, fallback="").strip():
                return value, f"{path}: {key}"
    return None, ""


def _settings_files() -> list[Path]:
    """Return the paths of W&B's settings files in order of precedence: of the working directory and of the user."""
    here = Path(os.environ.get("WANDB_DIR") or ".").expanduser()
    local = next((here / name for name in (".wandb", "wandb") if (here / name).is_dir()), here / "wandb")
    user_folder = Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb")
    with contextlib.suppress(RuntimeError):  # a user without a home folder
        return [local / "settings", user_folder.expanduser() / "settings"]
    return [local / "settings"]


def is_logged_in() -> bool:
    """Whether there is an API key, in the environment or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(user_setting("base_url") or "https://api.wandb.ai").hostname or ""
    path = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _set_environment(folder: Path, timeout: float) -> None:
    """Set environment variables that wandb reads, unless the user has set them."""
    for name, value in {
        "WANDB_DATA_DIR": str(folder.resolve() / "wandb"),  # the default for artifacts is the home folder
        "WANDB_SILENT": "true",  # the login ignores the settings of the run
        "WANDB_ERROR_REPORTING": "false",  # sent at exit; a server that hangs would delay the exit by 20 s
        "WANDB_HTTP_TIMEOUT": str(max(1, round(timeout))),  # of the request before an artifact
    }.items():
        os.environ.setdefault(name, value)
