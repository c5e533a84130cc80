"""The house stands as it is drawn: who may import whom, and that conf mirrors src (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from saddlepoint.config.instantiate import locate

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "saddlepoint"
CONF = ROOT / "conf"

# who may import whom besides itself, from low to high: nobody imports from a line below its own
LEAVES = {"error", "mode", "pixel", "ranks", "redaction", "template"}  # these stand on libraries alone
COMMON = LEAVES | {"schema", "stream", "modality"}
MAY_IMPORT: dict[str, set[str]] = {
    **{leaf: set() for leaf in sorted(LEAVES)},
    "schema": {"error"},
    "stream": {"error"},
    "modality": {"error", "pixel"},
    "turn": {"error", "stream"},
    "console": {"error"},
    "objective": set(),  # an objective knows logits, nothing else
    "prior": COMMON,
    "schedule": COMMON,
    "optimizer": COMMON,
    "layer": COMMON | {"turn"},
    "regularizer": COMMON | {"turn"},
    "architecture": COMMON | {"turn", "layer"},
    "run": COMMON,
    "data": COMMON | {"turn", "run"},
    "extractor": COMMON | {"run"},
    "metric": COMMON | {"extractor", "run"},
    "game": COMMON | {"turn", "regularizer", "prior", "schedule"},
    "evaluation": COMMON | {"console", "extractor", "metric", "run"},
    "health": COMMON | {"run"},
    "callback": COMMON | {"console", "evaluation", "game", "health", "run", "turn"},
    "launcher": COMMON | {"run"},
    "config": COMMON | {"data", "run"},
    "experiment": COMMON
    | {"callback", "config", "console", "data", "evaluation", "extractor", "game", "launcher", "metric", "run", "turn"},
    "comparison": COMMON | {"config", "evaluation", "run"},
    "multirun": COMMON | {"config", "console", "experiment", "launcher", "run"},
    "sweep": COMMON | {"comparison", "config", "console", "experiment", "launcher", "multirun", "run"},
    "reproduction": COMMON | {"comparison", "config", "evaluation", "experiment", "multirun", "run"},
    "export": COMMON
    | {"comparison", "config", "console", "data", "evaluation", "experiment", "game", "layer", "prior", "run", "turn"},
    "cli": COMMON
    | {"callback", "comparison", "config", "console", "evaluation", "experiment", "export", "launcher", "multirun"}
    | {"reproduction", "run", "sweep"},
}
INNER = {  # rooms within a room, from low to high
    "comparison": ("stats", "arms", "report"),
    "run": ("storage", "tracking"),
}
FAMILIES = {"architecture", "callback", "data", "extractor", "game", "layer", "metric", "objective", "prior"}
FAMILIES |= {"optimizer", "regularizer", "schedule"}  # of pieces: as many files as there are pieces
MOST_FILES, LARGEST = 15, 0.15  # of a folder that is no family; of all lines, a room
ABOVE_CONFIG = {"cli", "config", "experiment", "multirun", "sweep", "reproduction", "export"}
ONLY_IN = {
    "hydra": {"config"},
    "omegaconf": ABOVE_CONFIG,  # these take configs
    "wandb": {"callback", "run"},
    "jinja2": {"template"},
}
FORBIDDEN = {"utils", "util", "misc", "common", "helpers", "helper", "components", "component"}

# modules that the pieces of a group stand on: no piece themselves, so they have no yaml
FOUNDATIONS = {
    "data": {
        "array_file",
        "data",
        "facts",
        "folder",
        "labelled_subset",
        "listing",
        "shuffled_order",
        "image_file",
        "samples",
        "wav_file",
        "text_file",
    },
    "prior": {"prior"},
    "architecture": {"discriminator"},
    "layer": {"condition_entry", "growth", "maxout", "readout", "shift", "conditional_sequential"},
    "objective": set(),
    "regularizer": {"regularizer", "slope"},
    "game": {
        "average",
        "condition_source",
        "dry_run",
        "game",
        "hooks",
        "lineage",
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
        "extractor",
        "user_network",
        "data_like",
        "resizer",
        "stacked",
        "training",
    },
    "metric": {"per_class", "labelled_metric", "metric", "neighbour", "occupancy"},
    "callback": {"dump", "health_probe", "graceful_stop", "periodic"},
    "schedule": {"ramp", "schedule"},
    "launcher": {"job", "pool", "rank_processes"},
}
WIRINGS = {  # yaml that only arranges foundations, or other pieces
    "game": {"adaptive_augment", "conditional", "inpainting", "simultaneous", "two_player", "vae"},
    "prior": {"infogan"},
    "extractor": {
        f"{name}{second}" for name in ("cifar10-jpeg", "digits", "mnist", "stacked-mnist") for second in ("", "-b")
    }
    | {"nearest-b", "trained-b"},
}
STANDS_ON = {  # what a group's yaml may name besides its own module
    "prior": {"prior", "uniform", "categorical"},
    "game": {"game", "player", "average"},
    "extractor": {"classifier", "nearest", "stacked", "trained"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))
YAML = sorted(CONF.rglob("*.yaml"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def room(path: Path) -> str:
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
    """Every `_target_` in what a yaml holds."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "_target_")
        node = list(node.values())
    for part in node if isinstance(node, list) else []:
        yield from targets(part)


