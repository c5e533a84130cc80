"""saddlepoint train: trains the run that a config names, or goes on with it where it stopped."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from saddlepoint import ranks
from saddlepoint.callback.evaluation import Evaluation, row, scores
from saddlepoint.callback.finite import Diverged
from saddlepoint.callback.halt import Halt
from saddlepoint.callback.health import Stopped
from saddlepoint.callback.horizon import Horizon
from saddlepoint.callback.run_state import RunState
from saddlepoint.config import allow_list, config_file, own_code
from saddlepoint.config.check import cautions, check, installed, terms
from saddlepoint.config.config_file import freeze, process
from saddlepoint.config.identity import (
    allowed,
    by_other_code,
    code_changes,
    code_of,
    differences,
    identity,
    own_modules,
    put_code,
)
from saddlepoint.console.output import Output, result
from saddlepoint.console.standard_streams import dispensable
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.error import SUPERVISOR, Halted, Lost, Mistake
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.table import scores_of
from saddlepoint.experiment.build import (
    Experiment,
    build,
    callbacks_of,
    config_of,
    data_changes,
    data_of,
    device_of,
    fill,
    loggers_of,
    restore,
)
from saddlepoint.experiment.devices import place, refuse_precision, taken, wanted
from saddlepoint.experiment.same_run import finished_on_other_data
from saddlepoint.game.game import Game
from saddlepoint.game.start import start_from_data
from saddlepoint.game.strategy import Ranks
from saddlepoint.launcher import ranks as launcher
from saddlepoint.redaction import discreet
from saddlepoint.run.checkpoint import AtomicCheckpointIO, duplicate, newest, set_aside
from saddlepoint.run.folder import Run
from saddlepoint.run.journal import Journal
from saddlepoint.run.provenance import now, provenance

Anchors = dict[str, dict[str, Score]]
ANOTHER_OPTIMIZER = re.compile(r"optimizer\.\w+\._target_:")
GONE = "another rank is gone; what it said last tells why"


def train(config: DictConfig, console: Console | None = None) -> Run:
    """Train, evaluate and record; returns the run's folder as a Run.

    Notes and progress go to stderr, the closing table to stdout, or both to `console`.

    The same config again: a finished run is left as it is, an unfinished one goes on from its checkpoint, one that asks
    for more images goes on to them. Raises Mistake where a person has to decide something.
    """
    with dispensable():  # what it prints may find nobody: the results are in the folder
        return _train(config, console)


def _train(config: DictConfig, console: Console | None) -> Run:
    _same_code(config)
    check(config)
    installed(config)
    here, output = place(), result(console)
    if here.of == 1 and wanted(config) > 1:
        return _ranks(config, console or Console(stderr=True), output)
    taken(config, here)
    console = console or Console(stderr=True, quiet=here.number > 0)
    say = speaker(console)
    run = Run(_folder(config), writes=here.number == 0)
    try:
        with run.lock(), Halt(_supervisor()) as halt:
            start = _agreed(run, config, say)
            run.sweep()
            if start == "finished":
                if changed := finished_on_other_data(run, config):
                    raise Mistake(changed)
                if run.writes:
                    _closing(run, output)
                return run
            for line in (*terms(config), *cautions(config)):
                say(line)
            data = data_of(config, say)
            if start == "resume":
                _same_data(run, config, data, say)
            experiment = build(config, say, Meter(console), data)
            say(_sizes(experiment.game))
            if config.compile:
                experiment.game.compile_players("inductor" if config.compile is True else str(config.compile))
            _play(run, experiment, start, halt, console, say)
            if run.writes:
                _closing(run, output)
    except RuntimeError as error:
        if not ranks.lost(error):
            raise
        raise Lost(GONE) from None
    finally:
        ranks.leave()
    return run


def _sizes(game: Game) -> str:
    """How many parameters each player moves."""
    counts = {name: sum(p.numel() for p in game.player(name).network.parameters()) for name in game.players}
    return f"parameters: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"


def _closing(run: Run, output: Output) -> None:
    """The result: the closing table, or all of summary.json."""
    output(scores_of(run, output.width), {"run": run.folder, **run.summary})


def _same_code(config: DictConfig) -> None:
    """Put the code of one's own as it is now on record.  Raises Mistake where it was edited after it was composed."""
    changed = code_changes(config)
    if changed and "code" not in allowed(config):
        raise Mistake(f"{'; '.join(changed)} changed after this run was composed: give the command again")
    put_code(config)


