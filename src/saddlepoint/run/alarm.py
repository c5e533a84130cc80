"""The alarms of a run: health.jsonl has a line for each rule that is raised or cleared."""

from pathlib import Path

from saddlepoint.run.folder import Run

HEALTH_FILE, POSTMORTEM_FILE = "health.jsonl", "postmortem.md"
RAISED, CLEARED = "raised", "cleared"


def raised_alarms(folder: Path) -> list[str]:
    """Return the rules that were raised in the run of this folder, in their order, also those cleared later."""
    if not (folder / POSTMORTEM_FILE).exists():  # it is written if there was an alarm
        return []
    return list(dict.fromkeys(row["rule"] for row in Run(folder).events(HEALTH_FILE)[0] if row.get("event") == RAISED))
