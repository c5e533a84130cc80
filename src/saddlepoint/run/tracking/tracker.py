"""The logger for Weights & Biases: losses, scores, grids and the summary of a run.

All calls to W&B are made in a background thread (see BackgroundWorker): docs/tracking.md, Faults.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from saddlepoint.run.folder import Run
from saddlepoint.run.journal import RunLogger
from saddlepoint.run.tracking.background_worker import BackgroundWorker
from saddlepoint.run.tracking.wandb_log import RESUMED_AT_IMAGES, find_missing_rows
from saddlepoint.run.tracking.wandb_session import (
    WandbSession,
    agent_run_id,
    finish_run,
    format_whereabouts,
    kill_wandb_service,
    new_run_id,
    redact_wandb_logs,
)

GRACE = 20.0  # seconds added to the server timeouts, for W&B's process to start and to write its files


class Tracker(RunLogger):
    """Logs everything of a run to W&B, with `images` as the x-axis.

    An argument that is None or [] is as set in W&B's environment variables, else:

    name       <run>/<seed>
    project    saddlepoint
    entity     the default account
    group      the run's name
    tags       none; in any case the components are tags too (`component_tags`)
    job_type   train
    mode, timeout    see WandbSession
    Raises Mistake for an unknown mode.
    """

    label = "wandb"

    def __init__(
        self,
        mode: str = "auto",
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        timeout: float = 15.0,
        name: str | None = None,
        job_type: str | None = None,
    ) -> None:
        super().__init__()
        self.session = WandbSession(mode, project, entity, group, tuple(tags or ()), timeout, name, job_type)
        self.id: str | None = None
        self.whereabouts = format_whereabouts(None)  # a message: where the log is, and how to upload it
        self._worker: BackgroundWorker | None = None
        self._wandb: Any = None  # used only in the worker thread

    def start(self, run: Run, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
        """Start or resume the W&B run of this folder; `log` is called if the server does not answer."""
        if self.session.resolved_mode == "disabled":
            return
        previous_id = run.summary.get("wandb_id")
        self.id = agent_run_id() or previous_id or new_run_id()
        run.update_summary(wandb_id=self.id)
        defaults = {
            "group": run.folder.parent.name,
            "name": f"{run.folder.parent.name}/{run.folder.name}",
            "job_type": "train",
            "tags": component_tags(config),
            "id": self.id,
            "resume": "allow",
        }
        wandb_config = {**config, RESUMED_AT_IMAGES: run.summary.get("images", 0)}
        previous_rows = list(run.rows()) if previous_id else []
        self.whereabouts = "W&B: not tracked"  # until the run has started
        import_module("wandb")  # here, because two threads that import it at once may see a partly initialised module
        self._worker = BackgroundWorker("W&B", log)
        self._worker.submit(partial(self._start_run, run.folder, wandb_config, defaults, previous_rows, log))

    @property
    def version(self) -> str | None:
        return self.id

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log one row; `step` is the number of images."""
        row = {**metrics, "images": step}
        self._submit_to_wandb(lambda _: self._log_row(row))

    def log_image(self, key: str, path: Path, step: int, others: Mapping[str, Path] | None = None) -> None:
        """Log the image file `path` as `key`, and `others` by their keys, in one row."""
        pictures = {key: path, **(others or {})}
        self._submit_to_wandb(
            lambda _: self._log_row(
                {name: _wandb_media("Image", file) for name, file in pictures.items()} | {"images": step}
            )
        )

    def log_sound(self, key: str, path: Path, step: int) -> None:
        """Log the wav file `path` as `key`."""
        self._submit_to_wandb(lambda _: self._log_row({key: _wandb_media("Audio", path), "images": step}))

    def log_animation(self, key: str, path: Path) -> None:
        """Put the GIF file `path` into the summary."""
        self._submit_to_wandb(
            lambda wandb_run: wandb_run.summary.update({key: _wandb_media("Video", path, format="gif")})
        )

    def alert(self, title: str, text: str) -> None:
        """Send a W&B alert with level WARN; an offline run sends none."""
        self._submit_to_wandb(lambda wandb_run: wandb_run.alert(title, text, level="WARN"))

    def close(self, summary: Mapping[str, Any], checkpoint: Path | None, failed: bool) -> None:
        """Log the summary, upload the checkpoint as an artifact if the run is online, and finish the W&B run.

        This takes at most 3 * timeout + GRACE seconds: the server's timeout at the start, for the artifact and at the
        end.
        """
        if self._worker is None:
            return
        values = dict(summary)
        self._submit_to_wandb(lambda wandb_run: wandb_run.summary.update(values))
        self._submit_to_wandb(lambda wandb_run: self._log_artifacts(wandb_run, checkpoint))
        self._submit_to_wandb(lambda wandb_run: self._finish_wandb_run(wandb_run, failed))
        worker, self._worker = self._worker, None
        try:
            is_finished = worker.finish(3 * self.session.timeout + GRACE)
        except KeyboardInterrupt:  # interrupted while waiting: the local record is complete in any case
            is_finished = False
        if not is_finished:
            kill_wandb_service()
            self.whereabouts = "W&B did not finish in time; the data of this run are in wandb/ in the run folder"

    def _submit_to_wandb(self, call: Callable[[Any], object]) -> None:
        """Submit a call with the W&B run as argument; it is skipped if there is no W&B run when it is executed."""
        if self._worker is not None:
            self._worker.submit(lambda: call(self._wandb) if self._wandb is not None else None)

    # -------------------------------------------------------------------------------------- in the worker thread

    def _start_run(
        self,
        folder: Path,
        config: Mapping[str, Any],
        defaults: Mapping[str, Any],
        previous_rows: list[dict[str, Any]],
        log: Callable[[str], None],
    ) -> None:
        missing = find_missing_rows(folder, defaults["id"], previous_rows) if previous_rows else []
        self._wandb = self.session.start_run(folder, config, defaults, log)
        self._wandb.define_metric("images")
        self._wandb.define_metric("*", step_metric="images")
        for row in missing:
            self._log_row(row)

    def _log_row(self, row: dict[str, Any]) -> None:
        self._wandb.log(row)

    def _log_artifacts(self, wandb_run: Any, checkpoint: Path | None) -> None:
        if wandb_run.offline or checkpoint is None or not checkpoint.exists():
            return
        import wandb

        best = checkpoint.with_name("best.ckpt")
        for path, aliases in ((best, ["best"]), (checkpoint, ["latest"])):  # two versions of the same artifact
            if path.exists():
                artifact = wandb.Artifact(f"checkpoint-{self.id}", type="model")
                artifact.add_file(str(path))
                wandb_run.log_artifact(artifact, aliases=aliases)

    def _finish_wandb_run(self, wandb_run: Any, failed: bool) -> None:
        self._wandb = None
        self.whereabouts = format_whereabouts(wandb_run, finished_in_time=False)
        self.whereabouts = format_whereabouts(wandb_run, finish_run(wandb_run, exit_code=1 if failed else 0))
        redact_wandb_logs(Path(wandb_run.dir).parent)


def component_tags(config: Mapping[str, Any]) -> list[str]:
    """Return the components of a run as tags: its data, architecture, objective and regularizers."""
    choices = config.get("choice") or {}
    values = (choices.get(group) for group in ("data", "architecture", "objective", "regularizer"))
    return [str(name) for names in values for name in (names if isinstance(names, list) else [names]) if name]


def _wandb_media(kind: str, path: Path, **options: str) -> Any:
    return getattr(import_module("wandb"), kind)(str(path), **options)
