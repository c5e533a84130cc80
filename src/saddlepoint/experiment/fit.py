"""A whole run from its checked config: join the ranks, lock the folder, build the game, train and measure it."""

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
from saddlepoint.callback.checkpoint import Checkpoint
from saddlepoint.callback.evaluation import Evaluation, Sampler, scores_to_metrics
from saddlepoint.callback.graceful_stop import GracefulStop
from saddlepoint.callback.periodic import Blocks, RunState, StopAtImages
from saddlepoint.config import allow_list
from saddlepoint.config.check import CheckedConfig, config_warnings, describe_terms
from saddlepoint.config.config_file import training_command, write_config
from saddlepoint.config.identity import allowed_changes
from saddlepoint.console.output import Output, current_output
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.error import SUPERVISOR, LostRank, Mistake, Stopped
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.score_table import run_score_tables
from saddlepoint.experiment.build import Experiment, build, build_callbacks, build_loggers, load_data
from saddlepoint.experiment.devices import (
    check_precision,
    check_world_size,
    join_process_group,
    rank_info,
    resolve_device,
)
from saddlepoint.experiment.restore import (
    check_symbols,
    data_changes,
    load_checkpoint_weights,
    load_initial_weights,
    restore_checkpoint,
    set_initial_weights,
)
from saddlepoint.experiment.resume import changed_data_message, decide_start
from saddlepoint.experiment.run_record import LOST_RANK, record_outcome, rewind_and_write_initial_files, scores_to_dict
from saddlepoint.game.data_parallel import UnwrappedDDPStrategy
from saddlepoint.game.game import Game
from saddlepoint.game.initialisation import run_data_dependent_init
from saddlepoint.launcher import rank_processes as launcher
from saddlepoint.privacy.guarantee import describe_privacy
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
    """Train the run of `config` from its current state to the end, print its scores, and return it."""
    info, output = rank_info(), current_output(console)
    if info.world_size == 1 and check_world_size(config) > 1:
        return _fit_on_ranks(config, console or Console(stderr=True), output)
    join_process_group(config, info)
    console = console or Console(stderr=True, quiet=info.rank > 0)
    log = line_printer(console)
    run = Run(run_folder(config.outputs, config.name, config.seed), writes=info.rank == 0)
    try:
        with run.lock(), GracefulStop(_supervisor_pid()) as stop:
            start = _decide_start(run, config, log)
            run.remove_unfinished_files()
            if start == "finished":
                if message := changed_data_message(run, config):
                    raise Mistake(message)
                if run.writes:
                    _print_result(run, output)
                return run
            for line in (*describe_terms(config), *config_warnings(config)):
                log(line)
            data = load_data(config, log)
            if start == "resume":
                _check_same_data(run, config, data, log)
            experiment = build(config, log, ProgressMeter(console), data)
            log(_format_parameter_counts(experiment.game))
            if config.compile:
                experiment.game.compile_players("inductor" if config.compile is True else str(config.compile))
            _train_and_record(run, experiment, start, stop, console, log)
            if run.writes:
                _print_result(run, output)
    except RuntimeError as error:
        if not ranks.is_lost_rank(error):
            raise
        raise LostRank(LOST_RANK) from None
    finally:
        ranks.leave_group()
    return run


def _format_parameter_counts(game: Game) -> str:
    """Format the number of parameters of each player."""
    counts = {name: sum(map(torch.numel, player.network.parameters())) for name, player in game.players.items()}
    return f"parameters: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"


def _print_result(run: Run, output: Output) -> None:
    """Print the result: the final table, or with --json the content of summary.json."""
    output.print_result(run_score_tables(run, output.width), {"run": run.folder, **run.summary})


def _check_same_data(run: Run, config: CheckedConfig, data: Any, log: Callable[[str], None]) -> None:
    """Raise Mistake if the data of a resumed run have changed since its start, unless resume.allow permits it."""
    if not (changed := data_changes(run, data)):
        return
    if not any(key.partition(".")[0] == "data" for key in allowed_changes(config)):
        raise Mistake(
            f"{run.folder} was started with other data: {'; '.join(changed)}. Restore those data, give this run "
            "another name=..., or resume with the changed data: resume.allow=[data]"
        )
    check_symbols(str(run.folder), data)
    log(f"resuming with changed data, as resume.allow permits: {'; '.join(changed)}")


def _supervisor_pid() -> int | None:
    """Return the id of the process that supervises this rank, `train` itself or torchrun; None if there is none."""
    if SUPERVISOR in os.environ:
        return int(os.environ[SUPERVISOR])
    return os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None


