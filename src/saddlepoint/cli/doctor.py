"""saddlepoint doctor: report what this machine has, and how to fix what is missing."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from saddlepoint.console.output import current_output
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.error import Mistake
from saddlepoint.experiment.diagnosis import CheckResult, diagnose


def command(config: DictConfig, rest: Sequence[str] = (), config_dir: str | None = None) -> int:
    """Print the findings. Return 0 if `saddlepoint train` can run, else 1."""
    if not isinstance(config.certify, bool):
        raise Mistake(f"certify={config.certify}: certify is true or false")
    table = Table(title="saddlepoint doctor", show_lines=False)
    for column in ("", "what", "state", "remedy"):
        table.add_column(column, overflow="fold")
    findings = list(diagnose(config, ProgressMeter(Console(stderr=True))))
    for finding in findings:
        mark = Text("ok", "green") if finding.passed else Text("!!", "yellow")
        table.add_row(mark, *(Text(str(value)) for value in (finding.name, finding.state, finding.remedy)))
    ready = all(finding.passed or not finding.needed for finding in findings)
    current_output().print_result(
        [table], {"ready": ready, "findings": [_finding_entry(finding) for finding in findings]}
    )
    return 0 if ready else 1


def _finding_entry(finding: CheckResult) -> dict[str, Any]:
    """Return a finding for the JSON output, whose keys are public."""
    return {"what": finding.name, "state": finding.state, "well": finding.passed, "remedy": finding.remedy,
            "needed": finding.needed}  # fmt: skip
