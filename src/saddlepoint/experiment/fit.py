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
from saddlepoint.callback.evaluation import Evaluation, Sampler, scores_to_metrics
from saddlepoint.callback.graceful_stop import GracefulStop
from saddlepoint.callback.periodic import RunState, StopAtImages
from saddlepoint.config import allow_list
from saddlepoint.config.check import CheckedConfig, config_warnings, describe_terms
from saddlepoint.config.config_file import training_command, write_config
from saddlepoint.config.identity import (
    allowed_changes,
)
from saddlepoint.console.output import Output, current_output
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.error import SUPERVISOR, LostRank, Mistake, Stopped
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.score_table import run_score_tables
from saddlepoint.experiment.build import Experiment, build, build_callbacks, build_loggers, load_data
from saddlepoint.experiment.devices import check_precision, join_ranks, rank_info, requested_world_size, resolve_device
from saddlepoint.experiment.restore import data_changes, load_checkpoint_weights, restore_checkpoint
from saddlepoint.experiment.resume import changed_data_message, decide_start
from saddlepoint.experiment.run_record import LOST_RANK, record_outcome, scores_to_dict, write_initial_files
from saddlepoint.game.data_parallel import UnwrappedDDPStrategy
from saddlepoint.game.game import Game
from saddlepoint.game.initialisation import run_data_dependent_init
from saddlepoint.launcher import rank_processes as launcher
from saddlepoint.redaction import clear_secret_cache
from saddlepoint.run.checkpoint import (
    AtomicCheckpointIO,
    copy_checkpoint,
    load_newest_checkpoint,
    rename_broken_checkpoint,
)
from saddlepoint.run.folder import Run
from saddlepoint.run.journal import RunJournal
from saddlepoint.run.layout import run_folder


def fit(config: CheckedConfig, console: Console | None = None) -> Run:
    """Train the run of `config` from where it stands to its end, and print its scores; the run."""
    here, output = rank_info(), current_output(console)
    if here.world_size == 1 and requested_world_size(config) > 1:
        return _ranks(config, console or Console(stderr=True), output)
    join_ranks(config, here)
    console = console or Console(stderr=True, quiet=here.rank > 0)
    say = line_printer(console)
    run = Run(run_folder(config.outputs, config.name, config.seed), writes=here.rank == 0)
    try:
        with run.lock(), GracefulStop(_supervisor()) as halt:
            start = _agreed(run, config, say)
            run.remove_unfinished_files()
            if start == "finished":
                if changed := changed_data_message(run, config):
                    raise Mistake(changed)
                if run.writes:
                    _closing(run, output)
                return run
            for line in (*describe_terms(config), *config_warnings(config)):
                say(line)
            data = load_data(config, say)
            if start == "resume":
                _same_data(run, config, data, say)
            experiment = build(config, say, ProgressMeter(console), data)
            say(_sizes(experiment.game))
            if config.compile:
                experiment.game.compile_players("inductor" if config.compile is True else str(config.compile))
            _play(run, experiment, start, halt, console, say)
            if run.writes:
                _closing(run, output)
    except RuntimeError as error:
        if not ranks.is_lost_rank(error):
            raise
        raise LostRank(LOST_RANK) from None
    finally:
        ranks.leave_group()
    return run


def _sizes(game: Game) -> str:
    """How many parameters each player moves."""
    counts = {name: sum(map(torch.numel, game.player(name).network.parameters())) for name in game.players}
    return f"parameters: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"


def _closing(run: Run, output: Output) -> None:
    """The result: the closing table, or all of summary.json."""
    output(run_score_tables(run, output.width), {"run": run.folder, **run.summary})


def _same_data(run: Run, config: CheckedConfig, data: Any, say: Callable[[str], None]) -> None:
    """Raises Mistake where a run would go on with other data than it was begun with, unless resume.allow lets it."""
    if not (changed := data_changes(run, data)):
        return
    if not any(key.partition(".")[0] == "data" for key in allowed_changes(config)):
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


def _agreed(run: Run, config: CheckedConfig, say: Callable[[str], None]) -> str:
    """What rank 0 finds of the folder, which it may then change; every rank goes by it."""
    return ranks.broadcast(decide_start(run, config, say) if run.writes else None)


def _ranks(config: CheckedConfig, console: Console, output: Output) -> Run:
    """Train on several devices of this machine, a process each, and look after them; the run.

    Raises Mistake where they fail, Halted where they were told to end.
    """
    if config.nodes > 1:
        raise Mistake(
            f"nodes={config.nodes}: each machine's processes are started by torchrun or SLURM (docs/scaling.md), "
            "with this same command"
        )
    say = line_printer(console)
    run = Run(run_folder(config.outputs, config.name, config.seed))
    with TemporaryDirectory(prefix="saddlepoint-") as folder:  # no other command writes there
        write_config(file := Path(folder) / "config.yaml", config)
        command = [*training_command(file, config), *(["--json"] if output.json else [])]  # rank 0 prints the result
        code = launcher.run_ranks(command, config.devices, SUPERVISOR, say)
    if code in launcher.SIGNAL_EXITS:
        raise Stopped(code - 128)
    if code:
        if run.summary.get("status") == "running" and not run.in_use:  # rank 0 had no time to say so itself
            run.update_summary(status="failed", exit=code, error="a rank was lost")
        raise Mistake(f"the run ended with exit code {code}. The same command goes on from its last checkpoint")
    return run


