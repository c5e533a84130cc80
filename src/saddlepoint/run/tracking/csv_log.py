"""The logger of csv/metrics.csv: the events of a run as a table with a column per key, for spreadsheets and scripts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from saddlepoint.run.folder import Run, unwritable_error
from saddlepoint.run.journal import RunLogger


class CsvLog(RunLogger):
    """Lightning's CSVLogger, which writes csv/metrics.csv of the run folder; `step` is the number of images.

    When a run resumes, the file is rewritten from metrics.jsonl, so that it holds every event once.
    """

    label = "csv"

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None  # of the table, None before `start`
        self._csv: CSVLogger | None = None

    def start(self, run: Run, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
        """Start the table of this run with the events of its metrics.jsonl."""
        self._csv = CSVLogger(run.folder, name="", version="csv", flush_logs_every_n_steps=1)
        self.path = run.folder / "csv" / "metrics.csv"
        self.path.unlink(missing_ok=True)
        for row in run.rows():
            self.log_metrics(
                {key: value for key, value in row.items() if key not in ("images", "seconds")}, row["images"]
            )

    @property
    def whereabouts(self) -> str:
        """One line: the path of the table."""
        exists = self.path is not None and self.path.exists()
        return f"CSV: {self.path}" if exists else "CSV: no event was logged, so there is no table"

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append one row.  Raises Mistake if it cannot be written."""
        if self._csv is None or self.path is None:
            return
        try:
            self._csv.log_metrics(dict(metrics), step)
            self._csv.save()
        except OSError as error:
            raise unwritable_error(self.path, error) from None
