"""A run from its checked config to its end: ranks joined, folder locked, game built, trained and measured."""

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from rich.console import Console

from saddlepoint import ranks
from saddlepoint.callback.evaluation import Evaluation, Sampler, row
from saddlepoint.callback.halt import Halt
from saddlepoint.callback.period import Horizon, RunState
from saddlepoint.config import allow_list
from saddlepoint.config.check import Checked, cautions, terms
from saddlepoint.config.config_file import freeze, process
from saddlepoint.config.identity import (
    allowed,
)
from saddlepoint.console.output import Output, result
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.error import SUPERVISOR, Halted, Lost, Mistake
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.table import scores_of
from saddlepoint.experiment.build import Experiment, build, callbacks_of, data_of, loggers_of
from saddlepoint.experiment.devices import device_of, place, refuse_precision, taken, wanted
from saddlepoint.experiment.restore import data_changes, fill, restore
from saddlepoint.experiment.run_record import GONE, begin, plain_scores, put_on_record
from saddlepoint.experiment.start import finished_on_other_data, start_of
from saddlepoint.game.game import Game
from saddlepoint.game.ranks import Ranks
from saddlepoint.game.start import start_from_data
from saddlepoint.launcher import ranks as launcher
from saddlepoint.redaction import look_again
from saddlepoint.run.checkpoint import AtomicCheckpointIO, duplicate, newest, set_aside
from saddlepoint.run.folder import Run
from saddlepoint.run.journal import Journal
from saddlepoint.run.layout import folder_of


def fit(config: Checked, console: Console | None = None) -> Run:
    """Train the run of `config` from where it stands to its end, and print its scores; the run."""
    here, output = place(), result(console)
    if here.of == 1 and wanted(config) > 1:
        return _ranks(config, console or Console(stderr=True), output)
    taken(config, here)
    console = console or Console(stderr=True, quiet=here.number > 0)
    say = speaker(console)
    run = Run(folder_of(config.outputs, config.name, config.seed), writes=here.number == 0)
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
    counts = {name: sum(map(torch.numel, game.player(name).network.parameters())) for name in game.players}
    return f"parameters: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"


def _closing(run: Run, output: Output) -> None:
    """The result: the closing table, or all of summary.json."""
    output(scores_of(run, output.width), {"run": run.folder, **run.summary})


def _same_data(run: Run, config: Checked, data: Any, say: Callable[[str], None]) -> None:
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


def _agreed(run: Run, config: Checked, say: Callable[[str], None]) -> str:
    """What rank 0 finds of the folder, which it may then change; every rank goes by it."""
    return ranks.of_first(start_of(run, config, say) if run.writes else None)


def _ranks(config: Checked, console: Console, output: Output) -> Run:
    """Train on several devices of this machine, a process each, and look after them; the run.

    Raises Mistake where they fail, Halted where they were told to end.
    """
    if config.nodes > 1:
        raise Mistake(
            f"nodes={config.nodes}: each machine's processes are started by torchrun or SLURM (docs/scaling.md), "
            "with this same command"
        )
    say = speaker(console)
    run = Run(folder_of(config.outputs, config.name, config.seed))
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
    halt.recording = True  # from here on summary.json says running, until put_on_record says how it ended
    told = begin(run, experiment, anchors, reached if found else None) if run.writes else {}
    say(f"run: {run.folder}" + (f", going on at {reached:,} images" if found else ""))
    journal = Journal(run)
    for tracker in trackers:
        tracker.start(run, told, say)
    evaluation = next((c for c in callbacks if isinstance(c, Evaluation)), None)
    if evaluation is not None and found and before.get("images") == reached:
        evaluation.earlier = reached, _final_scores(before)
    loggers = trainer.loggers = [journal, *trackers] if run.writes else []
    with put_on_record(run, game, evaluation, journal, trackers, halt, say, allow_list.granted(config)):
        if reached < config.images:
            _fit(trainer, experiment, found, halt)
        elif found:
            restore(game, run, found[0].stem)
            if evaluation is not None and (kept := found[1]["callbacks"].get(evaluation.state_key)):
                evaluation.load_state_dict(kept)
        final = _final(run, experiment, evaluation, loggers)
        for own in _each_that_has("final", callbacks, game, data):
            final |= own
        run.update_summary(final=plain_scores({"": final})[""])
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
    look_again()  # code of the user's own is about to run, and may put secrets into the environment
    if not found:
        start_from_data(game, data.stream(0))  # before anything observes the game
    trainer.fit(game, datamodule=data, ckpt_path=str(found[0]) if found else None, weights_only=True)
    if signalled := ranks.highest(halt.agreed or halt.told):  # or told behind the last round
        raise Halted(signalled)


def trainer_of(config: Checked, callbacks: list[pl.Callback]) -> pl.Trainer:
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
    protocol = game, settings.average, settings.get("batch_norm", "running")
    final, logged = {}, {}
    if evaluation is None:
        final = Sampler(*protocol).scores(experiment.evaluator, data)
        logged = row(final)
    else:
        if evaluation.measured_at != game.images:
            logged = evaluation.measure(game, data)
            if evaluation.best_at == game.images and run.writes:
                duplicate(run.checkpoints / "last.ckpt", run.checkpoints / "best.ckpt")
        final = evaluation.latest
    if experiment.second is not None:
        beside = Sampler(*protocol).scores(experiment.second, data)
        final, logged = {**final, **beside}, {**logged, **row(beside)}
    for logger in loggers if logged else []:
        logger.log_metrics({"rounds": game.rounds, **logged, "final": True}, step=game.images)
    return final
