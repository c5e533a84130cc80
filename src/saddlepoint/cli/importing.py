"""saddlepoint import: somebody else's generator, or their samples, measured on our contracts."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unread
from saddlepoint.config.compose import compose
from saddlepoint.console.output import result
from saddlepoint.console.terminal import Meter, speaker
from saddlepoint.error import Mistake
from saddlepoint.evaluation.table import details, measured
from saddlepoint.export.importing import Request, imported


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """The console's door; `rest` is the protocol: data=..., evaluation.*, metric=..., protocol=..."""
    unread.refuse("import", rest)
    if not any(word.startswith("data=") for word in rest):
        raise Mistake("what was it trained on? Samples are measured against data: add data=mnist, or data=digits")
    place = Path(config["from"]).expanduser()
    if not place.exists():
        raise Mistake(f"from={config['from']}: there is no such file or folder")
    request = Request(place, config.description, config.weights, config.trust, config.licence, config.source)
    protocol = compose([*rest, *(f"{key}={config[key]}" for key in ("name", "seed", "outputs"))], config_dir)
    console, output = Console(stderr=True), result()
    log = speaker(console)
    run, scores, anchors = imported(request, protocol, rest, log, Meter(console))
    output(
        [*measured(f"{run.folder}, imported", scores, anchors, width=output.width), *details(scores)],
        {"run": run.folder, "scores": {key: score.to_dict() for key, score in scores.items()}},
    )
    log(f"{run.folder}: saddlepoint compare 'runs=[{run.folder.parent},...]' puts it beside others")
    return 0
