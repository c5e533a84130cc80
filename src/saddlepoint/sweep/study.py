"""A search on disk: Optuna's study, shared by several processes, and consistent after any of them is killed.

    <outputs>/<name>/study.db        SQLite; or journal.log, for disks on which SQLite cannot lock
    <outputs>/<name>/.study.lock     held while a trial is claimed: counting, proposing and claiming are one step
    <outputs>/<name>/.trial<k>.lock  held while trial k runs; a lock is released when its process dies

A trial that is running in the study while no process holds its lock was lost with its process. It is claimed again
before a new trial is proposed.  The guarantees are listed in docs/sweeping.md.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import JSONDecodeError
from os import SEEK_END
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from saddlepoint.config.catalogue import rename_override
from saddlepoint.error import Mistake
from saddlepoint.run.folder import unwritable_error
from saddlepoint.sweep.method import build_sampler
from saddlepoint.sweep.plan import Plan, describe_first_change

FILES = {"sqlite": "study.db", "journal": "journal.log"}
LOCK_TIMEOUT = 60.0  # seconds to wait for another process's write
# user attributes of Optuna's: a study's defining settings, a trial's details, whether its pruner has stopped it
SETTINGS, DETAILS, PRUNE_REQUESTED = "saddlepoint", "about", "given up"
FINISHED, PRUNED, FAILED, RUNNING = "finished", "pruned", "failed", "running"
STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError, OSError, JSONDecodeError)
# opening a file that is not a study, is damaged, or is from another version of Optuna can raise any of these
OPEN_ERRORS = (*STORAGE_ERRORS, ValueError, TypeError, LookupError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class TrialRecord:
    """The state of one trial."""

    number: int
    state: str
    params: dict[str, Any]
    value: float | None  # of a finished one
    curve: dict[int, float]  # images -> score of its first seed, along the run
    details: dict[str, Any] = field(default_factory=dict)  # reason, seconds, values by seed

    @property
    def reason(self) -> str:
        return str(self.details.get("reason", ""))

    @property
    def seconds(self) -> float:
        return float(self.details.get("seconds", 0.0))


def rank_finished(plan: Plan, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the finished trials, the best first."""
    sign = -1 if plan.metric.higher_is_better else 1
    finished = [trial for trial in trials if trial.value is not None]
    return sorted(finished, key=lambda trial: sign * (trial.value or 0.0))


@dataclass
class ClaimedTrial:
    """A trial that this process runs, and no other."""

    number: int
    params: dict[str, Any]
    trial: optuna.Trial
    lock: FileLock
    prune_requested: bool  # whether the pruner had stopped it before its process was lost