def _same_data(run: Run, config: DictConfig, data: Any, say: Callable[[str], None]) -> None:
    """Raises Mistake where a run would go on with other data than it was begun with, unless resume.allow lets it."""
    if not (changed := data_changes(run, data)):
        return
    if not any(key.partition(".")[0] == "data" for key in allowed(config)):
        raise Mistake(
            f"{run.folder} was begun with other data: {'; '.join(changed)}, and these are another run. Bring those "
            "back, give this one a name=... of its own, or go on with these all the same: resume.allow=[data]"
        )
    say(f"going on with other data than before, as resume.allow says: {'; '.join(changed)}")


def _supervisor() -> int | None:
    """The process that started this rank and watches it: `train` itself, or torchrun; None: nobody does."""
    if SUPERVISOR in os.environ:
        return int(os.environ[SUPERVISOR])
    return os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None


def _folder(config: DictConfig) -> Path:
    return Path(config.outputs) / config.name / f"seed{config.seed}"


def _agreed(run: Run, config: DictConfig, say: Callable[[str], None]) -> str:
    """What rank 0 finds of the folder, which it may then change; every rank goes by it."""
    return ranks.of_first(_start(run, config, say) if run.writes else None)


def _ranks(config: DictConfig, console: Console, output: Output) -> Run:
    """Train on several devices of this machine, a process each, and look after them; the run.

    Raises Mistake where they fail, Halted where they were told to end.
    """
    if config.nodes > 1:
        raise Mistake(
            f"nodes={config.nodes}: each machine's processes are started by torchrun or SLURM (docs/scaling.md), "
            "with this same command"
        )
    say = speaker(console)
    run = Run(_folder(config))
    with TemporaryDirectory(prefix="saddlepoint-") as folder:  # no other command writes there
        freeze(file := Path(folder) / "config.yaml", config)
        command = [*process(file, config), *(["--json"] if output.json else [])]  # rank 0 prints the result
        code = launcher.run(command, config.devices, SUPERVISOR, say)
    if code in launcher.HALTED:
        raise Halted(code - 128)
    if code:
        if run.summary.get("status") == "running" and not run.in_use:  # rank 0 had no time to say so itself
            run.update_summary(status="failed", exit=code, error="a rank was lost")
        raise Mistake(f"the run ended with exit code {code}. The same command goes on from its last checkpoint")
    return run


def _start(run: Run, config: DictConfig, say: Callable[[str], None]) -> str:
    """fresh, resume, overwrite or finished: what the folder holds, and whether this config may go on with it."""
    if not run.folder.exists() or all(path.name.startswith(".") for path in run.folder.iterdir()):
        for folder in by_other_code(config, config.name)[:1]:
            changed = "; ".join(code_changes(config_of(Run(folder))))
            say(f"another run than {folder}, by other code: {changed}. resume.allow=[code] goes on with that one")
        return "fresh"  # a dot-file is what a crash left of a first write
    if not run.config.exists():
        raise Mistake(f"{run.folder} is not empty and is no run; give this run another name=... or outputs=...")
    if config.overwrite:
        return "overwrite"
    old = config_of(run)
    if identity(old) != identity(config):
        changed, may_differ = differences(old, config), allowed(config)
        if code_of(config) and not code_of(old):
            say(f"begun when no code of one's own was put on record; now it is: {', '.join(code_of(config))}")
            may_differ = [*may_differ, "code"]
        if (other := differences(old, config, may_differ)) and all(line.startswith("code.") for line in other):
            raise Mistake(
                f"{run.folder} was trained by other code: {'; '.join(code_changes(old))}. That is another run: give it "
                "a name=... of its own, or go on by the code of now: resume.allow=[code]"
            )
        if other:
            raise Mistake(
                f"{run.folder} holds another run: {'; '.join(other[:3])}. Give this one a name=... of its own, "
                "overwrite=true to move the old one aside, or resume.allow=[...] with the keys that may change"
            )
        if another := next((line for line in changed if ANOTHER_OPTIMIZER.match(line)), None):
            raise Mistake(
                f"{run.folder}: {another}. What one optimizer remembers is nothing to another, so no resume.allow lets "
                "it change: give this run a name=... of its own"
            )
        say(f"going on with another game than before, as resume.allow says: {'; '.join(changed)}")
    if config.images < old.images and run.summary.get("status") == "finished":
        raise Mistake(f"{run.folder} is finished at images={old.images:,}; it cannot end earlier, at {config.images:,}")
    if config.images == old.images and run.summary.get("status") == "finished":
        say(f"this run is finished; overwrite=true trains it again, a larger images=... goes on: {run.folder}")
        return "finished"
    if config.images != old.images and "images" not in allowed(config) and (key := _leans_on_images(config)):
        raise Mistake(
            f"images={config.images:,} where the run had {old.images:,}, and {key} depends on images, so this is not "
            "the same run gone on with. resume.allow=[images] does it all the same"
        )
    return "resume"


