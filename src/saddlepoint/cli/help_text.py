"""What `--help` says.  Reads the yaml as text and imports nothing that takes time."""

from pathlib import Path

from saddlepoint.config import catalogue

EXAMPLES = {
    "train": """\
saddlepoint train                                          digits, a perceptron, the non-saturating game
saddlepoint train objective=minimax seed=3                 another objective, another seed
saddlepoint train objective.discriminator.real_label=0.9   one-sided label smoothing: any key by its path
saddlepoint train objective=relativistic 'regularizer=[r1,r2]'
saddlepoint train objective=wasserstein +regularizer=gradient_penalty game.players.generator.every=5
saddlepoint train +schedule@optimizer.generator.lr=linear optimizer.generator.lr.start=2e-4 optimizer.generator.lr.end=0
saddlepoint train --config-dir conf objective=mine 'allow_target=[mylosses]'   your own pieces, beside ours
saddlepoint train -m objective=minimax,hinge seed=0,1,2    many runs, side by side; again: those that are missing
saddlepoint train --cfg job                                the whole config, and no run""",
    "evaluate": """\
saddlepoint evaluate run=outputs/<name>/seed0 evaluation.n=10_000 evaluation.split=test
saddlepoint evaluate run=outputs/<name>/seed0 at=all 'metric=[kernel_distance]'   a score thought of later
saddlepoint evaluate run=outputs/<name>/seed0 uncertainty=true                     with standard errors
saddlepoint evaluate run=outputs/<one>/seed0 against=outputs/<other>/seed0         which factor moved the score
saddlepoint evaluate samples=faces.zip data=image_folder data.folder=training.zip  anybody's samples
saddlepoint evaluate run=outputs/<name>/seed0 at=best 'metric=[frechet_distance]'""",
    "sample": """\
saddlepoint sample run=outputs/<name>/seed0 n=64 to=grid.png
saddlepoint sample run=outputs/<name>/seed0 n=10_000 to=samples.npz""",
    "memorisation": """\
saddlepoint memorisation run=outputs/<name>/seed0
saddlepoint memorisation samples=folder/ data=digits       anybody's samples, and what they were made of""",
    "compare": """\
saddlepoint compare runs='outputs/*' by=objective metric=fid_digits_900_train baseline=nonsaturating
saddlepoint compare by=[smoothing,averaging]               two levels each: main effects, not cell against cell
saddlepoint compare by=objective tuning=true over=[optimizer.generator.lr]   searches, at equal budgets
saddlepoint compare logger.mode=disabled to=comparison     no W&B run; the report into a folder of your own""",
    "why": """\
saddlepoint why a=outputs/<one>/seed0 b=outputs/<other>/seed0""",
    "reproduce": """\
saddlepoint reproduce baseline=historical_averaging
saddlepoint reproduce baseline=ring_modes tier=smoke
saddlepoint reproduce baseline=salimans2016_mnist_100_labels tier=short data.root=/elsewhere launcher.processes=2""",
    "sweep": """\
saddlepoint sweep sweep=digits
saddlepoint sweep sweep=digits trials=60 workers=2         more trials of the same study, two at a time
saddlepoint sweep sweep=digits name=mine sampler=random pruner=none images=40_000   another study, other words""",
    "export": """\
saddlepoint export run=outputs/<name>/seed0 licence=apache-2.0
saddlepoint export run=outputs/<name>/seed0 at=best 'formats=[onnx]' to=for_the_web
saddlepoint export run=outputs/<name>/seed0 hub=<user>/<name>                      for those who have logged in""",
    "import": """\
saddlepoint import from=their/generator.safetensors name=theirs data=digits        described by their/generator.yaml
saddlepoint import from=samples.npz name=theirs seed=1 data=mnist protocol=<name>  samples alone
saddlepoint compare runs=[outputs/theirs,outputs/<name>]                           beside our own""",
    "replay": """\
saddlepoint replay dump=outputs/<name>/seed0/dumps/<images>.pt
saddlepoint replay dump=<images>.pt run=outputs/<name>/seed0 device=cpu            moved elsewhere, or from a GPU""",
    "doctor": """\
saddlepoint doctor
saddlepoint doctor data=mnist""",
}
OPTIONS = """\
  -h, --help        this page
  --cfg job         print the composed config, interpolations and all, and stop
  --json            the result as one JSON document on stdout, notes on stderr: train, evaluate, compare, ...
  -m, --multirun    train: one run for each combination of values, key=a,b or many: of an experiment
  --config-dir DIR  a folder of your own pieces: DIR/objective/mine.yaml is objective=mine
"""


def overview() -> str:
    """saddlepoint --help."""
    commands = "\n".join(f"  {name:<14}{line}" for name, line in catalogue.COMMANDS.items())
    examples = "\n".join(f"  {text.splitlines()[0]}" for text in EXAMPLES.values())
    return f"""\
Two-player generative models, composed from yaml, tracked, and measured by written protocols.

usage: saddlepoint <command> [options] [key=value ...]

commands
{commands}

options
{OPTIONS}  --version         of saddlepoint

examples
{examples}

saddlepoint <command> --help shows its keys and choices.
"""


def command_page(command: str, own: Path | None = None) -> str:
    """saddlepoint <command> --help: what it does, the choices, the keys, examples."""
    groups, keys = catalogue.default_options(command), catalogue.command_keys(command)
    parts = [f"{catalogue.header(command)}\n\nusage: saddlepoint {command} [options] [key=value ...]"]
    if groups:
        parts.append("choices, * by default: group=name, group=[a,b] where several may be, +group=name for one more")
        listed = catalogue.groups(own) if command == "train" else groups
        parts[-1] += "\n" + "".join(_choices(group, groups.get(group), own) for group in listed)
    daily = {key: entry for key, entry in keys.items() if key not in groups}
    parts.append(
        "keys\n" + "".join(f"  {key:<22}{value:<12}{text}".rstrip() + "\n" for key, (value, text) in daily.items())
    )
    parts.append(f"options\n{OPTIONS}")
    parts.append("examples\n" + "\n".join(f"  {line}" for line in EXAMPLES[command].splitlines()))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _choices(group: str, default: str | list[str] | None, own: Path | None) -> str:
    """One line of a group: its names, those of the default starred; the researcher's own in brackets behind."""
    starred = default if isinstance(default, list) else [default]
    ours = catalogue.option_names(group)
    yours = [name for name in catalogue.option_names(group, own) if name not in ours]
    names = [name + "*" * (name in starred) for name in ours]
    names += [f"(yours: {', '.join(yours)})"] if yours else []
    names += [f"({place}=<name>)" for place in catalogue.VALUE_GROUPS.get(group, ())[:1]]
    return f"  {group:<15}{'  '.join(names) or '-'}\n"
