"""Weights & Biases beside the local record: a run's losses, scores, grids, and its end.

It is spoken to by a thread of its own (see Courier), from the first word to the last: docs/tracking.md, Faults.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from saddlepoint.run.folder import Run
from saddlepoint.run.journal import RunLogger
from saddlepoint.run.tracking.background_worker import BackgroundWorker
from saddlepoint.run.tracking.wandb_log import BEGUN_AT, missing_rows
from saddlepoint.run.tracking.wandb_session import (
    WandbSession,
    agent_run_id,
    finish_run,
    format_whereabouts,
    kill_wandb_service,
    new_run_id,
    redact_wandb_logs,
)

GRACE = 20.0  # seconds beside those that the server has: W&B's own process starts, and writes its files


class Tracker(RunLogger):
    """Everything that a run logs, on the axis `images`; see Session for what `mode` and `timeout` say.

    group      of the runs that belong together; None: as set in W&B (WANDB_RUN_GROUP), else the run's name
    name, project, entity, tags, job_type    None or []: as set in W&B, else <run>/<seed>, saddlepoint, its default
               account, none, train; tags are beside those that say what the run is made of
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
        self.whereabouts = format_whereabouts(
            None
        )  # one line, of a run that was closed: where it is, how to send it up
        self._courier: BackgroundWorker | None = None
        self._wandb: Any = None  # of the courier's thread alone

    def start(self, run: Run, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
        """Begin, or go on with, the W&B run of this folder; `say` hears of a server that does not answer."""
        if self.session.resolved_mode == "disabled":
            return
        before = run.summary.get("wandb_id")
        self.id = agent_run_id() or before or new_run_id()
        run.update_summary(wandb_id=self.id)
        about = {
            "group": run.folder.parent.name,
            "name": f"{run.folder.parent.name}/{run.folder.name}",
            "job_type": "train",
            "tags": component_tags(config),
            "id": self.id,
            "resume": "allow",
        }
        told = {**config, BEGUN_AT: run.summary.get("images", 0)}
        earlier = list(run.rows()) if before else []
        self.whereabouts = "W&B: not tracked"  # until it is
        import_module("wandb")  # not in the courier's thread: two that import at once may find a module half made
        self._courier = BackgroundWorker("W&B", log)
        self._courier.submit(partial(self._begin, run.folder, told, about, earlier, log))

    @property
    def version(self) -> str | None:
        return self.id

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One row; `step` counts images."""
        row = {**metrics, "images": step}
        self._ask(lambda _: self._log(row))

    def log_image(self, key: str, path: Path, step: int, others: Mapping[str, Path] | None = None) -> None:
        """A picture from disk, and others `beside` it, in one row."""
        pictures = {key: path, **(others or {})}
        self._ask(
            lambda _: self._log({name: _media("Image", own) for name, own in pictures.items()} | {"images": step})
        )

    def log_animation(self, key: str, path: Path) -> None:
        """A GIF from disk, into the summary."""
        self._ask(lambda run: run.summary.update({key: _media("Video", path, format="gif")}))

    def alert(self, title: str, text: str) -> None:
        """A warning that W&B sends to whoever asked for such, once a server follows the run."""
        self._ask(lambda run: run.alert(title, text, level="WARN"))

    def close(self, summary: Mapping[str, Any], checkpoint: Path | None, failed: bool) -> None:
        """Hand in the summary, the checkpoint as an artifact where a server takes it, and end the W&B run.

        It takes no longer than the server's time to answer at the start, for the artifact and at the end, and a grace.
        """
        if self._courier is None:
            return
        told = dict(summary)
        self._ask(lambda run: run.summary.update(told))
        self._ask(lambda run: self._hand_in(run, checkpoint))
        self._ask(lambda run: self._finish(run, failed))
        courier, self._courier = self._courier, None
        try:
            arrived = courier.finish(3 * self.session.timeout + GRACE)
        except KeyboardInterrupt:  # told to end while it waits: the local record is complete, whatever W&B has
            arrived = False
        if not arrived:
            kill_wandb_service()
            self.whereabouts = "W&B: it did not end in time; what it has of this run is in wandb/ in the run's folder"

    def _ask(self, call: Callable[[Any], object]) -> None:
        """Have the courier make a call of the W&B run, where there is one by then."""
        if self._courier is not None:
            self._courier.submit(lambda: call(self._wandb) if self._wandb is not None else None)

    # ------------------------------------------------------------------------------------- in the courier's thread

    def _begin(
        self,
        folder: Path,
        config: Mapping[str, Any],
        about: Mapping[str, Any],
        earlier: list[dict[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        missing = missing_rows(folder, about["id"], earlier) if earlier else []
        self._wandb = self.session.start_run(folder, config, about, say)
        self._wandb.define_metric("images")
        self._wandb.define_metric("*", step_metric="images")
        for row in missing:
            self._log(row)

    def _log(self, row: dict[str, Any]) -> None:
        self._wandb.log(row)

    def _hand_in(self, run: Any, checkpoint: Path | None) -> None:
        if run.offline or checkpoint is None or not checkpoint.exists():
            return
        import wandb

        best = checkpoint.with_name("best.ckpt")
        for path, aliases in ((best, ["best"]), (checkpoint, ["latest"])):  # two versions of one artifact
            if path.exists():
                artifact = wandb.Artifact(f"checkpoint-{self.id}", type="model")
                artifact.add_file(str(path))
                run.log_artifact(artifact, aliases=aliases)

    def _finish(self, run: Any, failed: bool) -> None:
        self._wandb = None
        self.whereabouts = format_whereabouts(run, arrived=False)
        self.whereabouts = format_whereabouts(run, finish_run(run, exit_code=1 if failed else 0))
        redact_wandb_logs(Path(run.dir).parent)


def component_tags(config: Mapping[str, Any]) -> list[str]:
    """What a run is made of, as tags: its data, architecture, objective and regularizers."""
    choice = config.get("choice") or {}
    named = (choice.get(group) for group in ("data", "architecture", "objective", "regularizer"))
    return [str(name) for names in named for name in (names if isinstance(names, list) else [names]) if name]


def _media(kind: str, path: Path, **how: str) -> Any:
    return getattr(import_module("wandb"), kind)(str(path), **how)
