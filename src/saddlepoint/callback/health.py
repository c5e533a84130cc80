"""Health checks along a run: readings every so many images, rules that raise alarms, and a post-mortem page."""

import copy
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
from saddlepoint.health.inversion import Inversion
from saddlepoint.health.overfitting import Overfitting
from saddlepoint.health.postmortem import DIVERGED, write_postmortem
from saddlepoint.health.reading import LOG10_MAX, images_to_overflow
from saddlepoint.health.rule import Rule
from saddlepoint.health.saturation import Saturation
from saddlepoint.run.alarm import CLEARED, HEALTH_FILE, RAISED
from saddlepoint.run.folder import Run

# in the order of evaluation: causes before their effects
RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Explosion, DeadDiscriminator, Saturation, Collapse, Inversion, Overfitting)
}

ANY = "any"  # in `stop`: every rule
HISTORY = 5  # checks from which growth is extrapolated


class UnhealthyRun(Mistake):
    """A rule in `stop` has raised its alarm."""


_STATUS: dict[type[BaseException], str] = {Diverged: DIVERGED, UnhealthyRun: "stopped"}


class Health(Periodic):
    """Logs health/<reading> every `images_between` with every logger; see `health.reading` and docs/health.md.

    An alarm is raised once: a line on the terminal and in health.jsonl, and a W&B alert. postmortem.md follows at the
    end of the run.
    n          number of training reals, held-out reals and fakes per check
    held_out   a split that D is not trained on
    stop       names of rules whose alarm ends the run, with a checkpoint; [any]: all rules
    rules      by name: the settings of a rule (see its module), null to disable it, or a user-defined Rule
    Raises Mistake for an unknown rule, ValueError for an invalid setting.
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
            raise ValueError(f"n={n} must be an integer of at least 2")
        self.n, self.held_out, self.run = n, held_out, run
        self.console = console or Console(stderr=True)
        self.print_message = line_printer(self.console)  # not `log`, which Lightning sets on every callback
        self.rules = {name: rule for name, rule in _build_rules(rules).items() if rule is not None}
        self.stop = frozenset(_parse_stop(stop, self.rules))
        self.initial_rules, self.rules_by_side = copy.deepcopy(self.rules), {"": self.rules}
        self.magnitude_history: list[tuple[int, float]] = []  # (images, magnitude) of the last checks
        self._probe: HealthProbe | None = None

    def before_run(self, game: Game, data: Any) -> None:
        """Draw the samples of the checks; called before the run folder is created. Raises Mistake if there are none."""
        self._probe = HealthProbe(data, self.n, self.held_out, self.print_message, game.seed)

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        data = getattr(trainer, "datamodule", None)
        if data is not None and self._probe is None:
            self.before_run(game, data)
        if self.run is not None and trainer.is_global_zero:
            _discard_events_after(self.run, game.images)

    def on_due(self, trainer: pl.Trainer, game: Game) -> None:
        """Compute and log the readings, and evaluate the rules."""
        readings = _merge_ranks(self._probe.readings(game) if self._probe else last_turn_readings(game))
        self.magnitude_history = [*self.magnitude_history, (game.images, readings["magnitude"])][-HISTORY:]
        if (images := images_to_overflow(self.magnitude_history)) is not None:
            readings["overflow_in"] = images
        log_metrics(trainer, game, {f"health/{name}": float(f"{value:.6g}") for name, value in readings.items()})
        raised = []
        for side, side_readings in _readings_by_side(readings).items():
            for name, rule in (self._rules_of_side(side) if side else self.rules).items():
                if (change := rule.observe(side_readings, game.images)) is not None:
                    event = rule.event_record(change, side_readings, game.images) | {"rule": f"{side}{name}"}
                    self.record_event(trainer, event | _overflow_note(rule, side_readings))
                    raised += [name] if change == RAISED else []
        stopping = [name for name in raised if name in self.stop]
        at_target = self.state.target is not None and game.images >= self.state.target
        if stopping and not at_target:
            self.state.stop_reason = (
                f"the run was stopped by {' and '.join(stopping)} after {game.images:,} images. The same command "
                "continues from its checkpoint and stops at the next alarm; -m, sweep and reproduce do not continue it"
            )
            trainer.should_stop = True  # now, so that callbacks of this round see the end of the run

    def _rules_of_side(self, side: str) -> dict[str, Rule]:
        """Return the rules of the samples ("") or of another direction ("reverse_fake/"), which have a state each."""
        if side not in self.rules_by_side:
            self.rules_by_side[side] = copy.deepcopy(self.initial_rules)
        return self.rules_by_side[side]

    def record_event(self, trainer: pl.Trainer, event: Mapping[str, Any]) -> None:
        """Write a line about an alarm, or its end, to the terminal and health.jsonl; send a W&B alert for an alarm."""
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
        self._write_postmortem(trainer, "finished" if is_final_round(trainer, self.state) else "interrupted")

    def on_exception(self, trainer: pl.Trainer, game: Game, exception: BaseException) -> None:
        if isinstance(exception, Diverged):
            log_metrics(trainer, game, {"health/magnitude": LOG10_MAX})
            event = Explosion().event_record(DIVERGED, {"magnitude": LOG10_MAX}, game.images)
            self.record_event(trainer, event | {"note": str(exception)})
        interrupted = isinstance(exception, KeyboardInterrupt | SystemExit)
        status = _STATUS.get(type(exception), "interrupted" if interrupted else "failed")
        self._write_postmortem(trainer, status, str(exception))

    def _write_postmortem(self, trainer: pl.Trainer, status: str, error: str = "") -> None:
        """Write the post-mortem, if any rule has raised an alarm, and print its path."""
        if self.run is None or not trainer.is_global_zero:
            return
        if (path := write_postmortem(self.run, status, error)) is not None:
            self.print_message(f"health: what went wrong, when, and what the literature tries: {path}")

    def state_dict(self) -> dict[str, Any]:
        rules = {
            f"{side}{name}": rule.state
            for side, by_name in self.rules_by_side.items()
            for name, rule in by_name.items()
        }
        return {"rules": rules, "course": [list(pair) for pair in self.magnitude_history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for key, state in state_dict["rules"].items():
            side, slash, name = key.rpartition("/")
            if name in self.rules:
                self._rules_of_side(side + slash)[name].state = state
        self.magnitude_history = [(int(images), float(magnitude)) for images, magnitude in state_dict["course"]]


def _readings_by_side(readings: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the readings of the samples under "", and those of another direction under "<side>/"."""
    by_side: dict[str, dict[str, float]] = {"": {}}
    for key, value in readings.items():
        side, slash, name = key.rpartition("/")
        by_side.setdefault(side + slash, {})[name] = value
    return by_side


