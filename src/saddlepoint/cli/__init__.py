"""The console: `saddlepoint <command> [options] [key=value ...]`.

Nothing heavy is imported here. A page of help, a printed config and a mistyped word are answered before torch could
have been loaded; only a command that really runs imports it.
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

RECORDED = ("train", "sweep", "reproduce")  # commands whose results are in a folder, whoever reads what they print
FLAGS = {"--help": "help", "-h": "help", "--version": "version", "--json": "json", "--multirun": "many", "-m": "many"}


class Misuse(Mistake):
    """An option or a command that there is none of."""

    exit = 2


@dataclass
class CommandLine:
    """A command line, taken apart."""

    command: str | None = None
    config_dir: str | None = None
    cfg: bool = False
    json: bool = False
    many: bool = False
    help: bool = False
    version: bool = False
    overrides: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0; 1 after a mistake that a person can mend; 2 after a misuse; 130 when interrupted.

    1 too after an error in the user's own code, which is told in a line (see `own_error`). Anything else is a bug and
    keeps its traceback. `sys.argv` stays as it is: Lightning starts other ranks with it.
    """
    if argv is None:
        standard_streams.ensure_utf8()
    words = sys.argv[1:] if argv is None else argv
    return run_and_report(lambda: _run(_taken_apart(words)), words)


def run_and_report(run: Callable[[], int], words: Sequence[str] = ()) -> int:
    """The exit code of `run`, which `words` asked for; what went wrong is told in a line or two."""
    standard_streams.reopen_closed()
    try:
        with standard_streams.ignore_write_errors("stderr"), standard_streams.raise_write_errors(), cache_secrets():
            return _told(run, words)
    finally:
        standard_streams.flush_or_discard()


def _told(run: Callable[[], int], words: Sequence[str]) -> int:
    try:
        code = run()
        sys.stdout.flush()
        return code
    except Mistake as mistake:
        if mistake.__cause__ is not None and _in_own_code(mistake, words):
            return mistake.exit
        # of a rank that is lost, whoever watches has the words that tell why; who closed our pipe has seen enough
        if not (isinstance(mistake, LostRank) and SUPERVISOR in os.environ) and mistake.exit != 141:
            print(f"saddlepoint: {mistake}", file=sys.stderr)
        return mistake.exit
    except KeyboardInterrupt as stop:
        if SUPERVISOR not in os.environ:  # else whoever watches the ranks says so, once
            print("saddlepoint: interrupted", file=sys.stderr)
        return getattr(stop, "exit", 130)  # 143 where a scheduler said so
    except (Exception, SystemExit) as error:
        clear_secret_cache()
        if not _in_own_code(error, words):
            raise
        return 1


def _in_own_code(error: BaseException, words: Sequence[str]) -> bool:
    """Whether an error was raised in the user's own code; then it is told, in a line."""
    from saddlepoint.config import allow_list, user_code

    if (line := user_code.format_user_error(error, allow_list.allowed_by_command_line(words))) is None:
        return False
    if whole := user_code.is_traceback_requested():
        import traceback

        traceback.print_exception(error)
    print(f"saddlepoint: {line}{'' if whole else f' [{user_code.TRACEBACK_HINT}]'}", file=sys.stderr)
    return True


def _run(line: CommandLine) -> int:
    if line.version:
        print(f"saddlepoint {saddlepoint.__version__}")
        return 0
    if line.command is None:
        if not line.help:
            print(help_text.overview(), file=sys.stderr)
            raise Misuse(f"which command? {', '.join(catalogue.COMMANDS)}")
        print(help_text.overview())
        return 0
    if line.help:
        print(help_text.command_page(line.command, catalogue.resolve_config_dir(line.config_dir)), end="")
        return 0
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for a researcher's own `_target_: mylosses.mine`; last, so that it hides nothing
    if line.json and line.command not in catalogue.COMMANDS_WITH_RESULT:
        raise Misuse(f"--json is for commands that end with a result: {', '.join(catalogue.COMMANDS_WITH_RESULT)}")
    if line.many and line.command != "train":
        raise Misuse(f"-m is for saddlepoint train: many runs of one command. {line.command} takes no -m")
    from saddlepoint.cli import unused_override
    from saddlepoint.console.output import Output

    for note in unused_override.shadowed_overrides(line.overrides):
        print(f"saddlepoint: {note}", file=sys.stderr)
    output = Output(line.json)
    if line.many:
        many = import_module("saddlepoint.cli.multirun")
        start = partial(many.command, line.overrides, line.config_dir, line.cfg)
        return start() if line.cfg else standard_streams.run_ignoring_write_errors(partial(output.run, start))
    from saddlepoint.config import synonym
    from saddlepoint.config.compose import compose

    for word in line.overrides:
        if (meant := synonym.suggest_for_command(line.command, word, catalogue.command_keys(line.command))) is not None:
            raise Mistake(meant)  # a word of another program
    own, rest = split_run_overrides(line.overrides, line.command)
    config = compose(own, line.config_dir, line.command)
    if line.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return 0
    if line.command == "train":
        unused_override.check_no_launcher(line.overrides)
    module = import_module(f"saddlepoint.cli.{catalogue.COMMAND_MODULES.get(line.command, line.command)}")
    start = partial(module.command, config, rest, line.config_dir)
    if line.command in catalogue.COMMANDS_WITH_RESULT:
        output.json |= config.get("to") == "-"
        start = partial(output.run, start)
    return standard_streams.run_ignoring_write_errors(start) if line.command in RECORDED else start()


def split_run_overrides(overrides: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """Overrides of a command's own keys, and the rest, which is for the config of the run or runs that it names.

    Raises Mistake for a key of nobody's that looks like one of the command's own: a run's keys are not searched.
    """
    if "run" not in (keys := catalogue.command_keys(command)) and command not in ("import", "reproduce", "sweep"):
        return list(overrides), []
    mine = [word for word in overrides if word.lstrip("+~").split("=")[0].split(".")[0] in keys]
    rest = [word for word in overrides if word not in mine]
    for key in (word.partition("=")[0] for word in rest):
        theirs = not key.isidentifier() or key in (*catalogue.command_keys("train"), *catalogue.groups())
        if not theirs and (meant := did_you_mean(key, keys)):
            raise Mistake(f"no such key: {key}.{meant} See saddlepoint {command} --help")
    return mine, rest


def _taken_apart(words: Sequence[str]) -> CommandLine:
    """The line in its parts.  Raises Misuse."""
    line, left = CommandLine(), list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if option in ("--config-dir", "-cd", "--cfg", "-c"):
            if not equals and (not left or left[0].startswith("-")):
                raise Misuse(f"{option} needs a value: {'--cfg job' if 'cfg' in option else '--config-dir <folder>'}")
            value = value if equals else left.pop(0)
            if option in ("--config-dir", "-cd"):
                line.config_dir = value
            elif value == "job":
                line.cfg = True
            else:
                raise Misuse(f"--cfg {value}: only --cfg job is there, the config of the run")
        elif word in FLAGS:
            setattr(line, FLAGS[word], True)
        elif word.startswith("-"):
            options = ("--help", "--version", "--cfg", "--json", "--config-dir", "--multirun")
            raise Misuse(f"no such option: {word}.{did_you_mean(option, options)} See saddlepoint --help")
        elif line.command is None:
            if word not in catalogue.COMMANDS:
                known = did_you_mean(word, catalogue.COMMANDS) or f" There are: {', '.join(catalogue.COMMANDS)}"
                raise Misuse(f"no such command: {word}.{known}")
            line.command = word
        else:
            line.overrides.append(word)
    return line
