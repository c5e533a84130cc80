"""The structure of docs/architecture.md: which folder may import which, and that conf mirrors src."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from saddlepoint.config.instantiate import import_target

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "saddlepoint"
CONF = ROOT / "conf"

# the folders that each folder may import, from low to high: only those of earlier lines
LEAVES = {"error", "mode", "pixel", "ranks", "redaction", "template"}  # these import only libraries
COMMON = LEAVES | {"schema", "stream", "modality"}
MAY_IMPORT: dict[str, set[str]] = {
    **{leaf: set() for leaf in sorted(LEAVES)},
    "schema": {"error"},
    "stream": {"error"},
    "modality": {"error", "pixel"},
    "turn": {"error", "stream"},
    "console": {"error"},
    "privacy": {"error", "stream", "turn"},
    "objective": {"ranks"},  # means over the global batch
    "prior": COMMON,
    "schedule": COMMON,
    "optimizer": COMMON,
    "layer": COMMON | {"objective", "turn"},
    "regularizer": COMMON | {"turn"},
    "architecture": COMMON | {"turn", "layer"},
    "run": COMMON,
    "data": COMMON | {"turn", "run", "layer"},  # a data set may be drawn from a network: data=oracle
    "extractor": COMMON | {"run"},
    "metric": COMMON | {"extractor", "run"},
    "game": COMMON | {"turn", "privacy", "regularizer", "prior", "schedule"},
    "evaluation": COMMON | {"console", "extractor", "metric", "privacy", "run"},
    "health": COMMON | {"run"},
    "callback": COMMON | {"console", "evaluation", "game", "health", "prior", "run", "turn"},
    "launcher": COMMON | {"run"},
    "config": COMMON | {"data", "run"},
    "experiment": COMMON
    | {"callback", "config", "console", "data", "evaluation", "extractor", "game", "launcher", "metric", "objective"}
    | {"privacy", "run", "turn"}
    | {"layer", "prior"},  # of samples: standing statistics, paths of latents
    "comparison": COMMON | {"config", "console", "evaluation", "privacy", "run"},
    "multirun": COMMON | {"config", "console", "experiment", "launcher", "run"},
    "sweep": COMMON | {"comparison", "config", "console", "experiment", "launcher", "multirun", "run"},
    "reproduction": COMMON | {"comparison", "config", "evaluation", "experiment", "multirun", "run"},
    "export": COMMON
    | {"comparison", "config", "console", "data", "evaluation", "experiment", "game", "layer", "prior", "privacy"}
    | {"run", "turn"},
    "starter": COMMON | {"run"},
    "analysis": COMMON
    | {"comparison", "config", "console", "data", "evaluation", "experiment", "extractor", "game", "metric", "multirun"}
    | {"layer", "prior", "run", "turn"},
    "cli": COMMON
    | {
        "analysis",
        "callback",
        "comparison",
        "config",
        "console",
        "evaluation",
        "experiment",
        "export",
        "launcher",
        "multirun",
    }
    | {"reproduction", "run", "starter", "sweep"},
}
INNER = {  # subfolders of a folder, from low to high
    "comparison": ("stats", "arms", "report"),
    "run": ("storage", "tracking"),
}
FAMILIES = {"architecture", "callback", "data", "extractor", "game", "layer", "metric", "objective", "prior"}
FAMILIES |= {"optimizer", "regularizer", "schedule"}  # of components: as many files as there are components
FAMILIES |= {"cli"}  # one file per command
MOST_FILES, LARGEST = 16, 0.15  # files of a folder that is not a family; share of all lines of a folder
ABOVE_CONFIG = {"analysis", "cli", "config", "experiment", "multirun", "sweep", "reproduction", "export"}
ONLY_IN = {
    "hydra": {"config"},
    "omegaconf": ABOVE_CONFIG,  # these take configs
    "wandb": {"callback", "run"},
    "jinja2": {"template"},
}
FORBIDDEN = {"utils", "util", "misc", "common", "helpers", "helper", "components", "component"}

# base modules of a family: they are not components, so they have no yaml
BASE_MODULES = {
    "data": {
        "array_file",
        "augmentation",
        "data",
        "density_ratio",
        "disk_split",
        "facts",
        "folder",
        "labelled_subset",
        "listing",
        "mapped_array",
        "named_images",
        "openmoji_rendering",
        "shuffled_order",
        "image_file",
        "samples",
        "wav_file",
        "text_file",
    },
    "prior": {"prior", "traversal"},
    "architecture": {"discriminator"},
    "layer": {
        "adaptive_probability",
        "condition_entry",
        "condition_image",
        "equalized_learning_rate",
        "growth",
        "mapping_network",
        "maxout",
        "modulated_convolution",
        "posterior",
        "projected_batch_norm",
        "readout",
        "resample",
        "residual_block",
        "shift",
        "standing_statistics",
        "style_layer",
        "style_mixing",
        "conditional_sequential",
        "token_lstm",
        "unit_range",
    },
    "objective": {"logit_gradient"},
    "regularizer": {"regularizer", "seeded_noise", "slope"},
    "game": {
        "average",
        "condition_source",
        "dry_run",
        "game",
        "hooks",
        "lineage",
        "pairs",
        "game_module",
        "player",
        "data_parallel",
        "sampling",
        "side",
        "initialisation",
        "state",
        "telemetry",
        "wiring",
    },
    "extractor": {
        "classifier",
        "coloured",
        "extractor",
        "user_network",
        "data_like",
        "resizer",
        "stacked",
        "training",
    },
    "metric": {"per_class", "labelled_metric", "metric", "neighbour", "ngram", "occupancy"},
    "callback": {"dump", "health_probe", "graceful_stop", "periodic"},
    "schedule": {"ramp", "schedule"},
    "launcher": {"job", "pool", "rank_processes"},
}
COMBINATIONS = {  # yaml files that only combine base modules or other components
    "architecture": {"conv_gan", "conv_vae", "recurrent_generator"},
    "game": {
        "acgan",
        "adaptive_augment",
        "adaptive_pseudo_augment",
        "cgan",
        "private_cgan",
        "cycle",
        "cycle_in_turn",
        "averages",
        "consistency",
        "conditional",
        "diff_augment",
        "colourisation",
        "inpainting",
        "super_resolution",
        "translation",
        "unconditional_translation",
        "likelihood",
        "projection",
        "packing",
        "phase_shuffle",
        "sequence",
        "simultaneous",
        "style_mixing",
        "two_player",
        "vae",
        "vocoder",
        "vae_gan",
        "bigan",
        "binary_vae",
    },
    "layer": {"instance_norm"},
    "prior": {"infogan"},
    "regularizer": {"balanced_consistency", "gaussian_likelihood", "identity", "latent_consistency"},
    "extractor": {
        f"{name}{suffix}"
        for name in (
            "cifar10-jpeg",
            "coloured-digits",
            "coloured-mnist",
            "digits",
            "mnist",
            "spoken-digits",
            "stacked-mnist",
        )
        for suffix in ("", "-b")
    }
    | {"nearest-b", "trained-b"},
}
MAY_NAME = {  # other modules that the yaml files of a group may name
    "architecture": {"conv_autoencoder", "recurrent"},
    "regularizer": {"consistency", "reconstruction"},
    "prior": {"prior", "uniform", "categorical"},
    "game": {"game", "player", "average", "private"},
    "extractor": {"classifier", "coloured", "nearest", "stacked", "trained"},
}
OTHER_TARGETS = {  # modules of another group that single yaml files name
    "metric/speaker_coverage": {"saddlepoint.extractor.classifier.Shipped"},  # of speakers, whatever the extractor
    "architecture/infogan_mnist": {"saddlepoint.layer.conditional_batch_norm.BatchNorm"},  # of any number of dimensions
    "architecture/radford2016_mnist": {"saddlepoint.layer.conditional_batch_norm.BatchNorm"},  # of any rank
    "game/acgan": {"saddlepoint.regularizer.classification.Classification"},  # in both columns
}

MODULES = sorted(PACKAGE.rglob("*.py"))
YAML = sorted(CONF.rglob("*.yaml"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def folder_of(path: Path) -> str:
    """The package, or the single module, that a file of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, at top level or inside, for typing or not."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` of a yaml file."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "_target_")
        node = list(node.values())
    for part in node if isinstance(node, list) else []:
        yield from targets(part)


