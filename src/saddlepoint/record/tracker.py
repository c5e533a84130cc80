"""Weights & Biases beside the local record: a run's losses, scores, grids, and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from saddlepoint.record.run import Run
from saddlepoint.record.session import Session, fresh_id, quieten, whereabouts


class Tracker(Logger):
    """Everything that a run logs, on the axis `images`; see Session for what `mode` and `timeout` say.

    group      of the runs that belong together; None: the run's name
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
        self.session = Session(mode, project, entity, group, tuple(tags or ()), timeout)
        self._wandb: Any = None

    def start(self, run: Run, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Begin, or go on with, the W&B run of this folder; `say` hears of a server that does not answer."""
        if self.session.resolved == "disabled":
            return
        about = {
            "group": self.session.group or run.folder.parent.name,
            "name": f"{run.folder.parent.name}/{run.folder.name}",
            "id": run.summary.get("wandb_id") or fresh_id(),
            "resume": "allow",
        }
        self._wandb = self.session.begun(run.folder, config, about, say)
        self.id = self._wandb.id
        run.update_summary(wandb_id=self.id)
        self._wandb.define_metric("images")
        self._wandb.define_metric("*", step_metric="images")

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
        return whereabouts(self._wandb)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One row; `step` counts images."""
        if self._wandb is not None:
            self._wandb.log({**metrics, "images": step})

    def log_image(self, key: str, path: Path, step: int) -> None:
        """A picture from disk."""
        if self._wandb is not None:
            import wandb

            self._wandb.log({key: wandb.Image(str(path)), "images": step})

    def alert(self, title: str, text: str) -> None:
        """A warning that W&B sends to whoever asked for such, once a server follows the run."""
        if self._wandb is not None:
            self._wandb.alert(title, text, level="WARN")

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
        logs = self.folder
        self._wandb.finish(exit_code=1 if failed else 0)
        self._wandb = None
        quieten(logs)