def _decide_start(run: Run, config: CheckedConfig, log: Callable[[str], None]) -> str:
    """Return the decision of rank 0 on how to start; rank 0 decides because it may change the folder."""
    return ranks.broadcast(decide_start(run, config, log) if run.writes else None)


def _fit_on_ranks(config: CheckedConfig, console: Console, output: Output) -> Run:
    """Train on several devices of this machine, with one supervised process each, and return the run.

    Raises Mistake if they fail, Stopped if a signal ended them.
    """
    if config.nodes > 1:
        raise Mistake(
            f"nodes={config.nodes}: start the processes of each machine by torchrun or SLURM (docs/scaling.md), "
            "with the same command"
        )
    log = line_printer(console)
    run = Run(run_folder(config.outputs, config.name, config.seed))
    with TemporaryDirectory(prefix="saddlepoint-") as folder:  # a folder that no other command writes to
        write_config(file := Path(folder) / "config.yaml", config)
        command = [*training_command(file, config), *(["--json"] if output.json else [])]  # rank 0 prints the result
        code = launcher.run_ranks(command, config.devices, SUPERVISOR, log)
    if code in launcher.SIGNAL_EXITS:
        raise Stopped(code - 128)
    if code:
        if run.summary.get("status") == "running" and not run.in_use:  # rank 0 could not record it
            run.update_summary(status="failed", exit=code, error="a rank was lost")
        raise Mistake(f"the run ended with exit code {code}. The same command resumes from its last checkpoint")
    return run


def _callbacks_of_config(run: Run, experiment: Experiment, console: Console, state: RunState) -> list[pl.Callback]:
    """Build the callbacks of the config with the objects of the run that their constructors name."""
    config = experiment.config
    available = {
        "run": run, "evaluator": experiment.evaluator, "selector": experiment.selector,
        "average": config.evaluation.average, "batch_norm": config.evaluation.get("batch_norm", "running"),
        "console": console, "state": state,
    }  # fmt: skip
    return build_callbacks(config, **available)


def _train_and_record(
    run: Run, experiment: Experiment, start: str, stop: GracefulStop, console: Console, log: Callable[[str], None]
) -> None:
    """Train from `start` to the end and record the outcome, also on failure."""
    config, game, data, evaluator = experiment.config, experiment.game, experiment.data, experiment.evaluator
    newest = load_newest_checkpoint(run.checkpoints, log) if start == "resume" else None
    start_images = newest[1]["saddlepoint"]["images"] if newest else 0
    _check_ranks_agree(run, start_images)
    trackers = build_loggers(config) if run.writes else []
    state = RunState(target=config.images)
    stop.state = state
    blocks = Blocks(config.get("block", 1), log)
    callbacks = [StopAtImages(state), stop, blocks, *_callbacks_of_config(run, experiment, console, state)]
    trainer = build_trainer(config, callbacks)
    anchors = evaluator.measure_anchors(data) if evaluator else {}
    has_start = config.get("start") and not newest
    if has_start:
        check_symbols(config.start, data)
    initial = load_initial_weights(game, config.start, config.start_average, log) if has_start else {}
    _call_each("before_run", callbacks, game, data)  # raises before the folder exists
    if newest:
        load_checkpoint_weights(game, newest[1], newest[0])
    previous_summary = run.summary
    if start == "overwrite" and run.writes:
        log(f"the old run was moved to {run.move_aside()}")
    if newest and run.writes:
        rename_broken_checkpoint(newest[0], log)
    stop.is_writing_record = True  # from here on summary.json has the status running, until record_outcome
    resumed_at = start_images if newest else None
    tracker_config = rewind_and_write_initial_files(run, experiment, anchors, resumed_at) if run.writes else {}
    log(f"run: {run.folder}" + (f", resuming at {start_images:,} images" if newest else ""))
    journal = RunJournal(run)
    for tracker in trackers:
        tracker.start(run, tracker_config, log)
    evaluation = _evaluation_of(callbacks)
    if evaluation is not None and newest and previous_summary.get("images") == start_images:
        evaluation.previous_end = start_images, _parse_final_scores(previous_summary)
    loggers = trainer.loggers = [journal, *trackers] if run.writes else []
    with record_outcome(run, game, evaluation, journal, trackers, stop, log, allow_list.allowed_names(config)):
        if start_images < config.images:
            _train_to_target(trainer, experiment, newest, initial, stop)
        elif newest:
            restore_checkpoint(game, run, newest[0].stem)
            if evaluation is not None and (evaluation_state := newest[1]["callbacks"].get(evaluation.state_key)):
                evaluation.load_state_dict(evaluation_state)
        _record_final_scores(run, experiment, callbacks, loggers, state)
    if run.writes:
        if privacy := run.summary.get("privacy"):
            log(f"privacy: {describe_privacy(privacy)}")
        log(f"samples, checkpoints, metrics.jsonl and summary.json: {run.folder}")
        for tracker in trackers:
            log(tracker.whereabouts)