@pytest.mark.parametrize(
    "path", [m for m in MODULES if folder_of(m) in MAY_IMPORT], ids=lambda m: str(m.relative_to(PACKAGE))
)
def test_a_folder_imports_only_lower_folders(path: Path) -> None:
    importer = folder_of(path)
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "saddlepoint" and rest:
            assert rest.split(".")[0] in MAY_IMPORT[importer] | {importer}, f"{importer} imports {name}"
        assert importer in ONLY_IN.get(first, {importer}), f"{importer} imports {first}"


def test_the_allowed_imports_are_of_lower_folders() -> None:
    folders = list(MAY_IMPORT)
    for position, (name, below) in enumerate(MAY_IMPORT.items()):
        assert below <= set(folders[:position]), f"{name}: {sorted(below - set(folders[:position]))} are not lower"


@pytest.mark.parametrize("outer", INNER)
def test_a_subfolder_imports_only_lower_subfolders(outer: str) -> None:
    order = INNER[outer]
    for path in (PACKAGE / outer).rglob("*.py"):
        inner = path.relative_to(PACKAGE / outer).parts[0]
        for name in imports(path) if inner in order else ():
            _, first, *rest = [*name.split("."), "", ""]
            if first == outer and rest[0] in order:
                assert order.index(rest[0]) <= order.index(inner), f"{path} imports {name}"


