"""Conditions: their source if there is no batch, and that samples are made as in a turn."""

from functools import partial

import pytest
import torch
from play import BY_CLASS, batches, fit, game, networks
from torch import nn

from saddlepoint.callback.evaluation import Sampler, sampling_contract
from saddlepoint.data.data import Data, Split
from saddlepoint.error import Mistake
from saddlepoint.game.average import Average
from saddlepoint.game.dry_run import dry_run
from saddlepoint.game.game import Game
from saddlepoint.game.lineage import condition_entries
from saddlepoint.game.player import Player
from saddlepoint.game.sampling import (
    class_grid_labels,
    draw_condition,
    load_sampling_state,
    prepare_sampling_networks,
    sampling_state,
)
from saddlepoint.game.side import TWO_PLAYER, parse_sides
from saddlepoint.modality import default_modality
from saddlepoint.objective import nonsaturating
from saddlepoint.prior.normal import Normal
from saddlepoint.prior.prior import Prior
from saddlepoint.stream import Stream
from saddlepoint.turn import Batch, DiscriminatorOutput

SGD = partial(torch.optim.SGD, lr=0.1)


class Sum(nn.Module):
    """weight * (the first two values of x + each condition in `reads`), two values per sample."""

    def __init__(self, *reads):
        super().__init__()
        self.reads, self.weight = reads, nn.Parameter(torch.ones(()))

    def forward(self, x, condition):
        tensors = [*(x.values() if isinstance(x, dict) else [x]), *(condition[name] for name in self.reads)]
        return self.weight * sum(t.flatten(1)[:, :2] if t.ndim > 1 else t[:, None].float() for t in tensors)


class Judge(Sum):
    def forward(self, x, condition):
        return DiscriminatorOutput(super().forward(x, condition).sum(1))


class Twice(nn.Module):
    def forward(self, x, condition):
        return 2 * x


def pair(maker, judge, **settings):
    """A two-player game of these networks; `g` are settings of the generator."""
    generator = settings.pop("g", {})
    players = {
        "discriminator": Player(judge, SGD, nonsaturating.discriminator),
        "generator": Player(maker, SGD, nonsaturating.generator, **generator),
    }
    return Game(players, Prior(z=Normal(2)), **settings)


def sides(**fake):
    return {"real": TWO_PLAYER["real"], "fake": {**TWO_PLAYER["fake"], **fake}}


class Rows(Data):
    """Five held-out rows of x, their sources and two labels."""

    name = "rows"

    def __init__(self):
        super().__init__((2,), 3, batch=4)

    def splits(self):
        x = torch.arange(10.0).view(5, 2)
        extra = {"source": x + 100, "colour": torch.tensor([0, 1, 0, 1, 1])}
        return {
            name: Split(name, x, torch.tensor([0, 1, 2, 0, 1]), 3, extra) for name in ("train", "validation", "test")
        }


# ----------------------------------------------------------------------------------------------- sources of conditions


def test_a_condition_may_be_a_list_of_columns_and_a_bare_name_is_refused_with_a_hint():
    side = parse_sides({"real": {"of": "x", "condition": ["source", "mask"]}})["real"]
    assert side.condition == {"source": "source", "mask": "mask"}
    with pytest.raises(Mistake, match=r"game\.sides\.real\.condition=y: .*\{label: y\}"):
        parse_sides({"real": {"of": "x", "condition": "y"}})


def test_labels_are_uniform_and_each_label_column_has_its_own_stream():
    condition = {"label": "y", "colour": "colour"}
    plays = pair(Sum("label", "colour"), Judge(), sides=sides(condition=condition), conditions="labels",
                 classes={"y": 5, "colour": 2})  # fmt: skip
    labels = draw_condition(plays, 5_000, Stream(0, "evaluation"))
    assert (labels["label"].bincount(minlength=5) / 5_000 - 0.2).abs().max() < 0.03
    assert (labels["colour"].bincount(minlength=2) / 5_000 - 0.5).abs().max() < 0.03
    both = torch.stack([(labels["label"] == 0), (labels["colour"] == 0)]).float()
    assert torch.corrcoef(both)[0, 1].abs() < 0.05
    stream = Stream(0, "evaluation")
    chunks = [draw_condition(plays, n, stream)["label"] for n in (70, 30)]
    assert torch.equal(torch.cat(chunks), labels["label"][:100])


