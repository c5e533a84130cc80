"""saddlepoint train: trains the run that a config names, or goes on with it where it stopped."""

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.config.check import check, check_installed
from saddlepoint.config.identity import refresh_code_hashes
from saddlepoint.console.standard_streams import ignore_write_errors
from saddlepoint.redaction import cache_secrets
from saddlepoint.run.folder import Run


def train(config: DictConfig, console: Console | None = None) -> Run:
    """Train, evaluate and record; returns the run's folder as a Run.

    Notes and progress go to stderr, the closing table to stdout, or both to `console`.

    The same config again: a finished run is left as it is, an unfinished one goes on from its checkpoint, one that asks
    for more images goes on to them. Raises Mistake where a person has to decide something.
    """
    with ignore_write_errors(), cache_secrets():  # what it prints may find nobody: the results are in the folder
        refresh_code_hashes(config)
        checked = check(config)
        check_installed(checked)
        from saddlepoint.experiment.fit import fit  # torch and Lightning, for a config that makes sense

        return fit(checked, console)