def _leans_on_images(config: DictConfig) -> str | None:
    """The first key whose value interpolates the run's length, None where nothing does."""

    def walk(node: Any, path: str) -> str | None:
        if isinstance(node, dict | list):
            parts = node.items() if isinstance(node, dict) else enumerate(node)
            return next((hit for key, value in parts if (hit := walk(value, f"{path}.{key}".lstrip(".")))), None)
        return path if node == "${images}" else None

    return walk(OmegaConf.to_container(config), "")


def _play(
    run: Run, experiment: Experiment, start: str, halt: Halt, console: Console, say: Callable[[str], None]
) -> None:
    """Train from `start` to the end and write everything down, whatever the end is."""
    config, game, data, evaluator = experiment.config, experiment.game, experiment.data, experiment.evaluator
    found = newest(run.checkpoints, say) if start == "resume" else None
    reached = found[1]["saddlepoint"]["images"] if found else 0
    _refuse_different_checkpoints(run, reached)
    trackers = loggers_of(config) if run.writes else []
    state = RunState(target=config.images)
    at_hand = {
        "run": run, "evaluator": evaluator, "selector": experiment.selector, "average": config.evaluation.average,
        "batch_norm": config.evaluation.get("batch_norm", "running"), "console": console, "state": state,
    }  # fmt: skip
    halt.state = state
    callbacks = [Horizon(state), halt, *callbacks_of(config, **at_hand)]
    trainer = trainer_of(config, callbacks)
    anchors = evaluator.anchors(data) if evaluator else {}
    _each_that_has("before_run", callbacks, game, data)  # what cannot be observed is refused while there is no folder
    if found:
        fill(game, found[1], found[0])
    before = run.summary
    if start == "overwrite" and run.writes:
        say(f"the old run now lies in {run.move_aside()}")
    if found and run.writes:
        set_aside(found[0], say)
    halt.recording = True  # from here on summary.json says running, until _put_on_record says how it ended
    told = _begin(run, experiment, anchors, reached if found else None) if run.writes else {}
    say(f"run: {run.folder}" + (f", going on at {reached:,} images" if found else ""))
    journal = Journal(run)
    for tracker in trackers:
        tracker.start(run, told, say)
    evaluation = next((c for c in callbacks if isinstance(c, Evaluation)), None)
    if evaluation is not None and found and before.get("images") == reached:
        evaluation.earlier = reached, _final_scores(before)
    loggers = trainer.loggers = [journal, *trackers] if run.writes else []
    with _put_on_record(run, game, evaluation, journal, trackers, halt, say, allow_list.granted(config)):
        if reached < config.images:
            _fit(trainer, experiment, found, halt)
        elif found:
            restore(game, run, found[0].stem)
            if evaluation is not None and (kept := found[1]["callbacks"].get(evaluation.state_key)):
                evaluation.load_state_dict(kept)
        final = _final(run, experiment, evaluation, loggers)
        for own in _each_that_has("final", callbacks, game, data):
            final |= own
        run.update_summary(final=_plain({"": final})[""])
    if run.writes:
        say(f"samples, checkpoints, metrics.jsonl and summary.json: {run.folder}")
        for tracker in trackers:
            say(tracker.whereabouts)