def _play(
    run: Run, experiment: Experiment, start: str, halt: GracefulStop, console: Console, say: Callable[[str], None]
) -> None:
    """Train from `start` to the end and write everything down, whatever the end is."""
    config, game, data, evaluator = experiment.config, experiment.game, experiment.data, experiment.evaluator
    found = load_newest_checkpoint(run.checkpoints, say) if start == "resume" else None
    reached = found[1]["saddlepoint"]["images"] if found else 0
    _refuse_different_checkpoints(run, reached)
    trackers = build_loggers(config) if run.writes else []
    state = RunState(target=config.images)
    at_hand = {
        "run": run, "evaluator": evaluator, "selector": experiment.selector, "average": config.evaluation.average,
        "batch_norm": config.evaluation.get("batch_norm", "running"), "console": console, "state": state,
    }  # fmt: skip
    halt.state = state
    callbacks = [StopAtImages(state), halt, *build_callbacks(config, **at_hand)]
    trainer = build_trainer(config, callbacks)
    anchors = evaluator.anchor_scores(data) if evaluator else {}
    _each_that_has("before_run", callbacks, game, data)  # what cannot be observed is refused while there is no folder
    if found:
        load_checkpoint_weights(game, found[1], found[0])
    before = run.summary
    if start == "overwrite" and run.writes:
        say(f"the old run now lies in {run.move_aside()}")
    if found and run.writes:
        rename_broken_checkpoint(found[0], say)
    halt.is_writing_record = True  # from here on summary.json says running, until put_on_record says how it ended
    told = write_initial_files(run, experiment, anchors, reached if found else None) if run.writes else {}
    say(f"run: {run.folder}" + (f", going on at {reached:,} images" if found else ""))
    journal = RunJournal(run)
    for tracker in trackers:
        tracker.start(run, told, say)
    evaluation = next((c for c in callbacks if isinstance(c, Evaluation)), None)
    if evaluation is not None and found and before.get("images") == reached:
        evaluation.previous_end = reached, _final_scores(before)
    loggers = trainer.loggers = [journal, *trackers] if run.writes else []
    with record_outcome(run, game, evaluation, journal, trackers, halt, say, allow_list.allowed_names(config)):
        if reached < config.images:
            _fit(trainer, experiment, found, halt)
        elif found:
            restore_checkpoint(game, run, found[0].stem)
            if evaluation is not None and (kept := found[1]["callbacks"].get(evaluation.state_key)):
                evaluation.load_state_dict(kept)
        final = _final(run, experiment, evaluation, loggers)
        for own in _each_that_has("final_scores", callbacks, game, data):
            final |= own
        run.update_summary(final=scores_to_dict({"": final})[""])
    if run.writes:
        say(f"samples, checkpoints, metrics.jsonl and summary.json: {run.folder}")
        for tracker in trackers:
            say(tracker.whereabouts)


def _final_scores(summary: Mapping[str, Any]) -> dict[str, Score]:
    """The scores at the end of a run, as its summary has them."""
    return {key: Score.from_dict(score) for key, score in (summary.get("final") or {}).items()}


def _refuse_different_checkpoints(run: Run, reached: int) -> None:
    """Raises Mistake where the ranks would go on from different images."""
    if len(everywhere := set(ranks.all_gather_object(reached))) > 1:
        raise Mistake(
            f"the ranks find different checkpoints in {run.checkpoints}, of {sorted(everywhere)} images: outputs=... "
            "has to be a folder that all machines see"
        )


def _each_that_has(method: str, callbacks: Sequence[Any], game: Game, data: Any) -> list[Any]:
    """What the callbacks that have this method return of the game and the data, in order."""
    return [own(game, data) for one in callbacks if (own := getattr(one, method, None)) is not None]


def _fit(
    trainer: pl.Trainer, experiment: Experiment, found: tuple[Path, dict[str, Any]] | None, halt: GracefulStop
) -> None:
    """Play from the checkpoint `found`, or from the start, to the target.  Raises Halted where it was told to end."""
    game, data = experiment.game, experiment.data
    clear_secret_cache()  # code of the user's own is about to run, and may put secrets into the environment
    if not found:
        run_data_dependent_init(game, data.training_batches(0))  # before anything observes the game
    trainer.fit(game, datamodule=data, ckpt_path=str(found[0]) if found else None, weights_only=True)
    if signalled := ranks.max(halt.agreed_signal or halt.received_signal):  # or told behind the last round
        raise Stopped(signalled)


def build_trainer(config: CheckedConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning, with nothing switched on that counts optimizer steps, writes files or talks."""
    settings: Any = OmegaConf.to_container(config.trainer, resolve=True)
    kind, here = resolve_device(config).type, rank_info()
    check_precision(config)
    if settings.get("sync_batchnorm") is None:
        settings["sync_batchnorm"] = kind == "cuda" and here.world_size > 1
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    return pl.Trainer(
        accelerator=kind,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=UnwrappedDDPStrategy() if here.world_size > 1 else "auto",
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
    game.to(resolve_device(experiment.config))
    protocol = game, settings.average, settings.get("batch_norm", "running")
    final, logged = {}, {}
    if evaluation is None:
        final = Sampler(*protocol).evaluate(experiment.evaluator, data)
        logged = scores_to_metrics(final)
    else:
        if evaluation.measured_at != game.images:
            logged = evaluation.measure(game, data)
            if evaluation.best_at == game.images and run.writes:
                copy_checkpoint(run.checkpoints / "last.ckpt", run.checkpoints / "best.ckpt")
        final = evaluation.latest
    if experiment.second_evaluator is not None:
        beside = Sampler(*protocol).evaluate(experiment.second_evaluator, data)
        final, logged = {**final, **beside}, {**logged, **scores_to_metrics(beside)}
    for logger in loggers if logged else []:
        logger.log_metrics({"rounds": game.rounds, **logged, "final": True}, step=game.images)
    return final
