"""The command line: `saddlepoint <command> [options] [key=value ...]`.

This module imports nothing that is slow. Help, --cfg and errors in the arguments are printed without importing torch;
only a command that runs imports it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module

import saddlepoint
from saddlepoint.cli import help_text
from saddlepoint.config import catalogue
from saddlepoint.console import standard_streams
from saddlepoint.error import SUPERVISOR, LostRank, Mistake, did_you_mean
from saddlepoint.redaction import cache_secrets, clear_secret_cache

RECORDED = (
    "train",
    "sweep",
    "reproduce",
)  # commands that write their results to a folder, so that errors of their output do not matter
FLAGS = {"--help": "help", "-h": "help", "--version": "version", "--json": "json", "--multirun": "many", "-m": "many"}


class UsageError(Mistake):
    """An unknown option or command."""

    exit = 2


@dataclass
class CommandLine:
    """A parsed command line."""

    command: str | None = None
    config_dir: str | None = None
    cfg: bool = False
    json: bool = False
    many: bool = False
    help: bool = False
    version: bool = False
    overrides: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0; 1 after an error that the user can fix, also one in user-defined code, which is reported in a line; 2 for invalid
    usage; 130 after an interrupt. Other exceptions are bugs and keep their traceback. `sys.argv` stays unchanged, as
    Lightning starts other ranks with it.
    """
    if argv is None:
        standard_streams.restart_in_utf8_mode()
    arguments = sys.argv[1:] if argv is None else argv
    return run_and_report(lambda: _run_command(_parse_command_line(arguments)), arguments)


def run_and_report(run: Callable[[], int], arguments: Sequence[str] = ()) -> int:
    """Return the exit code of `run`; report an error in one or two lines. `arguments`: its command line."""
    standard_streams.repair_standard_streams()
    try:
        with standard_streams.ignore_write_errors("stderr"), standard_streams.raise_write_errors(), cache_secrets():
            return _run_and_print_error(run, arguments)
    finally:
        standard_streams.flush_or_discard()


def _run_and_print_error(run: Callable[[], int], arguments: Sequence[str]) -> int:
    try:
        code = run()
        sys.stdout.flush()
        return code
    except Mistake as error:
        if error.__cause__ is not None and _report_user_error(error, arguments):
            return error.exit
        # the supervisor of a lost rank prints the reason; 141: the reader of our output has closed the pipe
        if not (isinstance(error, LostRank) and SUPERVISOR in os.environ) and error.exit != 141:
            print(f"saddlepoint: {error}", file=sys.stderr)
        return error.exit
    except KeyboardInterrupt as stop:
        if SUPERVISOR not in os.environ:  # else the supervisor of the ranks prints it once
            print("saddlepoint: interrupted", file=sys.stderr)
        return getattr(stop, "exit", 130)  # 143 after a scheduler's signal
    except (Exception, SystemExit) as error:
        clear_secret_cache()
        if not _report_user_error(error, arguments):
            raise
        return 1


def _report_user_error(error: BaseException, arguments: Sequence[str]) -> bool:
    """Report an error in one line if it was raised in user code. Return whether it was."""
    from saddlepoint.config import allow_list, user_code

    if (message := user_code.format_user_error(error, allow_list.allowed_by_command_line(arguments))) is None:
        return False
    if full := user_code.is_traceback_requested():
        import traceback

        traceback.print_exception(error)
    print(f"saddlepoint: {message}{'' if full else f' [{user_code.TRACEBACK_HINT}]'}", file=sys.stderr)
    return True