def _final_scores(summary: Mapping[str, Any]) -> dict[str, Score]:
    """The scores at the end of a run, as its summary has them."""
    return {key: Score.from_dict(score) for key, score in (summary.get("final") or {}).items()}


def _refuse_different_checkpoints(run: Run, reached: int) -> None:
    """Raises Mistake where the ranks would go on from different images."""
    if len(everywhere := set(ranks.together(reached))) > 1:
        raise Mistake(
            f"the ranks find different checkpoints in {run.checkpoints}, of {sorted(everywhere)} images: outputs=... "
            "has to be a folder that all machines see"
        )


def _each_that_has(method: str, callbacks: Sequence[Any], game: Game, data: Any) -> list[Any]:
    """What the callbacks that have this method return of the game and the data, in order."""
    return [own(game, data) for one in callbacks if (own := getattr(one, method, None)) is not None]


def _fit(trainer: pl.Trainer, experiment: Experiment, found: tuple[Path, dict[str, Any]] | None, halt: Halt) -> None:
    """Play from the checkpoint `found`, or from the start, to the target.  Raises Halted where it was told to end."""
    game, data = experiment.game, experiment.data
    if not found:
        start_from_data(game, data.stream(0))  # before anything observes the game
    trainer.fit(game, datamodule=data, ckpt_path=str(found[0]) if found else None, weights_only=True)
    if signalled := ranks.highest(halt.agreed or halt.told):  # or told behind the last round
        raise Halted(signalled)


@contextmanager
def _put_on_record(
    run: Run,
    game: Any,
    evaluation: Evaluation | None,
    journal: Journal,
    trackers: Sequence[Any],
    halt: Halt,
    say: Callable[[str], None],
    allowed: Sequence[str] = (),
) -> Iterator[None]:
    """Write down how what happens within ends: finished, diverged, stopped, interrupted or failed, and why.

    `allowed` names what allow_target lets be built, for errors in the user's own code.
    """
    status, error = "failed", None
    try:
        halt.recording = False
        if halt.told:
            raise Halted(halt.told)
        yield
        status = "finished"
    except (Diverged, Stopped) as mistake:
        status, error = "diverged" if isinstance(mistake, Diverged) else "stopped", str(mistake)
        raise
    except BaseException as failure:
        if (told_to := _halted(failure, halt)) is not None:
            status, error = "interrupted", f"stopped by {signal.Signals(told_to.number).name}"
            say("stopped; the same command goes on from the last checkpoint, or begins again where there is none")
            raise told_to from None
        gone = isinstance(failure, RuntimeError) and ranks.lost(failure)
        own = own_code.error_line(failure, allowed)
        error = GONE if gone else own or discreet(str(failure)) or type(failure).__name__
        raise
    finally:
        halt.recording = True
        if run.writes:
            summary = _close(run, game, evaluation, journal, halt, status, error)
            halt.recording = False
            for tracker in trackers:
                tracker.close(summary, run.checkpoints / "last.ckpt", failed=status != "finished")
        if status in ("diverged", "stopped") or (status == "interrupted" and halt.agreed):
            ranks.part()  # all end so; whoever watches them gives the others seconds once one is gone


def _halted(failure: BaseException, halt: Halt) -> Halted | None:
    """The signal that ended the run; None where it failed by itself, as where code of the user's calls sys.exit."""
    if isinstance(failure, Halted):
        return failure
    if not isinstance(failure, KeyboardInterrupt | SystemExit):
        return None
    # Lightning makes a SystemExit of an interrupt
    interrupted = isinstance(failure, KeyboardInterrupt) or isinstance(failure.__context__, KeyboardInterrupt)
    return Halted(halt.told or signal.SIGINT) if halt.told or interrupted else None


