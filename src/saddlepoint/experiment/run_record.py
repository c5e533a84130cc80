"""What a training writes into its folder beside its journal: its first files, its provenance, and how it ended."""

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
from saddlepoint.config.identity import (
    identity_differences,
    user_modules,
)
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
LOST_RANK = "another rank is gone; what it said last tells why"


@contextmanager
def record_outcome(
    run: Run,
    game: Any,
    evaluation: Evaluation | None,
    journal: RunJournal,
    trackers: Sequence[Any],
    halt: GracefulStop,
    log: Callable[[str], None],
    allowed: Sequence[str] = (),
) -> Iterator[None]:
    """Write down how what happens within ends: finished, diverged, stopped, interrupted or failed, and why.

    `allowed` names what allow_target lets be built, for errors in the user's own code.
    """
    status, error = "failed", None
    try:
        halt.is_writing_record = False
        if halt.received_signal:
            raise Stopped(halt.received_signal)
        yield
        status = "finished"
    except (Diverged, UnhealthyRun) as mistake:
        status, error = "diverged" if isinstance(mistake, Diverged) else "stopped", str(mistake)
        raise
    except BaseException as failure:
        if (told_to := _halted(failure, halt)) is not None:
            status, error = "interrupted", f"stopped by {signal.Signals(told_to.number).name}"
            log("stopped; the same command goes on from the last checkpoint, or begins again where there is none")
            raise told_to from None
        gone = isinstance(failure, RuntimeError) and ranks.is_lost_rank(failure)
        own = user_code.format_user_error(failure, allowed)
        error = LOST_RANK if gone else own or redact(str(failure)) or type(failure).__name__
        raise
    finally:
        halt.is_writing_record = True
        if run.writes:
            summary = _close(run, game, evaluation, journal, halt, status, error)
            halt.is_writing_record = False
            for tracker in trackers:
                tracker.close(summary, run.checkpoints / "last.ckpt", failed=status != "finished")
        if status in ("diverged", "stopped") or (status == "interrupted" and halt.agreed_signal):
            ranks.barrier()  # all end so; whoever watches them gives the others seconds once one is gone


def _halted(failure: BaseException, halt: GracefulStop) -> Stopped | None:
    """The signal that ended the run; None where it failed by itself, as where code of the user's calls sys.exit."""
    if isinstance(failure, Stopped):
        return failure
    if not isinstance(failure, KeyboardInterrupt | SystemExit):
        return None
    # Lightning makes a SystemExit of an interrupt
    interrupted = isinstance(failure, KeyboardInterrupt) or isinstance(failure.__context__, KeyboardInterrupt)
    return Stopped(halt.received_signal or signal.SIGINT) if halt.received_signal or interrupted else None


def write_initial_files(run: Run, experiment: Experiment, anchors: Anchors, reached: int | None) -> dict[str, Any]:
    """Write the folder's first files, and drop from its record what comes after `reached` images (None: all of it).

    Returns what W&B is told: the config, resolved, and the provenance.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    record = _provenance(run, experiment, reached)
    run.write("config.yaml", config_file.to_yaml(experiment.config))
    run.write("provenance.json", json.dumps(record, indent=2) + "\n")
    run.rewind(-1 if reached is None else reached)
    run.update_summary(status="running", exit=None, anchors=scores_to_dict(anchors), images=reached or 0, final={})
    plain: Any = OmegaConf.to_container(experiment.config, resolve=True)
    return redact({**plain, "provenance": record})


def _close(run: Run, game: Any, evaluation: Evaluation | None, journal: RunJournal, halt: GracefulStop, status: str,
           error: str | None) -> dict[str, Any]:  # fmt: skip
    """Write how the run ended into summary.json and provenance.json; returns what W&B is told."""
    exits = {"finished": 0, "interrupted": Stopped(halt.agreed_signal or halt.received_signal or signal.SIGINT).exit}
    best = _best(run, evaluation) if evaluation else {}
    chosen = evaluation.best.to_dict() | {"images": evaluation.best_at} if evaluation and evaluation.best else None
    speeds = [row["images_per_second"] for row in run.rows() if "images_per_second" in row]
    try:
        # the summary last: what says that a run has finished is the end of all writing
        record = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
        ended = {**record, "ended": timestamp(), "exit": exits.get(status, 1)}
        run.write("provenance.json", json.dumps(ended, indent=2) + "\n")
        run.update_summary(
            status=status, exit=exits.get(status, 1), error=error, images=game.images, rounds=game.rounds, best=best,
            chosen_by=chosen, seconds=round(journal.seconds, 1), peak_memory_mib=_peak_memory(),
            images_per_second=sorted(speeds)[len(speeds) // 2] if speeds else None,
        )  # fmt: skip
    except Mistake as mistake:  # a full disk must not hide the first error
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


def _best(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """What is reported of the best checkpoint: each score at the images where the selector's was best.

    Not the best of each: the best of many numbers is flattered by chance.
    """
    rows = [row for row in run.rows() if row["images"] == evaluation.best_at]
    return {
        key: {"value": row[key], "images": evaluation.best_at}
        for key in evaluation.latest
        for row in rows
        if key in row
    }


def _provenance(run: Run, experiment: Experiment, reached: int | None) -> dict[str, Any]:
    """This start's provenance; earlier starts of the same run stay on record under `earlier`.

    What resume.allow let change on the way is told under `changed`, with the images from which it counts.
    """
    path = run.folder / "provenance.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    earlier = [*old.pop("earlier", []), old] if old else []
    config, data = experiment.config, experiment.data
    now_differs = identity_differences(load_run_config(run), config) if reached is not None else []
    if reached is not None:
        now_differs += [f"data: {line}" for line in data_changes(run, data)]
    changed = {"changed": {"at": reached, "keys": now_differs}} if now_differs else {}
    own = user_code.module_provenance(user_modules(config, with_observers=True))
    return {**provenance(data.describe(), config.seed, own), **changed, "earlier": earlier}


def scores_to_dict(anchors: Anchors) -> dict[str, Any]:
    return {name: {key: score.to_dict() for key, score in found.items()} for name, found in anchors.items()}


def _peak_memory() -> float:
    """The most memory held at once, MiB: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
