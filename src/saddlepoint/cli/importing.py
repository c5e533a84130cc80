"""saddlepoint import: measure a generator of another program, or its samples, under our contracts."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.cli import unused_override
from saddlepoint.config.compose import compose
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import ProgressMeter, line_printer
from saddlepoint.error import Mistake
from saddlepoint.evaluation.score_table import detail_tables, score_tables
from saddlepoint.export.import_run import ImportRequest, import_run


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Run `saddlepoint import`; `rest` sets the protocol: data=..., evaluation.*, metric=..., protocol=..."""
    unused_override.check_overrides_used("import", rest)
    if not any(override.startswith("data=") for override in rest):
        raise Mistake("what was it trained on? Samples are measured against data: add data=mnist, or data=digits")
    path = Path(config["from"]).expanduser()
    if not path.exists():
        raise Mistake(f"from={config['from']}: there is no such file or folder")
    request = ImportRequest(path, config.description, config.weights, config.trust, config.licence, config.source)
    protocol = compose([*rest, *(f"{key}={config[key]}" for key in ("name", "seed", "outputs"))], config_dir)
    console, output = Console(stderr=True), current_output()
    log = line_printer(console)
    run, scores, anchors = import_run(request, protocol, rest, log, ProgressMeter(console))
    output.print_result(
        [*score_tables(f"{run.folder}, imported", scores, anchors, width=output.width), *detail_tables(scores)],
        {"run": run.folder, "scores": {key: score.to_dict() for key, score in scores.items()}},
    )
    log(f"{run.folder}: saddlepoint compare 'runs=[{run.folder.parent},...]' compares it with others")
    return 0