@pytest.mark.parametrize(
    "path", [m for m in MODULES if room(m) in MAY_IMPORT], ids=lambda m: str(m.relative_to(PACKAGE))
)
def test_imports_point_downwards_only(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "saddlepoint" and rest:
            assert rest.split(".")[0] in MAY_IMPORT[own] | {own}, f"{own} imports {name}"
        assert own in ONLY_IN.get(first, {own}), f"{own} imports {first}"


def test_what_may_be_imported_lies_lower() -> None:
    rooms = list(MAY_IMPORT)
    for place, (room_, below) in enumerate(MAY_IMPORT.items()):
        assert below <= set(rooms[:place]), f"{room_}: {sorted(below - set(rooms[:place]))} do not lie lower"


@pytest.mark.parametrize("outer", INNER)
def test_imports_between_the_rooms_of_a_room_point_downwards_only(outer: str) -> None:
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
    found = {name: set() for name in named}
    for name, path in named.items():
        for one in imports(path):
            found[name] |= {target for target in (one, one.rpartition(".")[0]) if target in named and target != name}
            found[name].discard(one.rpartition(".")[0] if one in named else "")
    return found


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """What is left when modules that import nothing that is left are taken away, again and again."""
    left = {name: set(targets) for name, targets in arrows.items()}
    while done := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in done}
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(graph()) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"], "and one would be found"


def test_no_room_holds_more_than_its_share_and_no_folder_too_many_files() -> None:
    def lines(paths: list[Path]) -> int:
        return sum(len(path.read_text("utf-8").splitlines()) for path in paths)

    whole = lines(MODULES)
    for own in MAY_IMPORT:
        inside = [path for path in MODULES if room(path) == own]
        assert lines(inside) <= LARGEST * whole, f"{own} holds {lines(inside):,} of {whole:,} lines"
    for folder in {path.parent for path in MODULES} - {PACKAGE / family for family in FAMILIES} - {PACKAGE}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= MOST_FILES, f"{folder} has {len(files)} modules"


def test_every_room_of_the_house_is_on_the_plan() -> None:
    assert {room(path) for path in MODULES} - {"__init__", "__main__"} == set(MAY_IMPORT)


def test_wandb_is_named_in_no_yaml_but_the_loggers() -> None:
    assert [path for path in YAML if "wandb" in "".join(targets(yaml.safe_load(path.read_text())))] == []


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    for top in (PACKAGE, CONF, ROOT / "scripts", ROOT / "tests"):
        for path in top.rglob("*"):
            assert not FORBIDDEN & {part.lower() for part in (*path.relative_to(top).parent.parts, path.stem)}, path


