"""Somebody else's generator, or their samples, measured on our contracts and put beside our runs.

What it leaves is a run folder without a training: config, scores with their contracts, a grid; `compare` reads it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf, open_dict

from saddlepoint.config import allow_list, config_file
from saddlepoint.config.check import check
from saddlepoint.console.terminal import ProgressMeter
from saddlepoint.data.samples import load_samples_for
from saddlepoint.error import Mistake
from saddlepoint.evaluation.contract import Score
from saddlepoint.evaluation.evaluator import Evaluator, all_anchor_scores
from saddlepoint.experiment.build import load_data
from saddlepoint.experiment.evaluate import build_evaluators, check_any_score
from saddlepoint.experiment.restore import data_changes
from saddlepoint.export.description import WEIGHTS
from saddlepoint.export.load_generator import GENERATOR_SUFFIXES, PICKLE_SUFFIXES, exported, find_generator_file
from saddlepoint.modality import modality_of
from saddlepoint.modality.modality import png_bytes
from saddlepoint.redaction import redact
from saddlepoint.run.folder import Run, load_json, write_file
from saddlepoint.run.layout import run_folder
from saddlepoint.run.provenance import provenance, timestamp
from saddlepoint.stream import Stream, preserve_random_state

KEPT = ("name", "seed", "batch", "metric", "evaluation", "data")  # of a config: what was measured, and by what
GRID = 64
Log = Callable[[str], None]
Scores = dict[str, Score]


class ImportRequest(NamedTuple):
    """What is imported, and what its file does not say of itself."""

    path: Path
    description: str | None = None  # a yaml; None: the one beside it
    weights: str | None = None  # averaged or raw; None: as the description says
    trust: bool = False  # whether code may run
    licence: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Source:
    """Where samples come from: `sampler(name)` begins a stream that gives the next n, and the classes asked for."""

    kind: str  # generator or samples
    sampler: Callable[[str], Callable[[int], Any]]
    sha256: str  # of the file, or of the samples
    weights: str | None  # as its description says
    most: int | None = None  # samples that there are; None: as many as are asked for
    licence: str | None = None
    source: str | None = None
    batch_norm: str = "running"


def import_run(
    request: ImportRequest, config: DictConfig, overrides: Sequence[str], log: Log, progress: ProgressMeter
) -> tuple[Run, Scores, dict[str, Scores]]:
    """Measure what lies at `request.place` by the protocol of `config`, whose name and seed the folder has.

    The run folder that was made, or to which another protocol's scores were added; the scores, and the anchors' by set.
    Raises Mistake.
    """
    config = check(config)
    run = Run(run_folder(config.outputs, config.name, config.seed))
    with run.lock():
        _refuse_trained(run)
        data = load_data(config, log)
        makes = _makes(request.path)
        source = _generator(request, config, data) if makes else _samples(request.path, data, log)
        again = _again(run, source)
        if again and (changed := data_changes(run, data)):
            raise Mistake(f"{run.folder} was measured on other data: {'; '.join(changed)}. Give this import a name=...")
        weights = request.weights or source.weights or WEIGHTS[0]
        scores, anchors = _measured(build_evaluators(config, data, log, progress), source, data, weights, log)
        plain = {key: score.to_dict() for key, score in scores.items()}
        if again:
            run.append("evaluations.jsonl", {"evaluated": timestamp(), "at": "last", "images": None,
                                             "overrides": redact(list(overrides)), "scores": plain})  # fmt: skip
        else:
            _record(run, config, data, source, weights, request, plain, anchors)
    return run, scores, anchors


def _makes(place: Path) -> bool:
    """Whether a generator lies there, rather than samples."""
    if place.is_dir():
        return any(path.suffix.lower() in GENERATOR_SUFFIXES for path in place.iterdir())
    return place.suffix.lower() in (*GENERATOR_SUFFIXES, *PICKLE_SUFFIXES) or place.suffix.lower() not in (
        ".npz",
        ".npy",
        ".zip",
        ".txt",
    )


def _generator(request: ImportRequest, config: DictConfig, data: Any) -> Source:
    file = find_generator_file(request.path)
    made = exported(file, allow_list.allowed_names(config), request.trust, request.description)
    if made.description.shape != tuple(data.shape):
        raise Mistake(
            f"{file} makes {list(made.description.shape)}, and {data.name} is {list(data.shape)}: they are not "
            "measured against each other. Name the data that it was trained on"
        )
    with preserve_random_state():
        made.sampler(int(config.seed), "trial", data)(2)  # a mistake is told before the data are measured
    digest = sha256(file.read_bytes()).hexdigest()
    told = made.description
    return Source("generator", lambda name: made.sampler(int(config.seed), name, data), digest, told.weights,
                  licence=told.licence, source=told.source, batch_norm=told.batch_norm)  # fmt: skip


def _samples(place: Path, data: Any, log: Log) -> Source:
    split = load_samples_for(data, place, log)

    def sampler(name: str) -> Callable[[int], Any]:
        stream = Stream(0, name)

        def sample(n: int) -> Any:
            x, y = split[stream.consecutive(n)]
            return modality_of(data).to_float(x), y

        return sample

    return Source("samples", sampler, str(split.sha256), None, most=len(split))


def _measured(
    rulers: Sequence[Evaluator], source: Source, data: Any, weights: str, log: Log
) -> tuple[Scores, dict[str, Scores]]:
    """The scores by all rulers, and the anchors by set; every ruler sees the same samples."""
    found: Scores = {}
    wanted, there = rulers[0].sample_count(data), source.most
    if there is not None and there < wanted:
        log(f"{there:,} samples, where the protocol takes {wanted:,}: these scores stand under a contract of their own")
    elif there is not None and there > wanted:
        log(f"{there:,} samples: the first {wanted:,} are measured, as many as the protocol takes")
    for evaluator in rulers:
        wanted = evaluator.sample_count(data)
        evaluator.n = min(wanted, source.most or wanted)
        found |= evaluator(source.sampler("evaluation"), data, weights, source.batch_norm)
    check_any_score(found)
    return found, all_anchor_scores(rulers, data)


def _record(
    run: Run,
    config: DictConfig,
    data: Any,
    source: Source,
    weights: str,
    request: ImportRequest,
    scores: Any,
    anchors: Any,
) -> None:
    """Write the folder; the summary, which makes it a finished run, last."""
    run.folder.mkdir(parents=True, exist_ok=True)
    known = ("kind", "sha256", "most", "licence", "source")
    told = {key: value for key in known if (value := getattr(source, key)) is not None}
    stated = request.weights or source.weights
    about = redact({**told, "from": str(request.path), "file": request.path.name, "weights": weights,
                      "weights_stated": stated is not None})  # fmt: skip
    about |= {key: str(own) for key in ("licence", "source") if (own := getattr(request, key)) is not None}
    own = {"origin": "imported", "imported": about, "ended": timestamp(), "exit": 0}
    made = provenance(data.describe(), config.seed) | own
    write_file(run.folder / "provenance.json", json.dumps(made, indent=2) + "\n")
    x = source.sampler("grid")(min(GRID, source.most or GRID))
    run.samples.mkdir(exist_ok=True)
    write_file(run.samples / "000000000.png", png_bytes(modality_of(data).picture(x[0])))
    kept = OmegaConf.create({key: config._get_node(key) for key in KEPT if key in config})
    with open_dict(kept):  # of the training nothing is known
        kept.images = None
        kept.imported = config.name  # names the arm
        chosen = {key: config.choice.get(key) for key in ("data", "metric", "protocol") if key in config.choice}
        kept.choice = {**chosen, "imported": config.name}
    write_file(run.config, config_file.to_yaml(kept))
    run.update_summary(
        status="finished", exit=0, error=None, origin="imported", imported=about, images=None, final=scores,
        anchors={name: {key: score.to_dict() for key, score in own.items()} for name, own in anchors.items()},
    )  # fmt: skip


def _refuse_trained(run: Run) -> None:
    """Raises Mistake where the folder holds anything but an import, be it one that was killed before its summary."""
    if not run.folder.exists() or all(path.name.startswith(".") for path in run.folder.iterdir()):
        return
    if "imported" not in (run.summary.get("origin"), load_json(run.folder / "provenance.json").get("origin")):
        what = "a run that was trained here" if run.config.exists() else "something else"
        raise Mistake(f"{run.folder} holds {what}: give the import a name=... of its own")


def _again(run: Run, source: Source) -> bool:
    """Whether the same was imported before, and is to be measured anew.  Raises Mistake where it was another."""
    known = (run.summary.get("imported") or {}).get("sha256")
    if known is not None and known != source.sha256:
        raise Mistake(
            f"{run.folder} holds another import (sha256 {known[:8]}, this one {source.sha256[:8]}): a further seed of "
            "the same training is seed=1, another training another name=..."
        )
    return known is not None
