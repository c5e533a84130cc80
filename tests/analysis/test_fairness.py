"""saddlepoint fairness: frequencies, intervals and coverage of groups, the worst first; attributes that exist."""

import json
import math

import pytest
import torch
from runs import run

from saddlepoint.analysis.fairness import attribute_values, discrepancy, measure_groups, wilson_interval
from saddlepoint.cli import main
from saddlepoint.data.coloured_digits import ColouredDigits
from saddlepoint.data.data import Data, Split
from saddlepoint.data.digits import Digits
from saddlepoint.error import Mistake
from saddlepoint.metric.coverage import coverage

NAMES = ["a", "b", "c"]


def groups(counts):
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def test_the_interval_is_wilsons_formula():
    for count, n in ((0, 10), (3, 20), (200, 200)):
        z, p = 1.959963984540054, count / n
        centre, half = (p + z * z / (2 * n)), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        expected = ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
        assert wilson_interval(count, n) == pytest.approx(expected, abs=1e-12)


def test_the_group_that_is_made_least_often_for_its_frequency_is_the_first():
    measured = measure_groups(NAMES, groups([60, 30, 10]), groups([30, 60, 10]))
    assert [group.group for group in measured] == ["a", "c", "b"]
    assert [group.ratio for group in measured] == pytest.approx([0.5, 1, 2])
    assert [(group.real, group.fake) for group in measured] == [(0.6, 0.3), (0.1, 0.1), (0.3, 0.6)]
    assert discrepancy(measured) == pytest.approx(0.3 * math.sqrt(2))


def test_a_group_without_reals_is_left_out_and_one_without_samples_is_the_worst():
    measured = measure_groups(NAMES, groups([5, 5, 0]), groups([10, 0, 10]))
    assert [(group.group, group.n_fake) for group in measured] == [("b", 0), ("a", 10)]


def test_coverage_is_of_equally_many_reals_and_samples_of_a_group_whatever_its_frequency():
    stream = torch.Generator().manual_seed(0)
    real_group, fake_group = groups([200, 100, 100]), groups([300, 90, 10])
    reals, fakes = torch.randn(400, 2, generator=stream), torch.randn(400, 2, generator=stream)
    fakes[:300] = 0.01 * fakes[:300]  # a: many samples, all alike
    by_name = {group.group: group for group in measure_groups(NAMES, real_group, fake_group, (reals, fakes))}
    m = 50  # half of the 100 samples that a perfect generator would make of b
    expected = 1 - math.prod((m - i) / (2 * m - i) for i in range(1, 6))  # of 50 reals by 50 independent reals
    assert by_name["b"].coverage == pytest.approx(expected, abs=0.12)
    assert by_name["c"].coverage < by_name["b"].coverage  # of ten samples
    assert by_name["a"].coverage < 0.3
    assert by_name["a"].coverage_interval == wilson_interval(round(by_name["a"].coverage * m), m)


def test_samples_that_are_the_reals_cover_every_group_and_swapped_groups_none():
    x = torch.cat([torch.randn(60, 2, generator=torch.Generator().manual_seed(1)), 100 + torch.randn(60, 2)])
    group = groups([60, 60])
    assert float(coverage(x[:60], x[:60])) == 1
    swapped = measure_groups(NAMES[:2], group, group.flip(0), (x, x))
    assert [one.coverage for one in swapped] == [0, 0]


def test_a_group_with_too_few_reals_has_no_coverage():
    x = torch.randn(110, 2, generator=torch.Generator().manual_seed(2))
    by_name = {one.group: one for one in measure_groups(NAMES[:2], groups([100, 10]), groups([100, 10]), (x, x))}
    assert by_name["b"].coverage is None
    assert by_name["a"].coverage is not None


def test_attributes_are_the_classes_and_integer_columns_with_their_names():
    data = ColouredDigits(weights="oracle")  # whose column weight is no attribute
    assert attribute_values(data, "colour") == ["red", "green"]
    assert attribute_values(data, "label") == [str(digit) for digit in range(10)]
    with pytest.raises(Mistake, match=r"by=color: .* Did you mean colour\? There are: label, colour\."):
        attribute_values(data, "color")
    with pytest.raises(Mistake, match=r"by=weight: .* There are: label, colour\."):
        attribute_values(data, "weight")
    with pytest.raises(Mistake, match=r"by=colour: .* There are: label\."):
        attribute_values(Digits(), "colour")


class Unlabelled(Data):
    name = "unlabelled"

    def __init__(self):
        super().__init__((1, 8, 8), None)

    def splits(self):
        return {"train": Split("train", torch.zeros(3, 1, 8, 8, dtype=torch.uint8))}


def test_data_without_groups_are_refused():
    with pytest.raises(Mistake, match="no classes and no integer column"):
        attribute_values(Unlabelled(), "label")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), "data=coloured_digits", "evaluation.split=test", "metric=[coverage]")


def test_a_run_gives_a_table_a_row_and_a_picture_by_the_exact_rule(record, capsys):
    assert main(["fairness", f"run={record.folder}", "by=colour", "n=200"]) == 0
    printed = capsys.readouterr().out
    (line,) = (record.folder / "fairness.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (row["by"], row["n"], row["split"], row["n_real"]) == ("colour", 200, "test", 450)
    assert (row["assigned_by"], row["assignment_accuracy"]) == ("the exact rule of the data", 1.0)
    assert sum(group["n_fake"] for group in row["groups"]) == 200
    first, second = row["groups"]
    assert first["ratio"] < second["ratio"]
    assert printed.index(f" {first['group']} ") < printed.index(f" {second['group']} ")
    assert row["discrepancy"] == pytest.approx(math.sqrt(2) * abs(first["fake"] - 0.5))
    assert row["picture"] == str(record.folder / "fairness" / "000001280-colour.png")
    assert (record.folder / "fairness" / "000001280-colour.png").stat().st_size > 1000


def test_by_the_class_the_extractor_assigns_and_to_dash_prints_json_and_draws_nothing(record, capsys):
    assert main(["fairness", f"run={record.folder}", "by=label", "n=200", "to=-", "split=validation"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["assigned_by"], row["split"], row["picture"]) == ("the extractor coloured-digits", "validation", None)
    assert row["assignment_accuracy"] > 0.95
    assert len(row["groups"]) == 10
    assert not (record.folder / "fairness" / "000001280-label.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["by=colours"], "Did you mean colour?"),
        (["by=speaker"], "There are: label, colour."),
        (["by=colour", "n=1"], "n=1"),
        (["by=colour", "to=groups.txt"], ".png or .jpg"),
        (["by=colour", "evaluation.n=50"], "fairness takes n=..."),
        (["by=colour", "evaluation.split=train"], "fairness takes split=..."),
        (["by=colour", "at=3"], "no snapshot at 3 images"),
        (["by=colour", "data.ratio=1.2"], "above 0 and below 1"),
    ],
)
def test_a_wrong_command_line_is_refused_in_a_line(record, capsys, words, message):
    assert main(["fairness", f"run={record.folder}", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_reference_set_of_another_size_is_another_run(record, capsys):
    words = ["train", "data=coloured_digits", "data.reference=80", f"outputs={record.folder.parents[1]}"]
    assert main([*words, f"name={record.folder.parent.name}", "logger=none"]) == 1
    assert "data.reference" in capsys.readouterr().err
    assert main(["evaluate", f"run={record.folder}", "data.reference=80", "evaluation.n=50", "to=-"]) == 0
    captured = capsys.readouterr()
    assert "measured on other data than the run was trained on" in captured.err
