"""Writes the folder of `saddlepoint init` from the templates beside this module."""

import keyword
import os
from importlib.util import find_spec
from pathlib import Path

from saddlepoint.error import Mistake
from saddlepoint.run.folder import unwritable_error, write_file
from saddlepoint.template import render_template

TEMPLATES = {  # path in the new folder -> template
    "README.md": "readme.md.j2",
    "{name}.py": "loss.py.j2",
    "conf/objective/{name}.yaml": "objective.yaml.j2",
    "conf/experiment/{name}.yaml": "experiment.yaml.j2",
    "tests/test_{name}.py": "test.py.j2",
    "pytest.ini": "pytest.ini.j2",
    ".gitignore": "gitignore.j2",
}


def write_starter(to: Path, name: str) -> list[Path]:
    """Write the files into the folder `to`, which is created, and return their paths; `name` is that of the module.

    Raises Mistake if the folder is not empty or cannot be written, or if the name is not free.
    """
    _check_name(name)
    if to.is_dir() and any(to.iterdir()):
        raise Mistake(f"to={to} is not empty, and no file is replaced: name a new folder")
    contents = {to / path.format(name=name): render_template(f"starter/{template}", name=name)
                for path, template in TEMPLATES.items()}  # fmt: skip
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content)
    except OSError as error:
        raise unwritable_error(to, error, key="to") from None
    return list(contents)


def _check_name(name: str) -> None:
    """Raise Mistake unless `name` is a module name that nothing else has: neither a Python module nor an option."""
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name != name.lower():
        raise Mistake(
            f"name={name} becomes a Python module: use lower-case letters, digits and _, such as name=my_loss"
        )
    if (spec := find_spec(name)) is not None and Path(spec.origin or os.curdir).parent != Path.cwd():
        raise Mistake(f"name={name}: Python has a module of this name already; choose another, such as name=my_{name}")
