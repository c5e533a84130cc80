"""A search on disk: Optuna's study, shared by whoever works on it, and never left in doubt by a killed process.

    <outputs>/<name>/study.db        SQLite; or journal.log, for disks on which SQLite cannot lock
    <outputs>/<name>/.study.lock     held while a trial is taken: counting, proposing and claiming are one step
    <outputs>/<name>/.trial<k>.lock  held while trial k is played; a lock dies with its process

A trial that the study calls running while nobody holds its lock was lost with its process: it is taken up again before
a new one is proposed. What is promised: docs/sweeping.md.
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

from saddlepoint.error import Mistake
from saddlepoint.run.folder import unwritable_error
from saddlepoint.sweep.method import build_sampler
from saddlepoint.sweep.plan import Plan, first_changed_setting

FILES = {"sqlite": "study.db", "journal": "journal.log"}
PATIENCE = 60.0  # seconds to wait for another process's write
IDENTITY = "saddlepoint"  # the user attribute under which a study says which search it is
ABOUT = "about"  # and under which a trial says how it went
FINISHED, PRUNED, FAILED, RUNNING = "finished", "pruned", "failed", "running"
STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
GIVEN_UP = "given up"  # and that its pruner has decided, for whoever takes it up again
BROKEN = (SQLAlchemyError, StorageInternalError, OSError, JSONDecodeError)
# what is no study, is damaged, or is of another Optuna raises anything when it is opened
UNREADABLE = (*BROKEN, ValueError, TypeError, LookupError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class TrialRecord:
    """How one trial stands."""

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
    """Those of the trials that finished, the best first."""
    sign = -1 if plan.metric.higher_is_better else 1
    return sorted((one for one in trials if one.value is not None), key=lambda one: sign * (one.value or 0.0))


@dataclass
class ClaimedTrial:
    """A trial that this process plays, and nobody else."""

    number: int
    params: dict[str, Any]
    trial: optuna.Trial
    lock: FileLock
    prune_requested: bool  # whether it was to be pruned when its process was lost


class Study:
    """The study in `folder`.  Raises Mistake for a storage that is locked, broken, or of another search."""

    def __init__(self, folder: Path, plan: Plan, pruner: BasePruner, storage: str = "sqlite") -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        self.folder, self.plan, self.path = folder, plan, folder / FILES[storage]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable_error(folder, error) from None
        if other := [FILES[kind] for kind in FILES if kind != storage and (folder / FILES[kind]).exists()]:
            raise Mistake(f"{folder} holds a study in {other[0]}: go on with that storage, or give this one a name=...")
        with self._alone(UNREADABLE):
            self.optuna_study = self._opened(pruner)
            self._claim()
            self.optuna_study.get_trials(deepcopy=False)  # a damaged row is told now

    def _opened(self, pruner: BasePruner) -> optuna.Study:
        """Optuna's study, made where the file holds none.  Raises Mistake where it holds one of another name."""
        name, storage = self.plan.name, _storage(self.path)
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

    def _claim(self) -> None:
        if (there := self.optuna_study.user_attrs.get(IDENTITY)) is None:
            if self.optuna_study.trials:
                raise Mistake(f"{self.path} is a study that saddlepoint sweep did not make; choose another name=...")
            self.optuna_study.set_user_attr(IDENTITY, self.plan.defining_settings)
        elif differs := first_changed_setting(there, self.plan.defining_settings):
            raise Mistake(f"{self.path} holds another search: {differs}.\nGive this one a name=... of its own")

    def claim_trial(self) -> ClaimedTrial | None:
        """A trial to play: one that was lost with its process, else a new one; None where there is none to begin."""
        with self._alone():
            there = self.optuna_study.get_trials(deepcopy=False)
            for frozen in there:
                if frozen.state == TrialState.RUNNING and (lock := self._claimed(frozen.number)) is not None:
                    # it may have ended between the look at the study and the one at its lock
                    if self.optuna_study._storage.get_trial(frozen._trial_id).state == TrialState.RUNNING:
                        self._sample_for(frozen.number)
                        return self._suggested(optuna.Trial(self.optuna_study, frozen._trial_id), lock)
                    lock.release()
            if len(there) >= self.plan.n_trials:
                return None
            self._sample_for(len(there))
            trial = self.optuna_study.ask()
            lock = self._claimed(trial.number)
            assert lock is not None, "a trial that was begun under the study's lock is nobody else's"
            return self._suggested(trial, lock)

    def _sample_for(self, number: int) -> None:
        self.optuna_study.sampler = build_sampler(self.plan.sampler, self.plan.space, number)

    def _suggested(self, trial: optuna.Trial, lock: FileLock) -> ClaimedTrial:
        """The trial; what a process that lost it had not come to propose is proposed now."""
        for one in self.plan.space:
            trial._suggest(one.key, one.distribution)
        return ClaimedTrial(trial.number, dict(trial.params), trial, lock, bool(trial.user_attrs.get(GIVEN_UP)))

    def _claimed(self, number: int) -> FileLock | None:
        """The lock of a trial, None where another process plays it."""
        lock = FileLock(self.folder / f".trial{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def report_score(self, taken: ClaimedTrial, images: int, value: float) -> bool:
        """Note a score along the run, once; whether the trial should be given up, which is written down as well."""
        with self._told():
            if images in self.optuna_study._storage.get_trial(taken.trial._trial_id).intermediate_values:
                return False
            taken.trial.report(value, images)
            if hopeless := taken.trial.should_prune():
                taken.trial.set_user_attr(GIVEN_UP, True)
            return hopeless

    def end_trial(self, taken: ClaimedTrial, state: str, value: float | None = None, **about: Any) -> None:
        """Write down how a trial ended, and let go of it."""
        with self._told():
            taken.trial.set_user_attr(ABOUT, about)
            told = next(one for one, name in STATES.items() if name == state)
            self.optuna_study.tell(taken.trial, value, state=told)
        taken.lock.release()

    def trial_records(self) -> list[TrialRecord]:
        """Every trial, in order of number."""
        with self._told():
            return [_standing(frozen) for frozen in self.optuna_study.get_trials(deepcopy=False)]

    @property
    def is_over(self) -> bool:
        """Whether as many trials have ended as were asked for, and none is being played."""
        states = [one.state for one in self.trial_records()]
        return RUNNING not in states and len(states) >= self.plan.n_trials

    @contextmanager
    def _alone(self, broken: tuple[type[Exception], ...] = BROKEN) -> Iterator[None]:
        """Hold the study: nobody else takes a trial meanwhile."""
        lock = FileLock(self.folder / ".study.lock")
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise Mistake(
                f"{self.folder}: another process has held the study for {PATIENCE:.0f} s; is it stopped?"
            ) from None
        try:
            with self._told(broken):
                yield
        finally:
            lock.release()

    @contextmanager
    def _told(self, broken: tuple[type[Exception], ...] = BROKEN) -> Iterator[None]:
        try:
            yield
        except broken as error:
            said = " ".join(str(error.__cause__ or error).split())
            if "locked" in said:
                raise Mistake(
                    f"{self.path} is locked: another program has it open for writing. Close it, or let it finish"
                ) from None
            raise Mistake(
                f"{self.path} cannot be used ({said[:120]}).\n"
                f"To begin again, move the whole folder {self.folder} away, or choose another name=..."
            ) from error


def _storage(path: Path) -> Any:
    if path.name == FILES["journal"]:
        return JournalStorage(JournalFileBackend(str(path), _Lock(path)))
    return RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": PATIENCE}})


class _Lock(JournalFileSymlinkLock):
    """A journal's lock that dies with its process; Optuna's own is a file that a killed one leaves behind.

    Whoever holds it is about to write, and finds whole lines: a line that a killed one left cut short is taken off.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal, self._lock = journal, FileLock(journal.with_name(".journal.lock"))

    def acquire(self) -> bool:
        self._lock.acquire(timeout=PATIENCE)
        _mend(self._journal)
        return True

    def release(self) -> None:
        self._lock.release()


def _mend(journal: Path) -> None:
    """Take off a last line without an end, to which the next would be glued.  Raises ValueError for a first one."""
    with journal.open("rb+") as file:
        if file.seek(0, SEEK_END) == 0:
            return
        file.seek(-1, SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            if not (whole := file.read().rfind(b"\n") + 1):
                raise ValueError("there is no whole line in it")
            file.truncate(whole)


def _standing(frozen: FrozenTrial) -> TrialRecord:
    state = STATES.get(frozen.state, RUNNING)
    value = frozen.value if state == FINISHED else None
    about = frozen.user_attrs.get(ABOUT, {})
    return TrialRecord(frozen.number, state, dict(frozen.params), value, dict(frozen.intermediate_values), dict(about))
