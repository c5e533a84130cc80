"""Import: evaluate an external generator or external samples under our contracts, and save the result as a run folder.

The run folder has no training: it holds a config, scores with their contracts, and a grid.  `compare` reads it.
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
from saddlepoint.evaluation.evaluator import Evaluator, measure_all_anchors
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

CONFIG_KEYS = ("name", "seed", "batch", "metric", "evaluation", "data")  # the keys that define the evaluation
SAMPLE_SUFFIXES = (".npz", ".npy", ".zip", ".txt")
GRID = 64
Log = Callable[[str], None]
Scores = dict[str, Score]


class ImportRequest(NamedTuple):
    """What to import, and facts that its description lacks."""

    path: Path
    description: str | None = None  # a yaml; None: the one next to the file
    weights: str | None = None  # averaged or raw; None: as in the description
    trust: bool = False  # whether code may run
    licence: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class SampleSource:
    """The samples to evaluate: `sampler(name)` begins a stream and returns a function of n, (x [n, ...], classes)."""

    kind: str  # generator or samples
    sampler: Callable[[str], Callable[[int], Any]]
    sha256: str  # of the file, or of the samples
    weights: str | None  # from its description
    most: int | None = None  # available samples; None: unlimited
    licence: str | None = None
    source: str | None = None
    batch_norm: str = "running"
    inputs: str = ""  # the split whose rows samples are computed from


def import_run(
    request: ImportRequest, config: DictConfig, overrides: Sequence[str], log: Log, progress: ProgressMeter
) -> tuple[Run, Scores, dict[str, Scores]]:
    """Evaluate the generator or samples at `request.path` by the protocol of `config`, and save them as a run.

    The run folder follows from the config's name and seed. If it already holds this import, the scores of another
    protocol are added to it. Returns the run, the scores, and the scores of each anchor set. Raises Mistake.
    """
    config = check(config)
    run = Run(run_folder(config.outputs, config.name, config.seed))
    with run.lock():
        _check_not_trained(run)
        data = load_data(config, log)
        if _is_generator(request.path):
            source = _load_generator_source(request, config, data)
        else:
            source = _load_sample_source(request.path, data, log)
        is_known = _check_earlier_import(run, source)
        if is_known and (changes := data_changes(run, data)):
            raise Mistake(
                f"{run.folder} was evaluated on other data: {'; '.join(changes)}. Give this import a name=..."
            )
        weights = request.weights or source.weights or WEIGHTS[0]
        scores, anchors = _measure_samples_and_anchors(
            build_evaluators(config, data, log, progress), source, data, weights, log
        )
        plain = {key: score.to_dict() for key, score in scores.items()}
        if is_known:
            run.append("evaluations.jsonl", {"evaluated": timestamp(), "at": "last", "images": None,
                                             "overrides": redact(list(overrides)), "scores": plain})  # fmt: skip
        else:
            _write_run(run, config, data, source, weights, request, plain, anchors)
    return run, scores, anchors


def _is_generator(path: Path) -> bool:
    """Whether a path holds a generator, not samples."""
    if path.is_dir():
        return any(file.suffix.lower() in GENERATOR_SUFFIXES for file in path.iterdir())
    suffix = path.suffix.lower()
    return suffix in (*GENERATOR_SUFFIXES, *PICKLE_SUFFIXES) or suffix not in SAMPLE_SUFFIXES


def _load_generator_source(request: ImportRequest, config: DictConfig, data: Any) -> SampleSource:
    file = find_generator_file(request.path)
    generator = exported(file, allow_list.allowed_names(config), request.trust, request.description)
    description, seed = generator.description, int(config.seed)
    if description.shape != tuple(data.shape):
        raise Mistake(
            f"{file} makes {list(description.shape)}, and {data.name} is {list(data.shape)}, so they cannot be "
            "compared. Name the data that it was trained on"
        )
    with preserve_random_state():
        generator.sampler(seed, "trial", data)(2)  # raises an error before the data are evaluated
    digest = sha256(file.read_bytes()).hexdigest()
    split = description.conditions.partition("split:")[2]
    return SampleSource("generator", lambda name: generator.sampler(seed, name, data), digest, description.weights,
                        licence=description.licence, source=description.source,
                        batch_norm=description.batch_norm, inputs=split)  # fmt: skip


def _load_sample_source(path: Path, data: Any, log: Log) -> SampleSource:
    split = load_samples_for(data, path, log)

    def sampler(name: str) -> Callable[[int], Any]:
        stream = Stream(0, name)

        def sample(n: int) -> Any:
            x, y = split[stream.consecutive(n)]
            return modality_of(data).to_float(x), y

        return sample

    return SampleSource("samples", sampler, str(split.sha256), None, most=len(split))


def _measure_samples_and_anchors(
    evaluators: Sequence[Evaluator], source: SampleSource, data: Any, weights: str, log: Log
) -> tuple[Scores, dict[str, Scores]]:
    """Return the scores of all evaluators, and the scores of each anchor set; all evaluators get the same samples."""
    scores: Scores = {}
    wanted, available = evaluators[0].sample_count(data), source.most
    if available is not None and available < wanted:
        log(f"{available:,} samples, fewer than the protocol's {wanted:,}: these scores have a contract of their own")
    elif available is not None and available > wanted:
        log(f"{available:,} samples: the first {wanted:,} are evaluated, as in the protocol")
    for evaluator in evaluators:
        wanted = evaluator.sample_count(data)
        evaluator.n = min(wanted, source.most or wanted)
        scores |= evaluator(source.sampler("evaluation"), data, weights, source.batch_norm, inputs=source.inputs)
    check_any_score(scores)
    return scores, measure_all_anchors(evaluators, data)


def _write_run(
    run: Run, config: DictConfig, data: Any, source: SampleSource, weights: str, request: ImportRequest, scores: Any,
    anchors: Any,
) -> None:  # fmt: skip
    """Write the run folder.  The summary, which marks the run as finished, is written last."""
    run.folder.mkdir(parents=True, exist_ok=True)
    source_keys = ("kind", "sha256", "most", "licence", "source")
    source_facts = {key: value for key in source_keys if (value := getattr(source, key)) is not None}
    is_stated = (request.weights or source.weights) is not None
    imported = redact({**source_facts, "from": str(request.path), "file": request.path.name, "weights": weights,
                       "weights_stated": is_stated})  # fmt: skip
    imported |= {key: str(value) for key in ("licence", "source") if (value := getattr(request, key)) is not None}
    recorded = {"origin": "imported", "imported": imported, "ended": timestamp(), "exit": 0}
    facts = provenance(data.describe(), config.seed) | recorded
    write_file(run.folder / "provenance.json", json.dumps(facts, indent=2) + "\n")
    x, _ = source.sampler("grid")(min(GRID, source.most or GRID))
    run.samples.mkdir(exist_ok=True)
    write_file(run.samples / "000000000.png", png_bytes(modality_of(data).picture(x)))
    run_config = OmegaConf.create({key: config._get_node(key) for key in CONFIG_KEYS if key in config})
    with open_dict(run_config):  # nothing is known about the training
        run_config.images = None
        run_config.imported = config.name  # the name of the arm
        choice = {key: config.choice.get(key) for key in ("data", "metric", "protocol") if key in config.choice}
        run_config.choice = {**choice, "imported": config.name}
    write_file(run.config, config_file.to_yaml(run_config))
    run.update_summary(
        status="finished", exit=0, error=None, origin="imported", imported=imported, images=None, final=scores,
        anchors={name: {key: score.to_dict() for key, score in by_key.items()} for name, by_key in anchors.items()},
    )  # fmt: skip


def _check_not_trained(run: Run) -> None:
    """Raise Mistake if the folder holds anything but an import.  An import that was killed early is one, too."""
    if not run.folder.exists() or all(path.name.startswith(".") for path in run.folder.iterdir()):
        return
    if "imported" not in (run.summary.get("origin"), load_json(run.folder / "provenance.json").get("origin")):
        content = "a run that was trained here" if run.config.exists() else "something else"
        raise Mistake(f"{run.folder} holds {content}: give the import a name=... of its own")


def _check_earlier_import(run: Run, source: SampleSource) -> bool:
    """Whether the run folder holds this very import.  Raises Mistake if it holds another one."""
    known = (run.summary.get("imported") or {}).get("sha256")
    if known is not None and known != source.sha256:
        raise Mistake(
            f"{run.folder} holds another import (sha256 {known[:8]}, this one {source.sha256[:8]}): use seed=1 for a "
            "further seed of the same training; another training needs another name=..."
        )
    return known is not None
