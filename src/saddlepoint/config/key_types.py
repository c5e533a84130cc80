"""The keys of each command and their types, one line per key as in conf/<command>.yaml.

The keys of components have the types of their signatures (see check); both follow the rules of `schema`.
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
    integer_type_from,
    invalid_message_annotation,
    nullable,
    pydantic_type,
    type_adapter,
    validate_value,
)

MAX_THREADS = 1_024  # limit, because OpenMP ends the process if it cannot start its threads
MAX_NAME_BYTES = 255  # bytes of one name in a path, on common file systems


def _check_name_lengths(value: str) -> str:
    if max(map(len, os.fsencode(value).split(os.fsencode(os.sep)))) > MAX_NAME_BYTES:
        raise ValueError
    return value


Folder = Annotated[
    NonEmptyText,
    AfterValidator(_check_name_lengths),
    WithJsonSchema({"description": f"a folder, of names of at most {MAX_NAME_BYTES} bytes"}),
]
Split = Literal["train", "validation", "test"]
TextOrNull = Text | None
CountOrNull = Count | None
NameOrNull = NonEmptyText | None
FolderOrNull = Folder | None
FlagOrNull = Flag | None
SplitOrNull = Split | None
AT = Natural | Literal["last", "best", "previous"]
Checkpoint = Annotated[
    pydantic_type(AT), invalid_message_annotation("it is last, best, previous, or the image count of a snapshot")
]
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Size = Annotated[
    pydantic_type(Count | tuple[Count, Count]) | None,
    invalid_message_annotation("data.size is an integer from 1 on, [height,width] or null"),
]
TextOrList = pydantic_type(Text | list[Text])
Method = pydantic_type(dict[str, Any] | Text)
Backend = pydantic_type(Flag | Text)

SHORT_PRECISIONS = {  # short names of precisions, of Lightning and others
    "16": "16-mixed", "fp16": "16-mixed", "float16": "16-mixed", "half": "16-mixed", "amp": "16-mixed",
    "bf16": "bf16-mixed", "bfloat16": "bf16-mixed", "32": "32-true", "fp32": "32-true", "float32": "32-true",
    "single": "32-true", "float": "32-true", "64": "64-true", "fp64": "64-true", "float64": "64-true",
    "double": "64-true",
}  # fmt: skip
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def _to_precision(value: Any) -> Any:
    return value if isinstance(value, bool) else SHORT_PRECISIONS.get(str(value).lower(), value)


Precision = Annotated[
    Literal["32-true", "16-mixed", "bf16-mixed"],
    BeforeValidator(_to_precision),
    WithJsonSchema({"description": f"{', '.join(PRECISIONS)}; latents and data are float32"}),
]

KEY_TYPES: dict[str, dict[str, Any]] = {
    "train": {
        "name": TextOrNull,
        "seed": Natural,
        "start": NameOrNull,
        "start_average": Flag,
        "images": Count,
        "batch": Count,
        "device": Literal["auto", "cpu", "cuda", "mps"],
        "devices": Count,
        "nodes": Count,
        "block": Count,
        "compile": Backend,
        "threads": nullable(Annotated[Count, Field(le=MAX_THREADS)]),
        "outputs": Folder,
        "cache": FolderOrNull,
        "overwrite": Flag,
        "allow_target": TextOrList | None,
        "many": dict[str, Any],
        "shared": TextOrList | None,
        "resume.allow": TextOrList | None,
        "evaluation.n": CountOrNull,
        "evaluation.split": Literal["train", "validation", "test", "all"],
        "evaluation.extractor": pydantic_type(Component | Text) | None,
        "evaluation.second_extractor": pydantic_type(Component | Text) | None,
        "evaluation.weights": NameOrNull,
        "evaluation.resizer": TextOrNull,
        "evaluation.average": Flag,
        "evaluation.batch_norm": Literal["running", "batch"],
        "evaluation.batch": Count,
        "evaluation.seed": Natural,
        "evaluation.selection.n": integer_type_from(2) | None,
        "evaluation.selection.split": SplitOrNull,
        "trainer.precision": Precision,
        "trainer.sync_batchnorm": FlagOrNull,
        "trainer.deterministic": pydantic_type(Flag | Literal["warn"]) | None,
        "trainer.benchmark": FlagOrNull,
        "trainer.detect_anomaly": Flag,
        "trainer.profiler": nullable(Literal["simple", "advanced", "pytorch", "xla"]),
    },
    "data/image_folder": {  # validated before its class is imported, to read the folder
        "data.folder": NameOrNull,
        "data.size": Size,
        "data.channels": Count,
        "data.classes": CountOrNull,
    },
    "data/paired_images": {
        "data.folder": NameOrNull,
        "data.source": NameOrNull,
        "data.source_half": nullable(Literal["left", "right"]),
        "data.size": Size,
        "data.channels": Count,
        "data.source_channels": Count,
        "data.classes": CountOrNull,
    },
    "data/unpaired_images": {
        "data.folder": NameOrNull,
        "data.source": NameOrNull,
        "data.size": Size,
        "data.channels": Count,
        "data.classes": CountOrNull,
    },
    "data/audio_folder": {
        "data.folder": NameOrNull,
        "data.length": CountOrNull,
        "data.convert": Flag,
        "data.spectrogram": Flag,
        "data.classes": CountOrNull,
        "data.rate": CountOrNull,
    },
    "data/spoken_digits": {"data.length": Count, "data.spectrogram": Flag},
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
        "at": pydantic_type(AT | Literal["all"]),
        "against": NameOrNull,
        "reference": NameOrNull,
        "uncertainty": Flag,
        "generations": Count,
        "groups": integer_type_from(2),
        "to": NameOrNull,
    },
    "sample": {
        "run": NonEmptyText,
        "at": Checkpoint,
        "n": Count,
        "label": pydantic_type(Natural | Text | dict[str, Any]) | None,
        "by": TextOrNull,
        "source": pydantic_type(NonEmptyText | dict[str, Any]) | None,
        "to": NameOrNull,
        "sample_seed": Natural,
        "average": Flag,
        "truncation": nullable(Annotated[Number, Field(ge=0)]),
        "standing_statistics": CountOrNull,
        "interpolate": nullable(integer_type_from(2)),
        "between": TextOrList | None,
        "kind": Literal["spherical", "linear"] | None,
        "traverse": TextOrNull,
        "steps": nullable(integer_type_from(2)),
        "span": pydantic_type(tuple[float, float] | None),
    },
    "apply": {
        "run": NonEmptyText,
        "source": NonEmptyText,
        "to": NonEmptyText,
        "mask": NameOrNull,
        "truth": NameOrNull,
        "fit": Literal["crop", "pad"],
        "side": NameOrNull,
        "at": Checkpoint,
        "average": Flag,
        "sample_seed": nullable(Natural),
    },
    "directions": {
        "run": NonEmptyText,
        "kind": Literal["features", "jacobian", "codes"],
        "n": CountOrNull,
        "layer": TextOrNull,
        "label": pydantic_type(Natural | Text | dict[str, Any]) | None,
        "latents": nullable(integer_type_from(2)),
        "steps": integer_type_from(3),
        "span": Positive,
        "to": NameOrNull,
        "at": Checkpoint,
        "sample_seed": Natural,
        "average": Flag,
    },
    "memorisation": {
        "run": NameOrNull,
        "samples": NameOrNull,
        "at": Checkpoint,
        "n": Annotated[
            integer_type_from(50),
            invalid_message_annotation("memorisation takes 50 samples at least, and better 1,000"),
        ],
        "level": Annotated[
            Fraction, invalid_message_annotation("the rate of false alarms lies between 0 and 1, 0.05 for one")
        ],
        "sample_seed": Natural,
        "average": Flag,
        "to": NameOrNull,
    },
    "compare": {
        "runs": TextOrList,
        "by": TextOrList | None,
        "scores": TextOrList | None,
        "over": TextOrList,
        "metric": TextOrNull,
        "baseline": Any,
        "level": Annotated[Fraction, invalid_message_annotation("it lies between 0 and 1; 0.05 is usual")],
        "reach": Annotated[nullable(Number), invalid_message_annotation("a score, as a number")],
        "factorial": Annotated[FlagOrNull, invalid_message_annotation("true or false, or null: as it fits")],
        "tuning": Flag,
        "higher_is_better": FlagOrNull,
        "against": NameOrNull,
        "to": NameOrNull,
    },
    "runs": {"outputs": NonEmptyText, "to": NameOrNull},
    "init": {"to": NonEmptyText, "name": NonEmptyText},
    "fairness": {
        "run": NonEmptyText,
        "by": NonEmptyText,
        "at": Checkpoint,
        "n": integer_type_from(2),
        "split": SplitOrNull,
        "k": Count,
        "sample_seed": Natural,
        "average": Flag,
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
        "at": Checkpoint,
        "formats": TextOrList,
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


def convert_command_keys(config: DictConfig, command: str) -> None:
    """Convert the keys of a command to their types: 1e6 to 1000000, yes to true. Raises Mistake for invalid values."""
    sections: dict[str, dict[str, Any]] = {}
    for key, type_ in KEY_TYPES[command].items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = type_
    for section, types in sections.items():
        node = OmegaConf.select(config, section) if section else config
        if isinstance(node, DictConfig):  # an old run may lack the section
            convert_in_place(node, types, section)


def convert_in_place(node: DictConfig, types: Mapping[str, Any], path: str) -> None:
    """Convert the values of these keys to their types, in place. Raises Mistake for an invalid value."""
    for name, type_ in types.items():
        if name not in node:
            continue
        value = node[name]
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=True)
        try:
            converted = type_adapter(type_).validate_python(value)
        except ValidationError:
            _raise_invalid(type_, value, f"{path}.{name}" if path else name)
        if repr(converted) != repr(value) and not OmegaConf.is_interpolation(node, name):
            node[name] = converted


def _raise_invalid(type_: Any, value: Any, key: str) -> NoReturn:
    try:
        validate_value(type_, value, key)
    except Mistake as mistake:
        raise Mistake(synonym.suggest_for_value(key, value) or str(mistake)) from None
    raise AssertionError(key)


def convert_top_level_keys(config: DictConfig) -> None:
    """Convert the keys of a run to their types. Raises Mistake for an invalid value."""
    convert_command_keys(config, "train")
    if config.images < config.batch:
        raise Mistake(
            f"images={config.images} is less than one batch of {config.batch}: increase images or decrease batch"
        )


def check_unknown_keys(config: DictConfig, among: Sequence[str] | None = None) -> None:
    """Raise Mistake for an unused key at top level or in a section such as `evaluation`.

    `among`: the dotted keys to check; None: all.
    """
    known, groups = catalogue.command_keys("train"), {*catalogue.groups(), "choice"}
    sections = {key.partition(".")[0] for key in known if "." in key}
    for key in map(str, config):
        if key in sections:
            names = [f"{key}.{name}" for name in config[key]]
        elif key in groups or key in known or re.search(rf"\$\{{[^}}]*\b{re.escape(key)}\b", OmegaConf.to_yaml(config)):
            names = []
        else:
            names = [key]
        for name in names:
            is_checked = among is None or any(f"{key}.".startswith(f"{name}.") for key in among)
            if is_checked and name not in known:
                suggestion = synonym.suggest_for_key(name, str(config.get(name)), config, config.choice)
                raise Mistake(suggestion or f"nothing reads {name}.{did_you_mean(name, known)}")
