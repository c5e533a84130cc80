"""Reproductions for tests: tiny baselines in a repository of their own, trained in this process."""

import copy
import json
import subprocess
from functools import cache

import yaml
from omegaconf import OmegaConf

from saddlepoint.cli import main
from saddlepoint.config.compose import compose
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Contract, Score
from saddlepoint.experiment.train import train
from saddlepoint.game.average import CorrectedAverage
from saddlepoint.reproduction import reproduce
from saddlepoint.run import provenance
from saddlepoint.run.folder import Run, write_file

CORRECTED = f"{CorrectedAverage.__module__}.{CorrectedAverage.__name__}"
QUICK = ["metric=[]", "logger=none", "prior.z.dim=1"]
# the paper's toy game, rate 0.1 and weight 0.3: in 200 simultaneous steps a simulation ends within 0.034 of the
# equilibrium, plain descent 46 away, ten times the weight 0.52, a tenth of it farther than it began, 0.71
TOY = {
    "claim": "Historical averaging arrives where plain descent does not.",
    "source": {"paper": "Salimans et al. 2016", "arxiv": "1606.03498", "place": "section 3.3"},
    "words": [
        *QUICK, "data=point", "data.point=[1.0]", "batch=1", "images=200", "architecture=salimans2016_toy",
        "objective=wasserstein", "optimizer=sgd", "game=simultaneous", "callback=[finite,equilibrium_distance]",
        "optimizer.generator.lr=0.1", "optimizer.discriminator.lr=0.1", "game.players.generator.average=null",
        "callback.equilibrium_distance.equilibrium={generator: [1.0], discriminator: [1.0]}",
        "callback.equilibrium_distance.rounds=100",
    ],
    "arms": {
        "averaged": [
            "regularizer=[historical_averaging]", "regularizer.generator.historical_averaging.weight=0.3",
            "regularizer.discriminator.historical_averaging.weight=0.3",
        ],
    },
    "seeds": [0],
    "deterministic": True,
    "headline": {
        "it arrives": {
            "value": "averaged", "metric": "distance_players_100_train", "direction": "lower",
            "published": {"value": 0.0}, "tolerance": {"most": 0.1, "why": "a simulation ends 0.034 away"},
        },
    },
    "tiers": {"smoke": {"hours": 0.001}},
}  # fmt: skip
# 100 labels of the digits alone, no game; bounds from seeds 100 to 104, which are not its own: errors 0.120 to 0.140
DIGITS = {
    "claim": "100 labels of 8 x 8 digits leave about an eighth of the test images wrong.",
    "source": {"paper": "none: a baseline for tests"},
    "words": [
        "metric=[]", "logger=none", "data=digits", "data.labels=10", "batch=64", "images=5120",
        "architecture.discriminator.widths=[64]", "architecture.generator.widths=[8]",
        "+layer@architecture.discriminator.readout=log_sum_exp", "architecture.discriminator.heads={label: 10}",
        "+layer@architecture.discriminator.neck=gaussian_noise", "architecture.discriminator.neck.sigma=4.0",
        "objective.discriminator=null", "regularizer=[classification]", "optimizer.discriminator.lr=1e-2",
        "game.players.generator.average=null", "callback=[finite,classification_error]",
        f"game.players.discriminator.average={{_target_: {CORRECTED}, _partial_: true}}",
        "+game.players.discriminator.average.rate=0.1",
    ],
    "arms": {"supervised": []},
    "seeds": [0, 1, 2],
    "headline": {
        "test error": {
            "value": "supervised", "metric": "error_discriminator_450_test", "direction": "lower",
            "contract": {"weights": "averaged", "split": "test"},
            "published": {"said": "none"}, "suspicious": 0.09,
            "tolerance": {"most": 0.17, "why": "seeds 100 to 104 had 0.120 to 0.140"},
        },
    },
    "tiers": {"smoke": {"hours": 0.001}},
}  # fmt: skip