def _run_command(line: CommandLine) -> int:
    if line.version:
        print(f"saddlepoint {saddlepoint.__version__}")
        return 0
    if line.command is None:
        if not line.help:
            print(help_text.overview(), file=sys.stderr)
            raise UsageError(f"which command? {', '.join(catalogue.COMMANDS)}")
        print(help_text.overview())
        return 0
    if line.help:
        print(help_text.command_page(line.command, catalogue.resolve_config_dir(line.config_dir)), end="")
        return 0
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for user-defined `_target_: mylosses.mine`; last, so that it shadows nothing
    _check_flags(line, line.command)
    from saddlepoint.cli import unused_override
    from saddlepoint.console.output import Output

    line.overrides = _rename_overrides(line.overrides)
    for note in unused_override.describe_shadowed_overrides(line.overrides):
        print(f"saddlepoint: {note}", file=sys.stderr)
    output = Output(line.json)
    if line.many:
        many = import_module("saddlepoint.cli.multirun")
        start = partial(many.command, line.overrides, line.config_dir, line.cfg)
        return start() if line.cfg else standard_streams.run_ignoring_write_errors(partial(output.run, start))
    from saddlepoint.config import synonym
    from saddlepoint.config.compose import compose

    keys = catalogue.command_keys(line.command)
    for argument in line.overrides:
        if (suggestion := synonym.suggest_for_command(line.command, argument, keys)) is not None:
            raise Mistake(suggestion)  # a key of another program
    own_overrides, run_overrides = split_run_overrides(line.overrides, line.command)
    config = compose(own_overrides, line.config_dir, line.command)
    if line.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return 0
    if line.command == "train":
        unused_override.check_no_launcher(line.overrides)
    module = import_module(f"saddlepoint.cli.{catalogue.COMMAND_MODULES.get(line.command, line.command)}")
    start = partial(module.command, config, run_overrides, line.config_dir)
    if line.command in catalogue.COMMANDS_WITH_RESULT:
        output.json |= config.get("to") == "-"
        start = partial(output.run, start)
    return standard_streams.run_ignoring_write_errors(start) if line.command in RECORDED else start()


def _check_flags(line: CommandLine, command: str) -> None:
    """Raise UsageError if the command does not accept --json or -m."""
    if line.json and command not in catalogue.COMMANDS_WITH_RESULT:
        raise UsageError(f"--json is for commands that print a result: {', '.join(catalogue.COMMANDS_WITH_RESULT)}")
    if line.many and command != "train":
        raise UsageError(f"-m is for saddlepoint train, to start several runs; {command} does not accept it")


def _rename_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with the new names of their keys, and print a note for each old name."""
    renamed = {override: catalogue.rename_override(override) for override in overrides}
    for old, new in renamed.items():
        if new != old:
            print(f"saddlepoint: {old} is now {new}", file=sys.stderr)
    return [renamed[override] for override in overrides]


def split_run_overrides(overrides: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """Split overrides into those of the command's keys and those of the config of the run that it reads.

    Raises Mistake for an unknown key that is similar to one of the command's; keys of the run are not searched.
    """
    if "run" not in (keys := catalogue.command_keys(command)) and command not in ("import", "reproduce", "sweep"):
        return list(overrides), []
    command_overrides = [
        override for override in overrides if override.lstrip("+~").split("=")[0].split(".")[0] in keys
    ]
    others = [override for override in overrides if override not in command_overrides]
    for key in (override.partition("=")[0] for override in others):
        is_run_key = not key.isidentifier() or key in (*catalogue.command_keys("train"), *catalogue.groups())
        if not is_run_key and (suggestion := did_you_mean(key, keys)):
            raise Mistake(f"no such key: {key}.{suggestion} See saddlepoint {command} --help")
    return command_overrides, others


def _parse_command_line(arguments: Sequence[str]) -> CommandLine:
    """Parse a command line. Raises UsageError."""
    line, remaining = CommandLine(), list(arguments)
    while remaining:
        argument = remaining.pop(0)
        option, equals, value = argument.partition("=")
        if option in ("--config-dir", "-cd", "--cfg", "-c"):
            if not equals and (not remaining or remaining[0].startswith("-")):
                example = "--cfg job" if "cfg" in option else "--config-dir <folder>"
                raise UsageError(f"{option} needs a value: {example}")
            value = value if equals else remaining.pop(0)
            if option in ("--config-dir", "-cd"):
                line.config_dir = value
            elif value == "job":
                line.cfg = True
            else:
                raise UsageError(f"--cfg {value}: only --cfg job is available; it prints the config of the run")
        elif argument in FLAGS:
            setattr(line, FLAGS[argument], True)
        elif argument.startswith("-"):
            options = ("--help", "--version", "--cfg", "--json", "--config-dir", "--multirun")
            raise UsageError(f"no such option: {argument}.{did_you_mean(option, options)} See saddlepoint --help")
        elif line.command is None:
            if argument not in catalogue.COMMANDS:
                suggestion = (
                    did_you_mean(argument, catalogue.COMMANDS) or f" There are: {', '.join(catalogue.COMMANDS)}"
                )
                raise UsageError(f"no such command: {argument}.{suggestion}")
            line.command = argument
        else:
            line.overrides.append(argument)
    return line
