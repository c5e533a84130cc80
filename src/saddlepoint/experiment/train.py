"""saddlepoint train: train the run of a config, or resume it."""

from omegaconf import DictConfig
from rich.console import Console

from saddlepoint.config.check import check, check_logger_installed
from saddlepoint.config.identity import check_and_set_code_hashes, check_and_set_start_hash
from saddlepoint.console.standard_streams import ignore_write_errors
from saddlepoint.redaction import cache_secrets
from saddlepoint.run.folder import Run


def train(config: DictConfig, console: Console | None = None) -> Run:
    """Train, evaluate and record a run; returns its folder as a Run.

    Messages and progress go to stderr and the final table to stdout, or both to `console`.

    With the same config again, a finished run is left unchanged, and an unfinished one resumes from its checkpoint.
    With more images, a run is trained further. Raises Mistake if the config is wrong or does not fit the folder.
    """
    with ignore_write_errors(), cache_secrets():  # a closed stdout must not stop it: the results are in the folder
        check_and_set_code_hashes(config)
        check_and_set_start_hash(config)
        checked = check(config)
        check_logger_installed(checked)
        from saddlepoint.experiment.fit import fit  # imports torch and Lightning, so only after the checks

        return fit(checked, console)