def graph() -> dict[str, set[str]]:
    """Each module and the modules of this package that it imports, at top level or inside, for typing or not."""
    names = {".".join(("saddlepoint", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in MODULES}
    named = {name.removesuffix(".__init__"): path for name, path in names.items()}
    imported: dict[str, set[str]] = {name: set() for name in named}
    for name, path in named.items():
        for one in imports(path):
            imported[name] |= {target for target in (one, one.rpartition(".")[0]) if target in named and target != name}
            imported[name].discard(one.rpartition(".")[0] if one in named else "")
    return imported


def modules_in_cycles(arrows: dict[str, set[str]]) -> list[str]:
    """The modules that remain after repeatedly removing those that import no remaining module."""
    left = {name: set(targets) for name, targets in arrows.items()}
    while done := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in done}
    return sorted(left)


def test_modules_do_not_import_each_other_in_a_cycle() -> None:
    assert modules_in_cycles(graph()) == []
    assert modules_in_cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_a_folder_has_at_most_its_share_of_the_lines_and_of_files() -> None:
    def lines(paths: list[Path]) -> int:
        return sum(len(path.read_text("utf-8").splitlines()) for path in paths)

    total = lines(MODULES)
    for name in MAY_IMPORT:
        modules = [path for path in MODULES if folder_of(path) == name]
        assert lines(modules) <= LARGEST * total, f"{name} has {lines(modules):,} of {total:,} lines"
    for folder in {path.parent for path in MODULES} - {PACKAGE / family for family in FAMILIES} - {PACKAGE}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= MOST_FILES, f"{folder} has {len(files)} modules"


def test_every_folder_is_in_the_table_of_imports() -> None:
    assert {folder_of(path) for path in MODULES} - {"__init__", "__main__"} == set(MAY_IMPORT)


def test_no_yaml_but_those_of_loggers_names_wandb() -> None:
    assert [path for path in YAML if "wandb" in "".join(targets(yaml.safe_load(path.read_text())))] == []


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    for top in (PACKAGE, CONF, ROOT / "scripts", ROOT / "tests"):
        for path in top.rglob("*"):
            assert not FORBIDDEN & {part.lower() for part in (*path.relative_to(top).parent.parts, path.stem)}, path


@pytest.mark.parametrize("group", BASE_MODULES)
def test_a_group_has_one_yaml_per_module(group: str) -> None:
    modules = {path.stem for path in (PACKAGE / group).glob("*.py")} - {"__init__"}
    assert modules >= BASE_MODULES[group]
    pieces = modules - BASE_MODULES[group]
    assert {path.stem for path in (CONF / group).glob("*.yaml")} - COMBINATIONS.get(group, set()) == pieces


@pytest.mark.parametrize(
    "path", [p for p in YAML if p.parent.name in BASE_MODULES], ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_a_yaml_targets_the_module_of_its_own_name(path: Path) -> None:
    group = path.parent.name
    for target in targets(yaml.safe_load(path.read_text())):
        if target.startswith("saddlepoint.") and target not in OTHER_TARGETS.get(f"{group}/{path.stem}", ()):
            allowed = {path.stem} | MAY_NAME.get(group, set())
            assert target.split(".")[1] == group, target
            assert target.split(".")[2] in allowed, target


@pytest.mark.parametrize("path", YAML, ids=lambda p: str(p.relative_to(CONF)))
def test_every_target_exists(path: Path) -> None:
    for target in targets(yaml.safe_load(path.read_text())):
        assert callable(import_target(str(path), target))


def texts_without_encoding(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that read or write text in the locale's encoding: open, Path's methods, subprocess with text=True."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        mode = modes[-1] if modes else None
        if (
            name in ("read_text", "write_text")
            or (isinstance(node.func, ast.Name) and name == "open" and "b" not in (mode or ""))
            or (name in ("open", "fdopen") and mode is not None and set(mode) <= set("rwax+t"))
            or any(word.arg == "text" and getattr(word.value, "value", False) is True for word in node.keywords)
        ):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_text_is_read_or_written_in_the_locales_encoding(path: Path) -> None:
    calls = list(texts_without_encoding(tree_of(path)))
    assert not calls, f"{path}, line {calls[0].lineno}: no encoding="


def test_a_text_without_an_encoding_is_detected() -> None:
    for line in (
        "open('x')",
        "p.open('w')",
        "p.read_text()",
        "p.write_text('x')",
        "run([], text=True)",
        "fdopen(1, 'w')",
    ):
        assert list(texts_without_encoding(ast.parse(line))), line
    for line in ("open('x', 'rb')", "p.open('wb')", "p.read_text(encoding='utf-8')", "Image.open(p)", "os.open(p, 0)"):
        assert not list(texts_without_encoding(ast.parse(line))), line


# folders whose code may name a player: those of the two-player game's networks and losses
NAMES_PLAYERS = {"architecture", "objective"}
PLAYERS = {"generator", "discriminator", "encoder"}
LOOKUP_METHODS = ("player", "optimizer", "trainable_parameters", "gradient_norm")
HOLDERS = ("players", "game", "made", "plays", "player", "last_losses", "architecture", "optimizer", "regularizer")


def lookups(tree: ast.AST) -> Iterator[ast.AST]:
    """Expressions that look a player, or its settings, up by a literal name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in PLAYERS:
            owner = ast.unparse(node.value)
            if owner.split(".")[-1] in HOLDERS and "stream" not in owner:
                yield node
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in PLAYERS:
            if ast.unparse(node.value).split(".")[-1] in HOLDERS:
                yield node
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in LOOKUP_METHODS:
            yield from (a for a in node.args if isinstance(a, ast.Constant) and a.value in PLAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_player_is_looked_up_by_a_literal_name(path: Path) -> None:
    named = [] if folder_of(path) in NAMES_PLAYERS else [ast.unparse(node) for node in lookups(tree_of(path))]
    assert named == []


def test_lookups_by_a_literal_name_are_detected() -> None:
    code = "game.generator.network; players['discriminator']; game.player('encoder'); self.game.discriminator"
    assert len(list(lookups(ast.parse(code)))) == 4


def test_the_class_game_stays_short() -> None:
    path = PACKAGE / "game" / "game.py"
    (game,) = (node for node in tree_of(path).body if isinstance(node, ast.ClassDef))
    assert len(path.read_text("utf-8").splitlines()) <= 160
    assert sum(isinstance(node, ast.FunctionDef) for node in game.body) <= 12


def test_the_sides_that_stay_out_of_a_runs_identity_are_those_of_the_two_player_game() -> None:
    from saddlepoint.config.training_keys import LATER_GAME_KEYS
    from saddlepoint.game.side import TWO_PLAYER

    wiring = yaml.safe_load((CONF / "game" / "two_player.yaml").read_text("utf-8"))
    assert LATER_GAME_KEYS["sides"] == TWO_PLAYER == wiring["sides"]
    assert all(wiring[key] == value for key, value in LATER_GAME_KEYS.items())


DOCUMENTED = re.compile(
    r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)(?::([A-Za-z_][\w.]*))?`"
)  # a file, or a name in it, as documents write them
READERS_FILES = {"src/saddlepoint/objective/mine.py", "mylosses.py"}  # of examples


def defined(path: Path) -> set[str]:
    """The functions and classes of a module, and the methods of its classes as Class.method."""
    names = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            methods = [part.name for part in getattr(node, "body", []) if isinstance(part, ast.FunctionDef)]
            names |= {node.name, *(f"{node.name}.{name}" for name in methods if isinstance(node, ast.ClassDef))}
    return names


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_files_and_functions_that_documents_name_exist(page: Path) -> None:
    for file, name in DOCUMENTED.findall(page.read_text("utf-8")):
        if file in READERS_FILES:
            continue
        places = [top / file for top in (PACKAGE, ROOT, ROOT / "src", ROOT / "tests") if (top / file).is_file()]
        assert places, f"{page.name}: {file} does not exist"
        assert not name or name in defined(places[0]), f"{page.name}: {file} has no {name}"


def test_the_architecture_page_names_functions_of_the_call_paths() -> None:
    named = DOCUMENTED.findall((ROOT / "docs" / "architecture.md").read_text("utf-8"))
    assert sum(bool(name) for _, name in named) > 15
