"""Small runs for tests: an MLP on digits, a few rounds."""

import io

import torch
from rich.console import Console

from saddlepoint.config.compose import compose
from saddlepoint.experiment.train import train

SMALL = [
    "images=1280", "batch=64", "architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]",
    "callback.evaluation.images_between=640", "callback.grid.images_between=640", "callback.journal.images_between=128",
    "callback.checkpoint.images_between=640", "logger=none",
]  # fmt: skip


def run(outputs, *overrides):
    """Train a small run; return its record, with the terminal output as `.said`."""
    console = Console(file=io.StringIO(), width=200)
    try:
        record = train(compose([*SMALL, f"outputs={outputs}", *overrides]), console)
        record.said = console.file.getvalue()
    except BaseException as error:
        error.said = console.file.getvalue()
        raise
    return record


def rows(record):
    """The rows of metrics.jsonl without times."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in record.rows()]


def state(record, name="last"):
    """A flattened checkpoint: key -> tensor or plain value."""
    flat = {}

    def walk(node, path):
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}/{key}")
        elif isinstance(node, list | tuple):
            for i, value in enumerate(node):
                walk(value, f"{path}/{i}")
        else:
            flat[path] = node

    checkpoint = torch.load(record.checkpoints / f"{name}.ckpt", weights_only=True)
    for key in ("state_dict", "optimizer_states", "saddlepoint"):
        walk(checkpoint[key], key)
    return flat


def assert_equal(one, other):
    """Bit for bit."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        same = torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
        assert same, key