def test_rows_of_a_split_come_in_order_and_wrap_around_for_any_batch_size():
    plays = pair(Sum("source"), Judge(), sides=sides(condition=["source"]), conditions="split:validation")
    plays.conditions.data = partial(Rows)  # a function that returns the data: called when they are first needed
    stream = Stream(0, "evaluation")
    rows = torch.cat([draw_condition(plays, n, stream)["source"] for n in (2, 2, 3)])
    assert torch.equal(rows[:, 0], torch.tensor([100.0, 102, 104, 106, 108, 100, 102]))
    x, y, target, mask = Sampler(plays, average=False)(5)
    z = plays.latent(5)["z"]
    assert torch.equal(target, plays.conditions.data.batch_at("validation", torch.arange(5)).x)
    assert mask is None
    torch.testing.assert_close(x, z + torch.arange(100.0, 110).view(5, 2))
    assert torch.equal(y, torch.tensor([0, 1, 2, 0, 1]))  # the classes of the truths


def test_the_rows_of_all_ranks_are_those_of_one_process():
    stream = Stream(0, "rows")
    expected = torch.cat([stream.consecutive(4), stream.consecutive(4)])
    ranks = [Stream(0, "rows", rank, 2) for rank in range(2)]
    batches = [torch.cat([stream.consecutive(2) for stream in ranks]) for _ in range(2)]
    assert torch.equal(torch.cat(batches), expected)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, r"need the condition source \(column source\), and there is none.*game\.conditions=split:validation"),
        ({"conditions": "labels"}, r"condition source is the column source, which is not a label column"),
        ({"conditions": "split:validation"}, "there are no data to take rows from"),
        ({"conditions": "label"}, r"game\.conditions=label must be none, labels or split.*mean labels"),
    ],
)
def test_samples_without_a_source_of_conditions_are_refused(settings, line):
    with pytest.raises(Mistake, match=line):
        pair(Sum("source"), Judge(), sides=sides(condition=["source"]), **settings).sample(3)


def test_a_split_without_the_column_is_refused_with_the_close_match():
    plays = pair(Sum("sourse"), Judge(), sides=sides(condition=["sourse"]), conditions="split:test")
    plays.conditions.data = Rows()
    with pytest.raises(Mistake, match=r"condition sourse is the column sourse.*mean source\?.*There are: x, y, source"):
        plays.sample(2)


def test_a_label_of_data_without_classes_is_refused_when_the_game_is_built():
    with pytest.raises(Mistake, match=r"sides\.fake: condition label is the column y, and these data have no classes"):
        pair(Sum("label"), Judge(), sides=sides(condition={"label": "y"}), conditions="labels", classes={"y": None})


def test_an_unknown_or_missing_condition_is_refused_with_the_known_names():
    plays = game(
        nonsaturating, nets=(Sum("label"), Judge()), z=2, sides=BY_CLASS, conditions="labels", classes={"y": 3}
    )
    with pytest.raises(Mistake, match=r"condition lable: samples have the conditions label.*mean label"):
        plays(plays.latent(2), {"lable": torch.zeros(2, dtype=torch.long)})
    with pytest.raises(Mistake, match=r"samples need the conditions label: label is missing"):
        plays(plays.latent(2), {})
    with pytest.raises(Mistake, match="samples have no condition"):
        game(nonsaturating, z=2)(plays.latent(2), {"label": torch.zeros(2, dtype=torch.long)})


@pytest.mark.parametrize("label", [torch.arange(2), torch.arange(3), torch.tensor(1), 1, [0, 1, 2, 0]])
def test_a_condition_with_another_number_of_rows_is_refused_and_not_repeated(label):
    plays = game(
        nonsaturating, nets=(Sum("label"), Judge()), z=2, sides=BY_CLASS, conditions="labels", classes={"y": 3}
    )
    with pytest.raises(ValueError, match=r"condition label .*a tensor with a row for each of 4 samples"):
        plays.sample(4, {"label": label})


@pytest.mark.parametrize("classes", [0, -1, 2.5, "ten"])
def test_an_invalid_number_of_classes_is_refused_with_its_key(classes):
    with pytest.raises(Mistake, match=rf"game\.classes\.y={classes}: the number of classes"):
        game(nonsaturating, z=2, classes={"y": classes})


# ---------------------------------------------------------------------------------------- samples are made as in a turn


CHAIN = {
    "known": {"of": "x", "by": "hide", "condition": {"mask": "hole.mask"}},
    "real": {"of": "x", "judge": "discriminator"},
    "fake": {
        "by": ["generator", "twice"],
        "condition": {"known": "known", "mask": "hole.mask"},
        "judge": "discriminator",
    },
}