SCORE = Contract(
    metric="error", n_real=None, n_fake=450, split="test", data="0" * 64, resolution="1x8x8", resizer="none",
    extractor="discriminator", extractor_sha256="none", weights="averaged", seed=0,
)  # fmt: skip
PLAIN = {  # two arms that nobody has to train
    "claim": "a is better than b.",
    "source": {"paper": "none", "arxiv": "0000.00000", "place": "table 1"},
    "words": ["logger=none"],
    "arms": {"a": ["objective=hinge"], "b": ["objective=minimax"]},
    "seeds": [0, 1, 2],
    "headline": {
        "a": {
            "value": "a", "metric": SCORE.score_name, "direction": "lower", "contract": {"split": "test"},
            "published": {"value": 0.1, "spread": 0.01, "spread_kind": "standard deviation", "n": 10},
            "tolerance": {"most": 0.2, "why": "ten of their deviations"}, "suspicious": 0.05,
        },
        "a less b": {
            "contrast": {"a": "a", "b": "b"}, "metric": SCORE.score_name, "direction": "lower",
            "published": {"said": "it is better"}, "tolerance": {"most": -0.1, "why": "half of what they show"},
        },
    },
    "tiers": {"smoke": {"hours": 0.1}, "full": {"hours": 9, "seeds": [0, 1, 2, 3]}},
}  # fmt: skip
GOOD = {"a": [0.10, 0.11, 0.12], "b": [0.40, 0.41, 0.42]}


class Home:
    """A repository with a baseline in it, which stands for the checkout, and where the runs go."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.outputs = folder / "checkout", folder / "outputs"
        self.conf = self.folder / "own"
        (self.conf / "baseline").mkdir(parents=True)
        (self.folder / "pyproject.toml").write_text("")
        self.git("init", "-q")
        monkeypatch.setattr(provenance, "CHECKOUT", self.folder)
        monkeypatch.setattr(reproduce, "train_all", trained)
        monkeypatch.setattr(reproduce, "compose", composed)
        monkeypatch.setattr(reproduce, "check", lambda config: None)  # train does it again

    def git(self, *words):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", "-C", self.folder, *who, *words], check=True, capture_output=True)

    def write(self, name, baseline):
        """The baseline's file, committed with all else."""
        path = self.conf / "baseline" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(baseline, sort_keys=False))
        self.commit()
        return path

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-qm", "as it is", "--allow-empty")

    def reproduce(self, name, *words):
        """The exit code of the console."""
        return main(["reproduce", f"baseline={name}", f"outputs={self.outputs}", f"--config-dir={self.conf}", *words])

    def certificate(self, name, tier="smoke"):
        return self.outputs / "reproduce" / f"{name}-{tier}" / "certificate.json"


def composed(words, config_dir):
    """As compose, each line once: most of what these tests would wait for."""
    return copy.deepcopy(_composed(tuple(words)))


@cache
def _composed(words):
    return compose(words)


def trained(configs, console):
    """As reproduce.trained, one after the other in this process, where a test may have broken something."""
    for _, config in configs:
        try:
            train(config, console)
        except Mistake as mistake:
            console.print(str(mistake))


def pretended(values, **changes):
    """In the place of reproduce.trained: run folders as training leaves them, with these scores by arm and seed.

    A value None leaves no folder; a text is the status of a run that did not finish. `changes` are of the contract.
    """
    asked = []

    def trained(configs, console):
        for label, config in configs:
            asked.append(label)
            arm, seed = label.split(" seed=")
            _leave(config, values[arm][int(seed)], Contract(**{**SCORE.to_dict(), **changes}))

    trained.asked = asked
    return trained


def _leave(config, value, contract):
    if value is None:
        return
    run = Run(f"{config.outputs}/{config.name}/seed{config.seed}")
    run.folder.mkdir(parents=True)
    write_file(run.config, OmegaConf.to_yaml(config))
    data = {"name": "digits", "sha256": {"test": "0" * 64}}
    write_file(run.folder / "provenance.json", json.dumps(provenance.provenance(data, config.seed)))
    if isinstance(value, str):
        run.update_summary(status=value, error="what happened", final={}, seconds=1.0)
    else:
        final = {contract.score_name: Score(value, contract).to_dict()}
        run.update_summary(status="finished", error=None, final=final, seconds=36.0)
