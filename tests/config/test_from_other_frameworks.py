"""Each command of docs/from_other_frameworks.md composes, and those of trainings pass the check."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from packing import packed
from PIL import Image

from saddlepoint.config import catalogue
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from_other_frameworks.md"
ROWS = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.read_text("utf-8"), re.M)
COMMANDS = {name: code[1] for name, cell in ROWS if (code := re.match(r"`([^`]*=[^`]*)`", cell))}
WITHOUT = {"not implemented", "facts of the data, filled in"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(10):
        Image.fromarray(np.full((32, 32, 3), i, np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("command", packed({c for c in COMMANDS.values() if not c.startswith("saddlepoint")}))
def test_the_overrides_of_a_training_compose_and_pass_the_check(command: str, images: Path) -> None:
    check(compose(shlex.split(re.sub(r"<path>(/train[AB])?", str(images), command))))


@pytest.mark.parametrize("command", sorted({c for c in COMMANDS.values() if c.startswith("saddlepoint")}))
def test_the_arguments_of_a_command_compose(command: str) -> None:
    _, name, *words = shlex.split(command.replace("<run>", "outputs/mine/seed0"))
    keys = catalogue.command_keys(name)
    compose([word for word in words if word.partition("=")[0] in keys], command=name)
    compose([word for word in words if word.partition("=")[0] not in keys])  # overrides of the run's config


def test_every_row_has_a_command_or_says_why_not() -> None:
    assert len(COMMANDS) > 70
    others = {cell for name, cell in ROWS if name not in COMMANDS} - {"here", "---"}
    assert all(cell in WITHOUT or cell.startswith("the same command again") for cell in others), others
