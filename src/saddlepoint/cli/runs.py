"""saddlepoint runs: list all runs of a folder with status, scores, time and the next step, and write an HTML index."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.comparison.arms.record import load_records
from saddlepoint.comparison.report.run_index import index_page, runs_sheet_of, runs_to_plain
from saddlepoint.comparison.report.terminal_page import terminal_tables
from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import line_printer
from saddlepoint.run import destination, layout
from saddlepoint.run.folder import write_file


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Print the list of runs and write its index, unless to=-. Raises Mistake if there is no run."""
    output, root = current_output(), Path(config.outputs).expanduser()
    to = None if config.to == "-" else Path(config.to or root / "index.html")
    if to is not None:
        destination.check_output_file(to, (".html",), "the index is an .html file")
    runs = load_records(folders_with_runs(root) or str(root), key="outputs")
    sheet = runs_sheet_of(runs, root)
    document = {"runs": runs_to_plain(runs), "index": to}
    output.print_result(list(terminal_tables(sheet, output.width)), document)
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_file(to, index_page(runs, sheet, root, to))
        line_printer(Console(stderr=True))(f"index: {to}")
    return 0


def folders_with_runs(root: Path) -> list[Path]:
    """Return `root` and its subfolders that hold name folders, such as the `outputs` of an experiment."""
    children = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [path for path in (root, *children) if any(layout.find_runs(path))]