class Hide(nn.Module):
    def forward(self, x, condition):
        return x * (1 - condition["mask"])


def chain(**settings):
    return pair(Sum("known"), Judge(), sides=CHAIN, makers={"hide": Hide(), "twice": Twice()},
                draws={"hole": Prior(mask=Normal(2))}, conditions="split:test", **settings)  # fmt: skip


def test_samples_pass_through_all_makers_and_sides_upstream():
    plays = chain()
    plays.conditions.data = Rows()
    assert condition_entries(plays) == {"mask": "hole.mask", "x": "x"}
    x = torch.randn(4, 2)
    mask, latent = torch.tensor([[0.0, 1.0]]).expand(4, 2), plays.latent(4)
    expected = 2 * (latent["z"] + x * (1 - mask))
    torch.testing.assert_close(plays(latent, {"x": x, "mask": mask}), expected)
    samples = plays.sample(4, {"x": x})  # the mask is drawn from its own stream
    assert torch.equal(samples, plays.sample(4, {"x": x}))
    assert not torch.equal(samples, plays.sample(4, {"x": x}, stream=Stream(1, "evaluation")))
    # latents are those of a game without conditions, whatever else is drawn
    torch.testing.assert_close(plays.sample(4, {"x": 0 * x}), 2 * latent["z"])


def test_the_sampling_state_saves_and_loads_all_networks_upstream():
    plays = chain(g={"average": partial(Average, half_life=10)})
    plays.conditions.data = Rows()
    networks_, weights = prepare_sampling_networks(plays)
    assert (set(networks_), weights) == ({"generator", "hide", "twice"}, "averaged")
    assert networks_["generator"] is plays.generator.average.network
    with torch.no_grad():
        plays.generator.average.network.weight.fill_(3.0)
    state = {name: value.clone() for name, value in sampling_state(networks_).items()}
    assert list(state) == ["weight"]  # with one stateful network: no prefix, as in earlier snapshots
    before = plays.sample(3)
    with torch.no_grad():
        plays.generator.average.network.weight.fill_(0.0)
    load_sampling_state(networks_, state)
    assert torch.equal(plays.sample(3), before)


def test_the_sampling_state_of_several_networks_has_their_names():
    state = sampling_state({"g_ab": Sum(), "paste": Twice(), "g_ba": Sum()})
    assert set(state) == {"g_ab.weight", "g_ba.weight"}


def test_a_picture_has_one_class_per_row():
    plays = game(
        nonsaturating, nets=(Sum("label"), Judge()), z=2, sides=BY_CLASS, conditions="labels", classes={"y": 3}
    )
    image, audio, points = (default_modality(shape) for shape in ((1, 4, 4), (1, 256), (2,)))
    n, condition = class_grid_labels(plays, image, 4, 2)
    assert (n, condition["label"].tolist()) == (8, [0, 0, 1, 1, 2, 2, 0, 0])
    n, condition = class_grid_labels(plays, image, 2, 1)  # one more row, which shows every class
    assert (n, condition["label"].tolist()) == (3, [0, 1, 2])
    n, condition = class_grid_labels(plays, image, 1, 2)  # two more would be too many
    assert (n, condition["label"].tolist()) == (2, [0, 0])
    n, condition = class_grid_labels(plays, audio, 8, 8)  # few pictures: one row each
    assert (n, condition["label"].tolist()) == (8, [0, 1, 2, 0, 1, 2, 0, 1])
    assert class_grid_labels(plays, points, 8, 8) == (points.samples_per_picture(8, 8), {})
    assert class_grid_labels(game(nonsaturating, z=2), image, 4, 2) == (8, {})
    kind = pair(Sum("kind"), Judge(), sides=sides(condition={"kind": "y"}), conditions="labels", classes={"y": 2})
    assert class_grid_labels(kind, image, 2, 2)[1]["kind"].tolist() == [
        0,
        0,
        1,
        1,
    ]  # whatever the name of the condition


