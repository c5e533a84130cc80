"""Watches over a run's health: readings every so many images, rules that alarm once, and a page where one did."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
from rich.console import Console

from saddlepoint import ranks
from saddlepoint.callback.finite import Diverged
from saddlepoint.callback.health_probe import HealthProbe, last_turn_readings
from saddlepoint.callback.periodic import Periodic, RunState, is_final_round, log_metrics
from saddlepoint.console.terminal import line_printer
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.game.game import Game
from saddlepoint.health.collapse import Collapse
from saddlepoint.health.dead_discriminator import DeadDiscriminator
from saddlepoint.health.explosion import Explosion
from saddlepoint.health.overfitting import Overfitting
from saddlepoint.health.postmortem import DIVERGED, HEALTH_FILE, write_postmortem
from saddlepoint.health.reading import LOG10_MAX, images_to_overflow
from saddlepoint.health.rule import CLEARED, RAISED, Rule
from saddlepoint.health.saturation import Saturation
from saddlepoint.run.folder import Run

# in the order in which they are asked: causes before what follows from them
RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Explosion, DeadDiscriminator, Saturation, Collapse, Overfitting)
}

ANY = "any"  # in `stop`: every rule
COURSE = 5  # looks through which growth is projected


class UnhealthyRun(Mistake):
    """A rule that was told to stop the run has raised its alarm."""


_STATUS: dict[type[BaseException], str] = {Diverged: DIVERGED, UnhealthyRun: "stopped"}


class Health(Periodic):
    """health/<reading> every `images_between`, to every logger; see `health.reading` and docs/health.md.

    An alarm is raised once: a line on the terminal, one W&B alert, a line of health.jsonl; at the end postmortem.md.
    n          reals of either split, and fakes, that a look takes
    held_out   the split that D has not been shown
    stop       names of the rules whose alarm ends the run, its checkpoint saved; [any]: of any rule
    rules      by name: the settings of a rule (see its module), null to leave it out, or a Rule of your own
    Raises Mistake for an unknown rule, ValueError for a setting that makes no sense.
    """

    at_end = False

    def __init__(
        self,
        images_between: int = 6_400,
        n: int = 256,
        held_out: str = "validation",
        stop: Iterable[str] | None = (),
        rules: Mapping[str, Mapping[str, int | float] | Rule | None] | None = None,
        run: Run | None = None,
        console: Console | None = None,
        state: RunState | None = None,
    ) -> None:
        super().__init__(images_between, state)
        if type(n) is not int or n < 2:
            raise ValueError(f"n={n} must be a whole number of at least 2")
        self.n, self.held_out, self.run = n, held_out, run
        self.console = console or Console(stderr=True)
        self.print_message = line_printer(self.console)  # not `log`, which Lightning sets on every callback
        self.rules = {name: rule for name, rule in _rules(rules).items() if rule is not None}
        self.stop = frozenset(_names(stop, self.rules))
        self.magnitude_history: list[tuple[int, float]] = []  # (images, magnitude) of the last looks
        self._examination: HealthProbe | None = None

    def before_run(self, game: Game, data: Any) -> None:
        """Draw what D is examined on, before the run's folder is begun.  Raises Mistake where there is none."""
        self._examination = HealthProbe(data, self.n, self.held_out, self.print_message, game.seed)

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        data = getattr(trainer, "datamodule", None)
        if data is not None and self._examination is None:
            self.before_run(game, data)
        if self.run is not None and trainer.is_global_zero:
            _rewind(self.run, game.images)

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Take the readings, tell the loggers, ask the rules."""
        readings = _agreed(self._examination.readings(game) if self._examination else last_turn_readings(game))
        self.magnitude_history = [*self.magnitude_history, (game.images, readings["magnitude"])][-COURSE:]
        if (left := images_to_overflow(self.magnitude_history)) is not None:
            readings["overflow_in"] = left
        log_metrics(trainer, game, {f"health/{name}": float(f"{value:.6g}") for name, value in readings.items()})
        raised = []
        for name, rule in self.rules.items():
            if (happened := rule.observe(readings, game.images)) is not None:
                event = rule.event_record(happened, readings, game.images) | {"rule": name}
                self.record_event(trainer, event | _projection(rule, readings))
                raised += [name] if happened == RAISED else []
        stopping = [name for name in raised if name in self.stop]
        ends = self.state.target is not None and game.images >= self.state.target  # anyway
        if stopping and not ends:
            self.state.stop_reason = (
                f"the run was stopped by {' and '.join(stopping)} after {game.images:,} images. The same command goes "
                "on from its checkpoint, and stops at the next alarm; -m, sweep and reproduce leave it as it is"
            )
            trainer.should_stop = True  # so that whoever looks at the end of a run looks now

    def record_event(self, trainer: pl.Trainer, event: Mapping[str, Any]) -> None:
        """An alarm, or its end: one line of health.jsonl and one on the terminal; of an alarm W&B tells by mail."""
        if not trainer.is_global_zero:
            return
        line = describe_event(event)
        self.print_message(f"health: {line}")
        if self.run is not None:
            self.run.append(HEALTH_FILE, event)
        if event["event"] != CLEARED:
            for logger in trainer.loggers:
                if (alert := getattr(logger, "alert", None)) is not None:
                    alert(f"health: {event['rule']}", line)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        if self.state.stop_reason is not None:
            raise UnhealthyRun(self.state.stop_reason)
        self._page(trainer, "finished" if is_final_round(trainer, self.state) else "interrupted")

    def on_exception(self, trainer: pl.Trainer, game: Game, exception: BaseException) -> None:
        if isinstance(exception, Diverged):
            log_metrics(trainer, game, {"health/magnitude": LOG10_MAX})
            event = Explosion().event_record(DIVERGED, {"magnitude": LOG10_MAX}, game.images)
            self.record_event(trainer, event | {"note": str(exception)})
        people = isinstance(exception, KeyboardInterrupt | SystemExit)
        status = _STATUS.get(type(exception), "interrupted" if people else "failed")
        self._page(trainer, status, str(exception))

    def _page(self, trainer: pl.Trainer, status: str, why: str = "") -> None:
        """Write the post-mortem, where there is one to write, and say where it lies."""
        if self.run is None or not trainer.is_global_zero:
            return
        if (path := write_postmortem(self.run, status, why)) is not None:
            self.print_message(f"health: what went wrong, when, and what the literature tries: {path}")

    def state_dict(self) -> dict[str, Any]:
        rules = {name: rule.state for name, rule in self.rules.items()}
        return {"rules": rules, "course": [list(pair) for pair in self.magnitude_history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, state in state_dict["rules"].items():
            if name in self.rules:
                self.rules[name].state = state
        self.magnitude_history = [(int(images), float(size)) for images, size in state_dict["course"]]


def _agreed(found: Mapping[str, float | None]) -> dict[str, float]:
    """The readings there are, the same on every rank, so that all decide alike and stop in the same round.

    Ranks look at one game; but each has the losses of its own samples, and the largest of all counts.
    """
    every = ranks.all_gather_object(dict(found))
    readings = {name: value for name, value in every[0].items() if value is not None}
    return readings | {"magnitude": max(own["magnitude"] for own in every)}


def describe_event(event: Mapping[str, Any]) -> str:
    """What an event says, in a line."""
    at = f"{event['rule']} at {event['images']:,} images"
    if event["event"] == DIVERGED:
        return f"{at}: {event['note']}"
    value = f"{event['reading']} {event['value']:.3g}"
    if event["event"] == CLEARED:
        return f"{at}: cleared, {value}"
    looks = f" at {event['after']} looks in a row" if event["after"] > 1 else ""
    return f"{at}: {event['means']} ({value}, bound {event['bound']:.3g}{looks}){event.get('note', '')}"


def _projection(rule: Rule, readings: Mapping[str, float]) -> dict[str, str]:
    """When float32 ends, beside the alarm that is about it."""
    if rule.reading != "magnitude" or "overflow_in" not in readings:
        return {}
    return {"note": f"; at this pace float32 overflows in {readings['overflow_in']:,.0f} images"}


def _rules(settings: Mapping[str, Mapping[str, Any] | Rule | None] | None) -> dict[str, Rule | None]:
    """Each rule by name, as set, in the order in which they are asked; None for one that is left out."""
    settings = settings or {}
    for name, own in settings.items():
        if name not in RULES and not isinstance(own, Rule):
            raise Mistake(f"callback.health.rules.{name}: there is no such rule.{_meant(name, RULES)}")
    known: dict[str, Rule | None] = {name: _built(name, settings.get(name, {})) for name in RULES}
    return known | {name: own for name, own in settings.items() if isinstance(own, Rule)}


def _built(name: str, settings: Mapping[str, Any] | Rule | None) -> Rule | None:
    if settings is None or isinstance(settings, Rule):
        return settings
    takes = ("raise_at", "clear_at", "after", "since")
    for key in settings:
        if key not in takes:
            raise Mistake(f"callback.health.rules.{name}.{key}: a rule takes no {key}.{_meant(key, takes)}")
    try:
        return RULES[name](**settings)
    except ValueError as error:
        raise Mistake(f"callback.health.rules.{error}") from None


def _names(stop: Iterable[str] | None, rules: Iterable[str]) -> list[str]:
    """The rules that end a run; `any` stands for all.  Raises Mistake for a name that is none."""
    known = list(rules)
    names = [stop] if isinstance(stop, str) else list(stop or ())
    for name in names:
        if name not in (*known, ANY):
            raise Mistake(f"callback.health.stop: there is no rule {name}.{_meant(str(name), [*known, ANY])}")
    return known if ANY in names else names


def _meant(word: str, there: Iterable[str]) -> str:
    """Which of `there` was probably meant, and all of them."""
    there = list(there)
    return f"{did_you_mean(word, there)} There are: {', '.join(there)}"


def _rewind(run: Run, images: int) -> None:
    """Drop what is told of later than `images`: it comes again, or does not."""
    for page in (run.folder / "postmortem.md", run.folder / "postmortem.png"):
        page.unlink(missing_ok=True)
    if (run.folder / HEALTH_FILE).exists():
        kept = [event for event in run.events(HEALTH_FILE)[0] if 0 < event["images"] <= images]
        run.write(HEALTH_FILE, "".join(json.dumps(event) + "\n" for event in kept))