def _begin(run: Run, experiment: Experiment, anchors: Anchors, reached: int | None) -> dict[str, Any]:
    """Write the folder's first files, and drop from its record what comes after `reached` images (None: all of it).

    Returns what W&B is told: the config, resolved, and the provenance.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    record = _provenance(run, experiment, reached)
    run.write("config.yaml", config_file.text(experiment.config))
    run.write("provenance.json", json.dumps(record, indent=2) + "\n")
    run.rewind(-1 if reached is None else reached)
    run.update_summary(status="running", exit=None, anchors=_plain(anchors), images=reached or 0, final={})
    plain: Any = OmegaConf.to_container(experiment.config, resolve=True)
    return discreet({**plain, "provenance": record})


def trainer_of(config: DictConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning, with nothing switched on that counts optimizer steps, writes files or talks."""
    settings: Any = OmegaConf.to_container(config.trainer, resolve=True)
    kind, here = device_of(config).type, place()
    refuse_precision(config)
    if settings.get("sync_batchnorm") is None:
        settings["sync_batchnorm"] = kind == "cuda" and here.of > 1
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    return pl.Trainer(
        accelerator=kind,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=Ranks() if here.of > 1 else "auto",
        logger=False,  # the loggers are handed over when the run folder is there
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), here.environment],
        max_epochs=-1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=config.outputs,
        **settings,
    )


def _final(run: Run, experiment: Experiment, evaluation: Evaluation | None, loggers: list[Any]) -> dict[str, Score]:
    """The scores at the end: the last of the run's own where they are of this moment, else measured now.

    The second ruler's stand beside them.
    """
    game, data, settings = experiment.game, experiment.data, experiment.config.evaluation
    if experiment.evaluator is None:
        return {}
    game.to(device_of(experiment.config))
    protocol = game, data, settings.average, settings.get("batch_norm", "running")
    final, logged = {}, {}
    if evaluation is None:
        final = scores(experiment.evaluator, *protocol)
        logged = row(final)
    else:
        if evaluation.measured_at != game.images:
            logged = evaluation.measure(game, data)
            if evaluation.best_at == game.images and run.writes:
                duplicate(run.checkpoints / "last.ckpt", run.checkpoints / "best.ckpt")
        final = evaluation.latest
    if experiment.second is not None:
        beside = scores(experiment.second, *protocol)
        final, logged = {**final, **beside}, {**logged, **row(beside)}
    for logger in loggers if logged else []:
        logger.log_metrics({"rounds": game.rounds, **logged, "final": True}, step=game.images)
    return final


def _close(run: Run, game: Any, evaluation: Evaluation | None, journal: Journal, halt: Halt, status: str,
           error: str | None) -> dict[str, Any]:  # fmt: skip
    """Write how the run ended into summary.json and provenance.json; returns what W&B is told."""
    exits = {"finished": 0, "interrupted": Halted(halt.agreed or halt.told or signal.SIGINT).exit}
    best = _best(run, evaluation) if evaluation else {}
    chosen = evaluation.best.to_dict() | {"images": evaluation.best_at} if evaluation and evaluation.best else None
    speeds = [row["images_per_second"] for row in run.rows() if "images_per_second" in row]
    try:
        # the summary last: what says that a run has finished is the end of all writing
        record = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
        ended = {**record, "ended": now(), "exit": exits.get(status, 1)}
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
    now_differs = differences(config_of(run), config) if reached is not None else []
    if reached is not None:
        now_differs += [f"data: {line}" for line in data_changes(run, data)]
    changed = {"changed": {"at": reached, "keys": now_differs}} if now_differs else {}
    own = own_code.record(own_modules(config, everything=True))
    return {**provenance(data.describe(), config.seed, own), **changed, "earlier": earlier}


def _plain(anchors: Anchors) -> dict[str, Any]:
    return {name: {key: score.to_dict() for key, score in found.items()} for name, found in anchors.items()}


def _peak_memory() -> float:
    """The most memory held at once, MiB: the GPU's where there is one, else the process's."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
