"""Weights & Biases beside the local record: online for those who have logged in, offline for everybody else."""

from __future__ import annotations

import netrc
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytorch_lightning.loggers import Logger

from saddlepoint.error import Mistake
from saddlepoint.record.run import Run

MODES = ("auto", "online", "offline", "disabled")


class Tracker(Logger):
    """Everything that a run logs, on the axis `images`.

    mode       auto: WANDB_MODE where it is set, else online if an API key is at hand, else offline
    group      of the runs that belong together; None: the run's name
    A server that cannot be reached within `timeout` seconds makes the run an offline one, with a word.
    Raises Mistake for an unknown mode.
    """

    def __init__(
        self,
        mode: str = "auto",
        project: str = "saddlepoint",
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        timeout: float = 15.0,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise Mistake(f"logger.mode={mode}: it can be {', '.join(MODES)}")
        self.mode: Any = resolved_mode() if mode == "auto" else mode
        self.project, self.entity, self.group, self.tags, self.timeout = (
            project,
            entity,
            group,
            list(tags or []),
            timeout,
        )
        self._wandb: Any = None

    def start(self, run: Run, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Begin, or go on with, the W&B run of this folder; `say` hears of a server that does not answer."""
        if self.mode == "disabled":
            return
        self.id = run.summary.get("wandb_id") or _fresh_id()
        os.environ.setdefault(
            "WANDB_DATA_DIR", str(run.folder.resolve() / "wandb")
        )  # else artifacts stage in the home folder
        about = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group or run.folder.parent.name,
            "name": f"{run.folder.parent.name}/{run.folder.name}",
            "tags": self.tags,
            "config": dict(config),
            "dir": str(run.folder),
            "id": self.id,
            "resume": "allow",
        }
        self._wandb = self._begun(about, say)
        run.update_summary(wandb_id=self.id)
        self._wandb.define_metric("images")
        self._wandb.define_metric("*", step_metric="images")

    def _begun(self, about: dict[str, Any], say: Callable[[str], None]) -> Any:
        import wandb

        quiet = wandb.Settings(
            silent=True, console="off", init_timeout=self.timeout, disable_git=True, x_disable_meta=True
        )
        try:
            return wandb.init(mode=self.mode, settings=quiet, **about)
        except Exception as error:  # many classes, of wandb's and of its network stack: none may end a training
            if self.mode != "online":
                raise
            say(f"W&B cannot be reached ({str(error).splitlines()[0][:100]}); this run is tracked offline")
            self.id = _fresh_id()  # W&B holds the first one for the attempt that failed
            return wandb.init(mode="offline", settings=quiet, **{**about, "id": self.id})

    @property
    def name(self) -> str:
        return "wandb"

    @property
    def version(self) -> str | None:
        return getattr(self, "id", None)

    @property
    def online(self) -> bool:
        """Whether a server follows this run."""
        return self._wandb is not None and not self._wandb.offline

    @property
    def folder(self) -> Path | None:
        """Where W&B keeps this part of the run."""
        return Path(self._wandb.dir).parent if self._wandb is not None else None

    @property
    def whereabouts(self) -> str:
        """One line: where the W&B run is and how to send it up."""
        if self._wandb is None:
            return "W&B: not tracked (logger.mode=disabled)"
        if self.online:
            return f"W&B: {self._wandb.url}"
        return f"W&B: offline; to send it up: wandb sync {_short(self.folder)}"

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One row; `step` counts images."""
        if self._wandb is not None:
            self._wandb.log({**metrics, "images": step})

    def log_image(self, key: str, path: Path, step: int) -> None:
        """A picture from disk."""
        if self._wandb is not None:
            import wandb

            self._wandb.log({key: wandb.Image(str(path)), "images": step})

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The config went with the start of the run."""

    def close(self, summary: Mapping[str, Any], checkpoint: Path | None, failed: bool) -> None:
        """Hand in the summary, the checkpoint as an artifact where a server takes it, and end the W&B run."""
        if self._wandb is None:
            return
        import wandb

        self._wandb.summary.update(dict(summary))
        if self.online and checkpoint is not None and checkpoint.exists():
            artifact = wandb.Artifact(f"checkpoint-{self.id}", type="model")
            artifact.add_file(str(checkpoint))
            self._wandb.log_artifact(artifact)
        self._wandb.finish(exit_code=1 if failed else 0)
        self._wandb = None


def _fresh_id() -> str:
    return uuid.uuid4().hex[:8]


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


def _short(path: Path | None) -> str:
    """A path as one would type it from here."""
    try:
        return str(Path(path or "").relative_to(Path.cwd()))
    except ValueError:
        return str(path)