class Normed(nn.Module):
    """Batch norm of 2 x + 1."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x, condition):
        return self.norm(2 * (x["z"] if isinstance(x, dict) else x) + 1)


def two_makers(first, last):
    """The fakes of two players, one after the other, with these averages."""
    players = {
        "discriminator": Player(Judge(), SGD, nonsaturating.discriminator),
        "first": Player(Normed(), SGD, nonsaturating.generator, average=first),
        "last": Player(Normed(), SGD, nonsaturating.generator, average=last),
    }
    return Game(players, Prior(z=Normal(2)), sides=sides(by=["first", "last"]))


def test_statistics_are_reestimated_in_the_order_in_which_samples_pass_the_networks():
    plays = two_makers(*[partial(Average, half_life=10, statistics="reestimated")] * 2)
    plays.sample(2)
    mean = plays.player("last").average.network.norm.running_mean.clone()
    torch.testing.assert_close(mean, torch.ones(2), atol=1e-3, rtol=0)  # 2 E[normalised] + 1
    plays.player("last").average.has_stale_statistics = True
    plays.sample(2)
    assert torch.equal(plays.player("last").average.network.norm.running_mean, mean)


def test_reestimating_statistics_does_not_change_a_network_without_an_average():
    plays = two_makers(None, partial(Average, half_life=10, statistics="reestimated"))
    before = {name: value.clone() for name, value in plays.player("first").state_dict().items()}
    plays.sample(2)
    assert plays.player("first").network.training
    assert all(torch.equal(value, before[name]) for name, value in plays.player("first").state_dict().items())


# ------------------------------------------------------------------------------------------------------------- dropout


class Dropped(Sum):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, condition):
        return self.dropout(super().forward(x, condition)) + 0 * x["z"]


def test_dropout_is_active_in_samples_only_if_the_game_sets_it_and_the_contract_records_it():
    off, on = pair(Dropped(), Judge()), pair(Dropped(), Judge(), dropout=True)
    assert not (off.sample(200) == 0).any()
    x = on.sample(200)
    assert 0.4 < float((x == 0).float().mean()) < 0.6
    torch.rand(1)
    state = torch.get_rng_state()
    assert torch.equal(on.sample(200), x)  # drawn from the stream of the samples
    assert torch.equal(torch.get_rng_state(), state)
    assert on.generator.network.training
    assert sampling_contract(on, True, "running", 1)["dropout"] is True
    assert sampling_contract(off, True, "running", 1)["dropout"] is False
    sampler, skipping = Sampler(on), Sampler(on)
    sampler(5)
    skipping.skip(5)
    assert torch.equal(sampler(5)[0], skipping(5)[0])


# ------------------------------------------------------------------------------------------------------------ dry run


def test_an_unused_condition_gives_a_warning_unless_a_term_uses_it():
    batch = Batch(torch.randn(8, 2), torch.randint(3, (8,)))
    settings = {"z": 2, "sides": BY_CLASS, "conditions": "labels", "classes": {"y": 3}}
    (line,) = dry_run(game(nonsaturating, nets=(Sum(), Judge()), **settings), batch)
    assert line.startswith("condition label: no network and no term uses it")
    assert dry_run(game(nonsaturating, nets=(Sum("label"), Judge()), **settings), batch) == []
    assert dry_run(game(nonsaturating, nets=(Sum(), Judge("label")), **settings), batch) == []


@pytest.mark.parametrize(
    "read", [dict, lambda c: {**c}, lambda c: dict(c.items()), lambda c: {"label": c.get("label")}]
)
def test_a_network_that_copies_its_condition_uses_it(read):
    class Copying(Sum):
        def forward(self, x, condition):
            return super().forward(x, read(condition))

    batch = Batch(torch.randn(8, 2), torch.randint(3, (8,)))
    settings = {"z": 2, "sides": BY_CLASS, "conditions": "labels", "classes": {"y": 3}}
    assert dry_run(game(nonsaturating, nets=(Copying("label"), Judge()), **settings), batch) == []


@pytest.mark.parametrize("text", ["{kind: y}", "{label: colour, kind: y}"])
def test_the_class_of_a_sample_is_the_condition_on_column_y_whatever_its_name(text):
    condition = dict(pair.split(": ") for pair in text.strip("{}").split(", "))
    plays = pair(Sum("kind"), Judge(), sides=sides(condition=condition), conditions="labels",
                 classes={"y": 3, "colour": 2})  # fmt: skip
    _, label = Sampler(plays)(40)
    assert torch.equal(label, draw_condition(plays, 40, Stream(0, "evaluation"))["kind"])
    assert label.max() == 2
    other = pair(Sum("label"), Judge(), sides=sides(condition={"label": "colour"}), conditions="labels",
                 classes={"colour": 2})  # fmt: skip
    assert Sampler(other)(4)[1] is None  # no class of column y


@pytest.mark.parametrize("source", ["labels", "split:test"])
def test_skipping_samples_advances_their_conditions_too(source):
    plays = pair(Sum("label"), Judge(), sides=sides(condition={"label": "y"}), conditions=source, classes={"y": 3})
    plays.conditions.data = Rows()
    sampler, skipping = Sampler(plays), Sampler(plays)
    sampler(3)
    skipping.skip(3)
    for expected, actual in zip(sampler(4), skipping(4), strict=True):
        assert torch.equal(expected, actual)


def test_an_unused_condition_of_a_judge_gives_a_warning():
    batch = Batch(torch.randn(8, 2), torch.randint(3, (8,)))
    conditional = {"judge": {"player": "discriminator", "condition": {"kind": "y"}}}
    wired = {"real": {"of": "x", **conditional}, "fake": {"by": "generator", "judge": "discriminator"}}
    (line,) = dry_run(pair(Sum(), Judge(), sides=wired), batch)
    assert line.startswith("condition kind: no network and no term uses it")


def test_entries_with_the_same_name_in_two_sides_are_both_conditions():
    wired = {**CHAIN, "fake": {**CHAIN["fake"], "condition": {"known": "known", "mask": "source"}}}
    plays = pair(Sum("known"), Judge(), sides=wired, makers={"hide": Hide(), "twice": Twice()},
                 draws={"hole": Prior(mask=Normal(2))}, conditions="split:test")  # fmt: skip
    assert condition_entries(plays) == {"mask": "source", "hole.mask": "hole.mask", "x": "x"}


def test_a_turn_has_a_side_if_it_has_the_column_it_starts_from():
    plays = pair(Sum(), Judge(), sides={**sides(), "few": {"of": "labelled_x"}, "again": {"of": "few"}})
    x = torch.randn(4, 2)
    has = [
        plays.build_turn(batch, {}, ()).has_data_for("again") for batch in (Batch(x), Batch(x, labelled=(x, x[:, 0])))
    ]
    assert has == [False, True]


def test_a_condition_on_a_missing_column_is_refused_with_the_existing_columns():
    plays = game(
        nonsaturating, nets=(Sum("label"), Judge()), z=2, sides=BY_CLASS, conditions="labels", classes={"y": 3}
    )
    with pytest.raises(Mistake, match=r"condition label is the column y, which these data lack. Columns.*: x$"):
        dry_run(plays, Batch(torch.randn(8, 2)))
    named = pair(Sum("source"), Judge(), sides=sides(condition=["sourec"]))
    with pytest.raises(Mistake, match=r"needs sourec, which is not a column.*mean source"):
        dry_run(named, Batch(torch.randn(8, 2), extra_columns={"source": torch.randn(8, 2)}))


def test_parameters_of_a_dormant_module_need_no_gradient():
    class Growing(Sum):
        def __init__(self):
            super().__init__()
            self.later = nn.Linear(2, 2)

    maker = Growing()
    with pytest.raises(Mistake, match=r"no loss of generator reaches 2 of its 3 parameters.*later"):
        dry_run(pair(maker, Judge()), Batch(torch.randn(8, 2)))
    maker.later.dormant = True
    assert dry_run(pair(maker, Judge()), Batch(torch.randn(8, 2))) == []


# -------------------------------------------------------------------------------------------------- inputs of networks


def test_every_network_is_called_with_a_mapping_and_one_row_per_sample():
    shapes = []

    class Recorder(Sum):
        def forward(self, x, condition):
            shapes.append({name: entry.shape for name, entry in condition.items()})
            return super().forward(x, condition)

    unconditional = game(nonsaturating, nets=(Recorder(), networks()[1]), z=2)
    fit(unconditional, batches(2))
    unconditional.sample(3)
    assert shapes == [{}] * len(shapes) != []
    shapes.clear()
    by_class = game(nonsaturating, nets=(Recorder("label"), networks()[1]), z=2, sides=BY_CLASS, g={"multiple": 3})
    fit(by_class, [Batch(torch.randn(4, 2), torch.zeros(4, dtype=torch.long))])
    assert shapes == [{"label": (4,)}, {"label": (12,)}]  # D's turn, and G's with three fakes per real


def test_a_data_column_with_the_name_of_a_side_is_refused():
    plays = pair(Sum(), Judge())
    with pytest.raises(Mistake, match="the data have a column fake, which is also the name of a side or draw"):
        dry_run(plays, Batch(torch.randn(8, 2), extra_columns={"fake": torch.randn(8, 2)}))
