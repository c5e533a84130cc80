"""Configs and journals are parsed fast, and give what a parse of the whole text, and of each line, gives."""

import json
from pathlib import Path

import pytest
import yaml

from saddlepoint.comparison.arms.record import ConfigCache
from saddlepoint.config.compose import compose
from saddlepoint.config.config_file import to_yaml
from saddlepoint.error import Mistake
from saddlepoint.run.folder import parse_json, parse_json_lines

TEXTS = {
    "lists": "a:\n- 1\n- {b: 2}\nc: [1,\n  2]\n",
    "texts": "a: 'one\n\n  two'\nb: |\n  x: 1\n\n  y\nc: >-\n  folded\n  text\nd: 'it''s: #1'\n",
    "comments": "# first\na: 1\n# between\n\nb:\n  # inside\n  c: 2  # after\n---\n"[:-4],
    "twice": "a: 1\nb: 2\na: 3\n",
    "quoted keys": "'a b': 1\n\"c\": {d: null}\n1: one\n~: none\n",
    "an alias": "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n",
}


@pytest.mark.parametrize("name", [*TEXTS, "a run"])
def test_a_config_parsed_key_by_key_equals_the_whole(name: str) -> None:
    text = to_yaml(compose(["regularizer=[r1]"])) if name == "a run" else TEXTS[name]
    config = dict(ConfigCache().parse(text, Path("run")).full)
    assert config == yaml.safe_load(text)
    assert list(config) == list(yaml.safe_load(text))


def test_a_key_that_many_configs_share_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    load = yaml.load
    monkeypatch.setattr(yaml, "load", lambda text, loader: parsed.append(text) or load(text, loader))
    cache = ConfigCache()
    configs = [cache.parse(f"a: {i}\nb: {{c: 1}}\n", Path("run")).full for i in (0, 1, 1)]
    assert configs == [{"a": 0, "b": {"c": 1}}, {"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 1}}]
    assert sorted(text for text in parsed if text) == ["a: 0\n", "a: 1\n", "b: {c: 1}\n"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n- 2\n", "a: [1\nb: 2\n", "a: 1\n b: 2\n", "word\n"])
def test_a_text_that_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(Mistake, match=r"run/config\.yaml (holds no keys|cannot be read)"):
        ConfigCache().parse(text, Path("run"))


@pytest.mark.parametrize(
    "lines",
    [
        [json.dumps({"images": i, "x": [i, {"y": None}], "z": float("nan")}) for i in range(3)],
        ['{"a": 1}', '{"b": 2', '{"c": 3}'],  # truncated by a crash
        ['{"a": [{"b": 1}', '{"c": 2}', '{"d": 3}]}'],  # three lines that would be one object
        ['{"a": 1},{"b": 2}', '{"c": 3}'],
        ["[1]", "2", "", '{"a": 1}'],
        [],
    ],
)
def test_lines_parsed_at_once_equal_those_parsed_one_by_one(lines: list[str]) -> None:
    assert repr(parse_json_lines(lines)) == repr([parse_json(line) for line in lines])