def _merge_ranks(readings: Mapping[str, float | None]) -> dict[str, float]:
    """Return the readings of rank 0 with the largest magnitude of any rank, so that all ranks decide alike.

    Only the magnitude differs between ranks, because losses depend on the samples of a rank.
    """
    readings_by_rank = ranks.all_gather_object(dict(readings))
    merged = {name: value for name, value in readings_by_rank[0].items() if value is not None}
    return merged | {"magnitude": max(values["magnitude"] for values in readings_by_rank)}


def describe_event(event: Mapping[str, Any]) -> str:
    """Return a line about an event of health.jsonl."""
    prefix = f"{event['rule']} at {event['images']:,} images"
    if event["event"] == DIVERGED:
        return f"{prefix}: {event['note']}"
    value = f"{event['reading']} {event['value']:.3g}"
    if event["event"] == CLEARED:
        return f"{prefix}: cleared, {value}"
    checks = f" in {event['after']} checks in a row" if event["after"] > 1 else ""
    return f"{prefix}: {event['means']} ({value}, bound {event['bound']:.3g}{checks}){event.get('note', '')}"


def _overflow_note(rule: Rule, readings: Mapping[str, float]) -> dict[str, str]:
    """Return a note on the time to overflow, for an alarm about the magnitude."""
    if rule.reading != "magnitude" or "overflow_in" not in readings:
        return {}
    return {"note": f"; at this pace float32 overflows in {readings['overflow_in']:,.0f} images"}


def _build_rules(settings: Mapping[str, Mapping[str, Any] | Rule | None] | None) -> dict[str, Rule | None]:
    """Return each rule by name, in the order of evaluation; None if it is disabled."""
    settings = settings or {}
    for name, value in settings.items():
        if name not in RULES and not isinstance(value, Rule):
            raise Mistake(f"callback.health.rules.{name}: there is no such rule.{_close_matches(name, RULES)}")
    rules: dict[str, Rule | None] = {name: _build_rule(name, settings.get(name, {})) for name in RULES}
    return rules | {name: value for name, value in settings.items() if isinstance(value, Rule)}


def _build_rule(name: str, settings: Mapping[str, Any] | Rule | None) -> Rule | None:
    if settings is None or isinstance(settings, Rule):
        return settings
    known = ("raise_at", "clear_at", "after", "since")
    for key in settings:
        if key not in known:
            raise Mistake(
                f"callback.health.rules.{name}.{key}: a rule has no setting {key}.{_close_matches(key, known)}"
            )
    try:
        return RULES[name](**settings)
    except ValueError as error:
        raise Mistake(f"callback.health.rules.{error}") from None


def _parse_stop(stop: Iterable[str] | None, rules: Iterable[str]) -> list[str]:
    """Return the rules that end a run; `any` means all. Raises Mistake for an unknown name."""
    known = list(rules)
    names = [stop] if isinstance(stop, str) else list(stop or ())
    for name in names:
        if name not in (*known, ANY):
            raise Mistake(f"callback.health.stop: there is no rule {name}.{_close_matches(str(name), [*known, ANY])}")
    return known if ANY in names else names


def _close_matches(name: str, known: Iterable[str]) -> str:
    """Return the closest known names, and all of them."""
    known = list(known)
    return f"{did_you_mean(name, known)} There are: {', '.join(known)}"


def _discard_events_after(run: Run, images: int) -> None:
    """Remove the post-mortem and all events after `images`, which this run repeats."""
    for path in (run.folder / "postmortem.md", run.folder / "postmortem.png"):
        path.unlink(missing_ok=True)
    if (run.folder / HEALTH_FILE).exists():
        events = [event for event in run.events(HEALTH_FILE)[0] if 0 < event["images"] <= images]
        run.write(HEALTH_FILE, "".join(json.dumps(event) + "\n" for event in events))