def _record_final_scores(
    run: Run, experiment: Experiment, callbacks: Sequence[Any], loggers: list[Any], state: RunState
) -> None:
    """Measure the final scores, write them to the summary, and copy the last checkpoint if it is now the best."""
    game, data = experiment.game, experiment.data
    final = _measure_final_scores(experiment, _evaluation_of(callbacks), loggers)
    if run.writes and state.best_at == game.images and any(isinstance(c, Checkpoint) for c in callbacks):
        copy_checkpoint(run.checkpoints / "last.ckpt", run.checkpoints / "best.ckpt")
    for scores in _call_each("final_scores", callbacks, game, data):
        final |= scores
    run.update_summary(final=scores_to_dict({"": final})[""])


def _evaluation_of(callbacks: Sequence[Any]) -> Evaluation | None:
    """Return the evaluation callback, if there is one."""
    return next((callback for callback in callbacks if isinstance(callback, Evaluation)), None)


def _parse_final_scores(summary: Mapping[str, Any]) -> dict[str, Score]:
    """Return the final scores in the summary of a run."""
    return {key: Score.from_dict(score) for key, score in (summary.get("final") or {}).items()}


def _check_ranks_agree(run: Run, images: int) -> None:
    """Raise Mistake if the ranks would resume from different images."""
    if len(all_images := set(ranks.all_gather_object(images))) > 1:
        raise Mistake(
            f"the ranks see different checkpoints in {run.checkpoints}, at {sorted(all_images)} images: outputs=... "
            "must be a folder that all machines share"
        )


def _call_each(method: str, callbacks: Sequence[Any], game: Game, data: Any) -> list[Any]:
    """Call `method(game, data)` on the callbacks that have it, in order, and return the results."""
    return [getattr(callback, method)(game, data) for callback in callbacks if hasattr(callback, method)]


def _train_to_target(
    trainer: pl.Trainer,
    experiment: Experiment,
    newest: tuple[Path, dict[str, Any]] | None,
    initial: Mapping[str, Any],
    stop: GracefulStop,
) -> None:
    """Train from the checkpoint `newest`, or from the `initial` weights of players (others: new), to the target.

    Raises Stopped after a signal.
    """
    game, data = experiment.game, experiment.data
    clear_secret_cache()  # user code runs from here on, and may put secrets into the environment
    if not newest:
        run_data_dependent_init(game, data.training_batches(0))  # before a callback reads the game
        set_initial_weights(game, initial)
    trainer.fit(game, datamodule=data, ckpt_path=str(newest[0]) if newest else None, weights_only=True)
    # the signal may arrive after the last round
    if signal_number := ranks.max(stop.agreed_signal or stop.received_signal):
        raise Stopped(signal_number)


def build_trainer(config: CheckedConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Build Lightning's Trainer without the features that count optimizer steps, write files or print."""
    settings: Any = OmegaConf.to_container(config.trainer, resolve=True)
    device_type, info = resolve_device(config).type, rank_info()
    check_precision(config)
    if device_type == "cpu":  # Lightning sets it to 1: Adam then opens the GPU's driver library at every step
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    if settings.get("sync_batchnorm") is None:
        settings["sync_batchnorm"] = device_type == "cuda" and info.world_size > 1
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    return pl.Trainer(
        accelerator=device_type,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=UnwrappedDDPStrategy() if info.world_size > 1 else "auto",
        logger=False,  # the loggers are set later, once the run folder exists
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), info.environment],
        max_epochs=-1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=config.outputs,
        **settings,
    )


def _measure_final_scores(
    experiment: Experiment, evaluation: Evaluation | None, loggers: list[Any]
) -> dict[str, Score]:
    """Return the final scores, including those of the second extractor, and log the ones measured here.

    The last scores of the evaluation callback are reused if they were measured at the same images.
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
        final = evaluation.latest
    if experiment.second_evaluator is not None:
        second_scores = Sampler(*protocol).evaluate(experiment.second_evaluator, data)
        final, logged = {**final, **second_scores}, {**logged, **scores_to_metrics(second_scores)}
    for logger in loggers if logged else []:
        logger.log_metrics({"rounds": game.rounds, **logged, "final": True}, step=game.images)
    return final
