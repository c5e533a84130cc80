"""The keys that each command has of its own, and what each may be: one line a key, as in conf/<command>.yaml.

What the keys of pieces may be stands in their signatures (see check); both are held to the rules of `schema`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn

from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema

from saddlepoint.config import catalogue, synonym
from saddlepoint.error import Mistake, did_you_mean
from saddlepoint.schema import (
    Component,
    Count,
    Flag,
    Natural,
    NonEmptyText,
    Number,
    Text,
    integer_from,
    invalid_message,
    nullable,
    type_adapter,
    validate_value,
    value_type,
)

THREADS = 1_024  # OpenMP ends the process where it cannot start as many as it was told to
LONGEST = 255  # bytes of one name in a path, on the file systems of today


def _short(value: str) -> str:
    if any(len(os.fsencode(part)) > LONGEST for part in value.split(os.sep)):
        raise ValueError
    return value


Folder = Annotated[
    NonEmptyText,
    AfterValidator(_short),
    WithJsonSchema({"description": f"a folder, of names of at most {LONGEST} bytes"}),
]
Split = Literal["train", "validation", "test"]
TextOrNull = Text | None
CountOrNull = Count | None
NameOrNull = NonEmptyText | None
FolderOrNull = Folder | None
FlagOrNull = Flag | None
SplitOrNull = Split | None
AT = Natural | Literal["last", "best", "previous"]
Moment = Annotated[
    value_type(AT), invalid_message("one moment at a time: last, best, previous, or the images of a snapshot")
]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Size = Annotated[
    value_type(Count | tuple[Count, Count]) | None,
    invalid_message("data.size is a whole number from 1 on, [height,width] or null"),
]
Words = value_type(Text | list[Text])
Method = value_type(dict[str, Any] | Text)
Backend = value_type(Flag | Text)

SHORT = {  # Lightning's short names of precisions, and what others call them
    "16": "16-mixed", "fp16": "16-mixed", "float16": "16-mixed", "half": "16-mixed", "amp": "16-mixed",
    "bf16": "bf16-mixed", "bfloat16": "bf16-mixed", "32": "32-true", "fp32": "32-true", "float32": "32-true",
    "single": "32-true", "float": "32-true", "64": "64-true", "fp64": "64-true", "float64": "64-true",
    "double": "64-true",
}  # fmt: skip
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def _precision(value: Any) -> Any:
    return value if isinstance(value, bool) else SHORT.get(str(value).lower(), value)


Precision = Annotated[
    Literal["32-true", "16-mixed", "bf16-mixed"],
    BeforeValidator(_precision),
    WithJsonSchema({"description": f"{', '.join(PRECISIONS)}; latents and data are float32"}),
]

KEY_TYPES: dict[str, dict[str, Any]] = {
    "train": {
        "name": TextOrNull,
        "seed": Natural,
        "images": Count,
        "batch": Count,
        "device": Literal["auto", "cpu", "cuda", "mps"],
        "devices": Count,
        "nodes": Count,
        "compile": Backend,
        "threads": nullable(Annotated[Count, Field(le=THREADS)]),
        "outputs": Folder,
        "cache": FolderOrNull,
        "overwrite": Flag,
        "allow_target": Words | None,
        "many": dict[str, Any],
        "shared": Words | None,
        "resume.allow": Words | None,
        "evaluation.n": CountOrNull,
        "evaluation.split": Literal["train", "validation", "test", "all"],
        "evaluation.extractor": value_type(Component | Text) | None,
        "evaluation.second": value_type(Component | Text) | None,
        "evaluation.weights": NameOrNull,
        "evaluation.resizer": TextOrNull,
        "evaluation.average": Flag,
        "evaluation.batch_norm": Literal["running", "batch"],
        "evaluation.batch": Count,
        "evaluation.seed": Natural,
        "evaluation.selection.n": integer_from(2) | None,
        "evaluation.selection.split": SplitOrNull,
        "trainer.precision": Precision,
        "trainer.sync_batchnorm": FlagOrNull,
        "trainer.deterministic": value_type(Flag | Literal["warn"]) | None,
        "trainer.benchmark": FlagOrNull,
        "trainer.detect_anomaly": Flag,
        "trainer.profiler": nullable(Literal["simple", "advanced", "pytorch", "xla"]),
    },
    "data/image_folder": {  # before its class is at hand: what the folder is asked by
        "data.folder": NameOrNull,
        "data.size": Size,
        "data.channels": Count,
        "data.classes": CountOrNull,
    },
    "data/audio_folder": {
        "data.folder": NameOrNull,
        "data.length": CountOrNull,
        "data.classes": CountOrNull,
    },
    "data/text_lines": {
        "data.folder": NameOrNull,
        "data.unit": Literal["character", "word"],
        "data.length": CountOrNull,
        "data.classes": CountOrNull,
        "data.vocabulary": nullable(list[Text]),
    },
    "evaluate": {
        "run": NameOrNull,
        "samples": NameOrNull,
        "at": value_type(AT | Literal["all"]),
        "against": NameOrNull,
        "reference": NameOrNull,
        "uncertainty": Flag,
        "generations": Count,
        "groups": integer_from(2),
        "to": NameOrNull,
    },
    "sample": {
        "run": NonEmptyText,
        "at": Moment,
        "n": Count,
        "label": value_type(Natural | Text | dict[str, Any]) | None,
        "by": TextOrNull,
        "source": value_type(NonEmptyText | dict[str, Any]) | None,
        "to": NameOrNull,
        "sample_seed": Natural,
        "average": Flag,
    },
    "memorisation": {
        "run": NameOrNull,
        "samples": NameOrNull,
        "at": Moment,
        "n": Annotated[integer_from(50), invalid_message("memorisation takes 50 samples at least, and better 1,000")],
        "level": Annotated[Fraction, invalid_message("the rate of false alarms lies between 0 and 1, 0.05 for one")],
        "sample_seed": Natural,
        "average": Flag,
        "to": NameOrNull,
    },
    "compare": {
        "runs": Words,
        "by": Words | None,
        "over": Words,
        "metric": TextOrNull,
        "baseline": Any,
        "level": Annotated[Fraction, invalid_message("it lies between 0 and 1; 0.05 is usual")],
        "reach": Annotated[nullable(Number), invalid_message("a score, as a number")],
        "factorial": Annotated[FlagOrNull, invalid_message("true or false, or null: as it fits")],
        "tuning": Flag,
        "higher_is_better": FlagOrNull,
        "to": NameOrNull,
    },
    "why": {"a": NameOrNull, "b": NameOrNull},
    "reproduce": {
        "baseline": NameOrNull,
        "tier": NameOrNull,
        "outputs": Folder,
        "retrain": Flag,
        "allow_dirty": Flag,
    },
    "sweep": {
        "sweep": NameOrNull,
        "trials": CountOrNull,
        "workers": Count,
        "seeds": nullable(list[Natural]),
        "sampler": Method | None,
        "pruner": Method | None,
        "name": NameOrNull,
        "outputs": Folder,
        "storage": Literal["sqlite", "journal"],
        "failures": Count,
    },
    "export": {
        "run": NonEmptyText,
        "to": NameOrNull,
        "at": Moment,
        "formats": Words,
        "average": Flag,
        "memorisation": Flag,
        "licence": NameOrNull,
        "hub": NameOrNull,
    },
    "import": {
        "from": NonEmptyText,
        "name": NonEmptyText,
        "seed": Natural,
        "description": NameOrNull,
        "weights": nullable(Literal["averaged", "raw"]),
        "trust": Flag,
        "licence": NameOrNull,
        "source": NameOrNull,
        "outputs": Folder,
    },
    "replay": {"dump": NonEmptyText, "run": NameOrNull},
    "doctor": {"data": NameOrNull, "cache": FolderOrNull, "outputs": Folder, "certify": Flag},
}


def validate_keys(config: DictConfig, command: str) -> None:
    """Each key of a command as its kind has it: 1e6 whole, yes true.  Raises Mistake for a value of a wrong kind."""
    sections: dict[str, dict[str, Any]] = {}
    for key, kind in KEY_TYPES[command].items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = kind
    for section, kinds in sections.items():
        place = OmegaConf.select(config, section) if section else config
        if isinstance(place, DictConfig):  # a run may have been begun before there was such a key
            validate_in_place(place, kinds, section)


def validate_in_place(place: DictConfig, kinds: Mapping[str, Any], path: str) -> None:
    """What stands at each of these names, in the place of how it was typed, where that differs.  Raises Mistake."""
    for name, kind in kinds.items():
        if name not in place:
            continue
        value = place[name]
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=True)
        try:
            found = type_adapter(kind).validate_python(value)
        except ValidationError:
            _refuse(kind, value, f"{path}.{name}" if path else name)
        if repr(found) != repr(value) and not OmegaConf.is_interpolation(place, name):
            place[name] = found


def _refuse(kind: Any, value: Any, key: str) -> NoReturn:
    try:
        validate_value(kind, value, key)
    except Mistake as mistake:
        raise Mistake(synonym.suggest_for_value(key, value) or str(mistake)) from None
    raise AssertionError(key)


def validate_top_level(config: DictConfig) -> None:
    """Each key that every run has, as its kind has it.  Raises Mistake where a value makes no sense."""
    validate_keys(config, "train")
    if config.images < config.batch:
        raise Mistake(f"images={config.images} is less than one batch of {config.batch}: raise images or lower batch")


def check_unknown_keys(config: DictConfig, among: Sequence[str] | None = None) -> None:
    """Raises Mistake for a key at top level, or within a section such as `evaluation`, that nothing reads.

    `among` holds the dotted keys that are looked at; None: all.
    """
    known, groups, written = catalogue.command_keys("train"), {*catalogue.groups(), "choice"}, OmegaConf.to_yaml(config)
    sections = {key.partition(".")[0] for key in known if "." in key}
    for key in map(str, config):
        if key in sections:
            inner = [f"{key}.{name}" for name in config[key]]
        elif key in groups or re.search(rf"\$\{{[^}}]*\b{re.escape(key)}\b", written):
            inner = []
        else:
            inner = [key]
        for name in inner:
            named = among is None or any(f"{key}.".startswith(f"{name}.") for key in among)
            if named and name not in known:
                meant = synonym.suggest_for_key(name, str(config.get(name)), config, config.choice)
                raise Mistake(meant or f"nothing reads {name}.{did_you_mean(name, known)}")