class Study:
    """The study in `folder`.  Raises Mistake if its storage is locked, broken, or holds another search."""

    def __init__(self, folder: Path, plan: Plan, pruner: BasePruner, storage: str = "sqlite") -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        self.folder, self.plan, self.path = folder, plan, folder / FILES[storage]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable_error(folder, error) from None
        if others := [FILES[kind] for kind in FILES if kind != storage and (folder / FILES[kind]).exists()]:
            raise Mistake(
                f"{folder} holds a study in {others[0]}: continue with that storage, or give this study a name=..."
            )
        with self._study_lock(OPEN_ERRORS):
            self.optuna_study = self._open_or_create(pruner)
            self._record_or_check_search()
            self.optuna_study.get_trials(deepcopy=False)  # a damaged row raises an error here

    def _open_or_create(self, pruner: BasePruner) -> optuna.Study:
        """Open Optuna's study, or create it.  Raises Mistake if the file holds one with another name."""
        name, storage = self.plan.name, _open_storage(self.path)
        if others := set(optuna.get_all_study_names(storage)) - {name}:
            raise Mistake(
                f"{self.path} holds the study {min(others)}, not {name}; choose another name=... or outputs=..."
            )
        return optuna.create_study(
            storage=storage,
            study_name=name,
            direction=self.plan.metric.direction,
            pruner=pruner,
            load_if_exists=True,
        )

    def _record_or_check_search(self) -> None:
        """Record the settings of a new study.  Raises Mistake if an existing study has others, or none."""
        stored = self.optuna_study.user_attrs.get(SETTINGS)
        if stored is None:
            if self.optuna_study.trials:
                raise Mistake(f"{self.path} is a study that saddlepoint sweep did not create; choose another name=...")
            self.optuna_study.set_user_attr(SETTINGS, self.plan.defining_settings)
            return
        stored = {**stored, "words": [rename_override(override) for override in stored.get("words", ())]}
        if change := describe_first_change(stored, self.plan.defining_settings):
            raise Mistake(f"{self.path} holds another search: {change}.\nGive this search another name=...")

    def claim_trial(self) -> ClaimedTrial | None:
        """Return a trial to run: one that was lost with its process, else a new one; None if there is none to start."""
        with self._study_lock():
            trials = self.optuna_study.get_trials(deepcopy=False)
            for frozen in trials:
                if frozen.state == TrialState.RUNNING and (lock := self._lock_trial(frozen.number)) is not None:
                    # the trial may have ended after the study was read and before its lock was acquired
                    if self.optuna_study._storage.get_trial(frozen._trial_id).state == TrialState.RUNNING:
                        self._set_sampler(frozen.number)
                        return self._propose_values(optuna.Trial(self.optuna_study, frozen._trial_id), lock)
                    lock.release()
            if len(trials) >= self.plan.n_trials:
                return None
            self._set_sampler(len(trials))
            trial = self.optuna_study.ask()
            lock = self._lock_trial(trial.number)
            assert lock is not None, "no other process can hold a trial that was created under the study's lock"
            return self._propose_values(trial, lock)

    def _set_sampler(self, number: int) -> None:
        self.optuna_study.sampler = build_sampler(self.plan.sampler, self.plan.space, number)

    def _propose_values(self, trial: optuna.Trial, lock: FileLock) -> ClaimedTrial:
        """Propose the values that the trial does not have yet."""
        for dimension in self.plan.space:
            trial._suggest(dimension.key, dimension.distribution)
        return ClaimedTrial(trial.number, dict(trial.params), trial, lock, bool(trial.user_attrs.get(PRUNE_REQUESTED)))

    def _lock_trial(self, number: int) -> FileLock | None:
        """Return the acquired lock of a trial; None if another process runs it."""
        lock = FileLock(self.folder / f".trial{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def report_score(self, claimed: ClaimedTrial, images: int, value: float) -> bool:
        """Record an intermediate score, once; return whether the pruner stops the trial, which is recorded, too."""
        with self._storage_errors_as_mistakes():
            if images in self.optuna_study._storage.get_trial(claimed.trial._trial_id).intermediate_values:
                return False
            claimed.trial.report(value, images)
            if should_prune := claimed.trial.should_prune():
                claimed.trial.set_user_attr(PRUNE_REQUESTED, True)
            return should_prune

    def end_trial(self, claimed: ClaimedTrial, state: str, value: float | None = None, **details: Any) -> None:
        """Record the final state of a trial, and release its lock."""
        with self._storage_errors_as_mistakes():
            claimed.trial.set_user_attr(DETAILS, details)
            optuna_state = next(key for key, name in STATES.items() if name == state)
            self.optuna_study.tell(claimed.trial, value, state=optuna_state)
        claimed.lock.release()

    def trial_records(self) -> list[TrialRecord]:
        """Return every trial, in order of number."""
        with self._storage_errors_as_mistakes():
            return [_to_record(frozen) for frozen in self.optuna_study.get_trials(deepcopy=False)]

    @property
    def is_over(self) -> bool:
        """Whether the planned number of trials has ended, and none is running."""
        states = [trial.state for trial in self.trial_records()]
        return RUNNING not in states and len(states) >= self.plan.n_trials

    @contextmanager
    def _study_lock(self, errors: tuple[type[Exception], ...] = STORAGE_ERRORS) -> Iterator[None]:
        """Hold the study's lock, so that no other process claims a trial."""
        lock = FileLock(self.folder / ".study.lock")
        try:
            lock.acquire(timeout=LOCK_TIMEOUT)
        except Timeout:
            raise Mistake(
                f"{self.folder}: another process has locked the study for {LOCK_TIMEOUT:.0f} s; is it suspended?"
            ) from None
        try:
            with self._storage_errors_as_mistakes(errors):
                yield
        finally:
            lock.release()

    @contextmanager
    def _storage_errors_as_mistakes(self, errors: tuple[type[Exception], ...] = STORAGE_ERRORS) -> Iterator[None]:
        try:
            yield
        except errors as error:
            message = " ".join(str(error.__cause__ or error).split())
            if "locked" in message:
                raise Mistake(
                    f"{self.path} is locked: another program has it open for writing. Close it, or let it finish"
                ) from None
            raise Mistake(
                f"{self.path} cannot be used ({message[:120]}).\n"
                f"To start over, move the whole folder {self.folder} away, or choose another name=..."
            ) from error


def _open_storage(path: Path) -> Any:
    if path.name == FILES["journal"]:
        return JournalStorage(JournalFileBackend(str(path), _JournalLock(path)))
    return RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT}})


class _JournalLock(JournalFileSymlinkLock):
    """A journal's lock that is released when its process dies; Optuna's is a file that a killed process leaves behind.

    Acquiring the lock also removes an incomplete last line, which a killed process may leave.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal, self._lock = journal, FileLock(journal.with_name(".journal.lock"))

    def acquire(self) -> bool:
        self._lock.acquire(timeout=LOCK_TIMEOUT)
        _remove_incomplete_line(self._journal)
        return True

    def release(self) -> None:
        self._lock.release()


def _remove_incomplete_line(journal: Path) -> None:
    """Remove a last line without a line break.  Raises ValueError if it is the only line."""
    with journal.open("rb+") as file:
        if file.seek(0, SEEK_END) == 0:
            return
        file.seek(-1, SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            if not (size := file.read().rfind(b"\n") + 1):
                raise ValueError("it has no complete line")
            file.truncate(size)


def _to_record(frozen: FrozenTrial) -> TrialRecord:
    state = STATES.get(frozen.state, RUNNING)
    value = frozen.value if state == FINISHED else None
    details = dict(frozen.user_attrs.get(DETAILS, {}))
    return TrialRecord(frozen.number, state, dict(frozen.params), value, dict(frozen.intermediate_values), details)