@pytest.mark.parametrize("group", FOUNDATIONS)
def test_a_group_has_one_yaml_per_module(group: str) -> None:
    modules = {path.stem for path in (PACKAGE / group).glob("*.py")} - {"__init__"}
    assert modules >= FOUNDATIONS[group]
    pieces = modules - FOUNDATIONS[group]
    assert {path.stem for path in (CONF / group).glob("*.yaml")} - WIRINGS.get(group, set()) == pieces


@pytest.mark.parametrize(
    "path", [p for p in YAML if p.parent.name in FOUNDATIONS], ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_a_yaml_targets_the_module_of_its_own_name(path: Path) -> None:
    group = path.parent.name
    for target in targets(yaml.safe_load(path.read_text())):
        if target.startswith("saddlepoint."):
            allowed = {path.stem} | STANDS_ON.get(group, set())
            assert target.split(".")[1] == group, target
            assert target.split(".")[2] in allowed, target


@pytest.mark.parametrize("path", YAML, ids=lambda p: str(p.relative_to(CONF)))
def test_every_target_exists(path: Path) -> None:
    for target in targets(yaml.safe_load(path.read_text())):
        assert callable(locate(str(path), target))


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
    found = list(texts_without_encoding(tree_of(path)))
    assert not found, f"{path}, line {found[0].lineno}: say encoding="


def test_a_text_without_an_encoding_is_found() -> None:
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


# what may name a player: the pieces and the wiring of the two-player game, and words that are shown to people
NAMES_PLAYERS = {"architecture", "objective"}
PLAYERS = {"generator", "discriminator", "encoder"}
ASKING = ("player", "optimizer", "parameters_of", "gradient_norm")
HOLDERS = ("players", "game", "made", "plays", "player", "last_losses", "architecture", "optimizer", "regularizer")


def lookups(tree: ast.AST) -> Iterator[ast.AST]:
    """Where something that holds players, or their settings, is asked for one by a name that stands in the code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in PLAYERS:
            owner = ast.unparse(node.value)
            if owner.split(".")[-1] in HOLDERS and "stream" not in owner:
                yield node
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in PLAYERS:
            if ast.unparse(node.value).split(".")[-1] in HOLDERS:
                yield node
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ASKING:
            yield from (a for a in node.args if isinstance(a, ast.Constant) and a.value in PLAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_player_is_looked_up_by_a_literal_name(path: Path) -> None:
    found = [] if room(path) in NAMES_PLAYERS else [ast.unparse(node) for node in lookups(tree_of(path))]
    assert found == []


def test_the_lookups_that_are_looked_for_are_found() -> None:
    code = "game.generator.network; players['discriminator']; game.player('encoder'); self.game.discriminator"
    assert len(list(lookups(ast.parse(code)))) == 4


def test_the_class_that_plays_fits_a_screen() -> None:
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


PLACE = re.compile(
    r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)(?::([A-Za-z_][\w.]*))?`"
)  # as docs name a file, or what is in it
YOURS = {"src/saddlepoint/objective/mine.py", "mylosses.py"}  # a reader's own, in examples


def defined(path: Path) -> set[str]:
    """The functions and classes of a module, and the methods of its classes as Class.method."""
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            inner = [own.name for own in getattr(node, "body", []) if isinstance(own, ast.FunctionDef)]
            found |= {node.name, *(f"{node.name}.{name}" for name in inner if isinstance(node, ast.ClassDef))}
    return found


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_files_and_functions_that_documents_name_are_there(page: Path) -> None:
    for file, name in PLACE.findall(page.read_text("utf-8")):
        if file in YOURS:
            continue
        places = [top / file for top in (PACKAGE, ROOT, ROOT / "src", ROOT / "tests") if (top / file).is_file()]
        assert places, f"{page.name}: {file} is not there"
        assert not name or name in defined(places[0]), f"{page.name}: {file} has no {name}"


def test_the_ways_through_the_house_are_told() -> None:
    named = PLACE.findall((ROOT / "docs" / "architecture.md").read_text("utf-8"))
    assert sum(bool(name) for _, name in named) > 15
