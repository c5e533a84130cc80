"""The record of a training in its run folder: the initial files, the provenance and the outcome."""

import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import OmegaConf

from saddlepoint import ranks
from saddlepoint.callback.evaluation import Evaluation
from saddlepoint.callback.finite import Diverged
from saddlepoint.callback.graceful_stop import GracefulStop
from saddlepoint.callback.health import UnhealthyRun
from saddlepoint.config import config_file, user_code
from saddlepoint.config.identity import describe_identity_differences, user_modules
from saddlepoint.error import Mistake, Stopped
from saddlepoint.evaluation.contract import Score
from saddlepoint.experiment.build import Experiment
from saddlepoint.experiment.restore import data_changes
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.redaction import redact
from saddlepoint.run.folder import Run
from saddlepoint.run.journal import RunJournal
from saddlepoint.run.provenance import provenance, timestamp

Anchors = dict[str, dict[str, Score]]
LOST_RANK = "another rank has ended; its last message gives the reason"


@contextmanager
def record_outcome(
    run: Run,
    game: Any,
    evaluation: Evaluation | None,
    journal: RunJournal,
    trackers: Sequence[Any],
    stop: GracefulStop,
    log: Callable[[str], None],
    allowed: Sequence[str] = (),
) -> Iterator[None]:
    """Record how the body of the with statement ends: finished, diverged, stopped, interrupted or failed, and why.

    allowed  the modules in allow_target, to locate errors in user code
    """
    status, error = "failed", None
    try:
        stop.is_writing_record = False
        if stop.received_signal:
            raise Stopped(stop.received_signal)
        yield
        status = "finished"
    except (Diverged, UnhealthyRun) as mistake:
        status, error = "diverged" if isinstance(mistake, Diverged) else "stopped", str(mistake)
        raise
    except BaseException as failure:
        if (stopped := _stop_signal(failure, stop)) is not None:
            status, error = "interrupted", f"stopped by {signal.Signals(stopped.number).name}"
            log("stopped; the same command resumes from the last checkpoint, or starts again if there is none")
            raise stopped from None
        rank_is_lost = isinstance(failure, RuntimeError) and ranks.is_lost_rank(failure)
        user_error = user_code.format_user_error(failure, allowed)
        error = LOST_RANK if rank_is_lost else user_error or redact(str(failure)) or type(failure).__name__
        raise
    finally:
        stop.is_writing_record = True
        if run.writes:
            summary = _write_outcome(run, game, evaluation, journal, stop, status, error)
            stop.is_writing_record = False
            for tracker in trackers:
                tracker.close(summary, run.checkpoints / "last.ckpt", failed=status != "finished")
        if status in ("diverged", "stopped") or (status == "interrupted" and stop.agreed_signal):
            ranks.barrier()  # all ranks end here; once one has exited, the supervisor gives the others only seconds


def _stop_signal(failure: BaseException, stop: GracefulStop) -> Stopped | None:
    """Return the signal that ended the run; None if it failed by itself, for example by sys.exit in user code."""
    if isinstance(failure, Stopped):
        return failure
    if not isinstance(failure, KeyboardInterrupt | SystemExit):
        return None
    # Lightning turns an interrupt into a SystemExit
    interrupted = isinstance(failure, KeyboardInterrupt) or isinstance(failure.__context__, KeyboardInterrupt)
    return Stopped(stop.received_signal or signal.SIGINT) if stop.received_signal or interrupted else None


def rewind_and_write_initial_files(
    run: Run, experiment: Experiment, anchors: Anchors, start_images: int | None
) -> dict[str, Any]:
    """Write the initial files of the folder, and delete records after `start_images` images (None: all).

    Returns the config of the trackers: the resolved config and the provenance.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    record = _run_provenance(run, experiment, start_images)
    run.write("config.yaml", config_file.to_yaml(experiment.config))
    run.write("provenance.json", json.dumps(record, indent=2) + "\n")
    run.discard_after(-1 if start_images is None else start_images)
    outdated = {"privacy": None} if "privacy" in run.summary else {}  # the guarantee after fewer images
    run.update_summary(
        status="running", exit=None, anchors=scores_to_dict(anchors), images=start_images or 0, final={}, **outdated
    )
    plain: Any = OmegaConf.to_container(experiment.config, resolve=True)
    return redact({**plain, "provenance": record})


def _write_outcome(run: Run, game: Any, evaluation: Evaluation | None, journal: RunJournal, stop: GracefulStop,
                   status: str, error: str | None) -> dict[str, Any]:  # fmt: skip
    """Write the outcome of the run to summary.json and provenance.json; returns the summary for the trackers."""
    exit_codes = {
        "finished": 0,
        "interrupted": Stopped(stop.agreed_signal or stop.received_signal or signal.SIGINT).exit,
    }
    best = _scores_at_best(run, evaluation) if evaluation else {}
    selection = evaluation.best.to_dict() | {"images": evaluation.best_at} if evaluation and evaluation.best else None
    speeds = [row["images_per_second"] for row in run.rows() if "images_per_second" in row]
    try:
        # the summary last, because its status says that the run is complete
        record = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
        record |= {"ended": timestamp(), "exit": exit_codes.get(status, 1)}
        run.write("provenance.json", json.dumps(record, indent=2) + "\n")
        run.update_summary(
            status=status, exit=exit_codes.get(status, 1), error=error, images=game.images, rounds=game.rounds,
            best=best, chosen_by=selection, seconds=round(journal.seconds, 1), peak_memory_mib=_peak_memory(),
            images_per_second=sorted(speeds)[len(speeds) // 2] if speeds else None, **game.summary_facts(),
        )  # fmt: skip
    except Mistake as mistake:  # a full disk must not hide the original error
        if status == "finished":
            raise
        print(f"saddlepoint: {mistake}", file=sys.stderr)
    final = run.summary.get("final", {})
    return {
        "status": status,
        **{f"final/{key}": score["value"] for key, score in final.items()},
        **{f"best/{key}": pair["value"] for key, pair in best.items()},
        **{f"contract/{key}": score["contract"] for key, score in final.items()},
    }


def _scores_at_best(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores of the best checkpoint: each score at the images where the selector's score was best.

    Not the best value of each score, because the best of many values is biased by chance.
    """
    rows = [row for row in run.rows() if row["images"] == evaluation.best_at]
    return {
        key: {"value": row[key], "images": evaluation.best_at}
        for key in evaluation.latest
        for row in rows
        if key in row
    }


def _run_provenance(run: Run, experiment: Experiment, start_images: int | None) -> dict[str, Any]:
    """Return the provenance of this start, with the earlier starts of the same run under `earlier`.

    Changes that resume.allow has permitted are listed under `changed`, with the images at which they took effect.
    """
    path = run.folder / "provenance.json"
    previous = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    earlier = [*previous.pop("earlier", []), previous] if previous else []
    config, data = experiment.config, experiment.data
    changes = describe_identity_differences(load_run_config(run), config) if start_images is not None else []
    if start_images is not None:
        changes += [f"data: {change}" for change in data_changes(run, data)]
    changed = {"changed": {"at": start_images, "keys": changes}} if changes else {}
    user_code_record = user_code.module_provenance(user_modules(config, with_observers=True))
    return {**provenance(data.describe(), config.seed, user_code_record), **changed, "earlier": earlier}


def scores_to_dict(anchors: Anchors) -> dict[str, Any]:
    """Return scores as plain values, by set and key."""
    return {name: {key: score.to_dict() for key, score in scores.items()} for name, scores in anchors.items()}


def _peak_memory() -> float:
    """Return the peak memory in MiB: of the GPU if there is one, else of the process."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
