"""The pages of `--help`. They are built from the yaml as text, without slow imports."""

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
saddlepoint train --config-dir conf objective=mine 'allow_target=[mylosses]'   your own options and code
saddlepoint train -m objective=minimax,hinge seed=0,1,2    many runs at once; repeat it to start missing ones
saddlepoint train --cfg job                                print the config, without a run""",
    "evaluate": """\
saddlepoint evaluate run=outputs/<name>/seed0 evaluation.n=10_000 evaluation.split=test
saddlepoint evaluate run=outputs/<name>/seed0 at=all 'metric=[kernel_distance]'   another metric
saddlepoint evaluate run=outputs/<name>/seed0 uncertainty=true                     with standard errors
saddlepoint evaluate run=outputs/<one>/seed0 against=outputs/<other>/seed0         which factor changes the score
saddlepoint evaluate samples=faces.zip data=image_folder data.folder=training.zip  stored samples
saddlepoint evaluate run=outputs/<name>/seed0 at=best 'metric=[frechet_distance]'""",
    "sample": """\
saddlepoint sample run=outputs/<name>/seed0 n=64 to=grid.png
saddlepoint sample run=outputs/<name>/seed0 n=10_000 to=samples.npz
saddlepoint sample run=outputs/<name>/seed0 interpolate=8          rows from one latent to another
saddlepoint sample run=outputs/<name>/seed0 traverse=category      a row per latent, a column per value of a code
saddlepoint sample run=outputs/<name>/seed0 truncation=0.5 standing_statistics=16   as BigGAN""",
    "apply": """\
saddlepoint apply run=outputs/<name>/seed0 source=photo.png to=filled             transparent pixels are filled in
saddlepoint apply run=outputs/<name>/seed0 source=photos/ mask=masks/ to=filled   white pixels of the masks
saddlepoint apply run=outputs/<name>/seed0 source=small.zip truth=large/ to=enlarged""",
    "directions": """\
saddlepoint directions run=outputs/<name>/seed0                        principal components of the first layer
saddlepoint directions run=outputs/<name>/seed0 kind=jacobian n=8 to=sheet.png
saddlepoint directions run=outputs/<name>/seed0 kind=codes             those of InfoGAN""",
    "memorisation": """\
saddlepoint memorisation run=outputs/<name>/seed0
saddlepoint memorisation samples=folder/ data=digits       stored samples, and their training data""",
    "fairness": """\
saddlepoint fairness run=outputs/<name>/seed0 by=label
saddlepoint fairness run=outputs/<name>/seed0 by=speaker n=5000 split=test         a column of the data""",
    "compare": """\
saddlepoint compare runs='outputs/*' by=objective metric=fid_digits_900_train baseline=nonsaturating
saddlepoint compare by=[smoothing,averaging]               two levels each: main effects instead of single cells
saddlepoint compare by=objective tuning=true over=[optimizer.generator.lr]   searches, at equal budgets
saddlepoint compare logger.mode=disabled to=comparison     no W&B run; report in the folder `comparison`""",
    "runs": """\
saddlepoint runs                                           all runs of the folder `outputs`, and outputs/index.html
saddlepoint runs outputs=/scratch/mine --json""",
    "why": """\
saddlepoint why a=outputs/<one>/seed0 b=outputs/<other>/seed0""",
    "reproduce": """\
saddlepoint reproduce baseline=historical_averaging
saddlepoint reproduce baseline=ring_modes tier=smoke
saddlepoint reproduce baseline=salimans2016_mnist_100_labels tier=short data.root=/elsewhere launcher.processes=2""",
    "sweep": """\
saddlepoint sweep sweep=digits
saddlepoint sweep sweep=digits trials=60 workers=2         more trials of the same study, two at once
saddlepoint sweep sweep=digits name=mine sampler=random pruner=none images=40_000   another study, other overrides""",
    "export": """\
saddlepoint export run=outputs/<name>/seed0 licence=apache-2.0
saddlepoint export run=outputs/<name>/seed0 at=best 'formats=[onnx]' to=for_the_web
saddlepoint export run=outputs/<name>/seed0 hub=<user>/<name>                      needs a login to the hub""",
    "import": """\
saddlepoint import from=their/generator.safetensors name=theirs data=digits        described by their/generator.yaml
saddlepoint import from=samples.npz name=theirs seed=1 data=mnist protocol=<name>  samples only
saddlepoint compare runs=[outputs/theirs,outputs/<name>]                           compare with our runs""",
    "replay": """\
saddlepoint replay dump=outputs/<name>/seed0/dumps/<images>.pt
saddlepoint replay dump=<images>.pt run=outputs/<name>/seed0 device=cpu            a moved dump, or one from a GPU""",
    "init": """\
saddlepoint init to=my_gan
saddlepoint init to=my_gan name=soft_hinge""",
    "doctor": """\
saddlepoint doctor
saddlepoint doctor data=mnist""",
}
OPTIONS = """\
  -h, --help        this page
  --cfg job         print the composed config, with its interpolations, and stop
  --json            the result as one JSON document on stdout, notes on stderr: train, evaluate, compare, ...
  -m, --multirun    train: one run for each combination of values, key=a,b or many: of an experiment
  --config-dir DIR  a folder of your own options: DIR/objective/mine.yaml is objective=mine
"""


def overview() -> str:
    """Return the page of saddlepoint --help."""
    commands = "\n".join(f"  {name:<14}{line}" for name, line in catalogue.COMMANDS.items())
    examples = "\n".join(f"  {text.splitlines()[0]}" for text in EXAMPLES.values())
    return f"""\
Two-player generative models: composed from yaml, tracked, and measured by written protocols.

usage: saddlepoint <command> [options] [key=value ...]

commands
{commands}

options
{OPTIONS}  --version         the version of saddlepoint

examples
{examples}

saddlepoint <command> --help shows its keys and choices.
"""


def command_page(command: str, user_conf: Path | None = None) -> str:
    """Return the page of saddlepoint <command> --help: description, options of groups, keys, examples."""
    groups, keys = catalogue.default_options(command), catalogue.command_keys(command)
    parts = [f"{catalogue.read_header_comment(command)}\n\nusage: saddlepoint {command} [options] [key=value ...]"]
    if groups:
        parts.append("choices, * is the default: group=name, group=[a,b] for groups of several, +group=name adds one")
        listed = catalogue.groups(user_conf) if command == "train" else groups
        parts[-1] += "\n" + "".join(_group_line(group, groups.get(group), user_conf) for group in listed)
    top_level = {key: entry for key, entry in keys.items() if key not in groups}
    lines = (f"  {key:<27} {value:<11} {text}".rstrip() for key, (value, text) in top_level.items())
    parts.append("keys\n" + "\n".join(lines) + "\n")
    parts.append(f"options\n{OPTIONS}")
    parts.append("examples\n" + "\n".join(f"  {line}" for line in EXAMPLES[command].splitlines()))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _group_line(group: str, default: str | list[str] | None, user_conf: Path | None) -> str:
    """Return the line of a group: its options, the default starred, the user's in parentheses."""
    starred = default if isinstance(default, list) else [default]
    builtin = catalogue.option_names(group)
    user_names = [name for name in catalogue.option_names(group, user_conf) if name not in builtin]
    names = [name + "*" * (name in starred) for name in builtin]
    names += [f"(yours: {', '.join(user_names)})"] if user_names else []
    names += [f"({key}=<name>)" for key in catalogue.VALUE_GROUPS.get(group, ())[:1]]
    return f"  {group:<15}{'  '.join(names) or '-'}\n"
