"""start=<run or exported file>: the initial weights are those of its networks, by name; others are refused by name."""

from __future__ import annotations

import hashlib
import shutil
from types import SimpleNamespace

import pytest
import torch
from runs import assert_equal, run, state

from saddlepoint.cli import main
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import check_and_set_start_hash
from saddlepoint.error import Mistake
from saddlepoint.experiment.build import build_game
from saddlepoint.experiment.restore import check_symbols, load, load_initial_weights, set_initial_weights
from saddlepoint.modality import Tokens

SMALL = ["architecture.generator.widths=[16]", "architecture.discriminator.widths=[16]", "logger=none"]
FEW = ["metric=[]", "callback.grid.images_between=640", "callback.checkpoint.images_between=128"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run of three rounds, whose averaged and raw weights differ."""
    return run(tmp_path_factory.mktemp("source"), "name=source", "images=192", *FEW)


def new_game():
    return build_game(check(compose(SMALL)))


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("average", [True, False])
def test_networks_get_the_averaged_or_raw_weights_of_the_run_and_averages_start_there(source, average):
    game, trained, lines = new_game(), load(source), []
    set_initial_weights(game, load_initial_weights(game, str(source.folder), average, lines.append))
    generator, expected = game.player("generator"), trained.player("generator")
    raw, averaged = (next(network.parameters()) for network in (expected.network, expected.average.network))
    assert not torch.equal(raw, averaged)
    assert_same(generator.network.state_dict(), (expected.average if average else expected).network.state_dict())
    assert_same(generator.average.network.state_dict(), generator.network.state_dict())
    assert_same(game.player("discriminator").network.state_dict(), trained.player("discriminator").network.state_dict())
    assert f"start={source.folder}: generator, {'averaged' if average else 'raw'} weights" in lines
    assert f"start={source.folder}: discriminator, raw weights" in lines


def test_an_exported_file_initialises_the_generator_alone(source, tmp_path):
    assert main(["export", f"run={source.folder}", f"to={tmp_path / 'x'}", "formats=[safetensors]"]) == 0
    game, lines = new_game(), []
    before = {name: tensor.clone() for name, tensor in game.player("discriminator").network.state_dict().items()}
    file = str(tmp_path / "x" / "generator.safetensors")
    set_initial_weights(game, load_initial_weights(game, file, True, lines.append))
    assert_same(
        game.player("generator").network.state_dict(), load(source).player("generator").average.network.state_dict()
    )
    assert_same(game.player("discriminator").network.state_dict(), before)
    assert "discriminator initialised anew" in lines[-1]


def test_a_started_run_has_its_own_name_and_resumes_without_starting_again(source, tmp_path):
    words = [*FEW, f"start={source.folder}"]
    plain = compose([*SMALL, *FEW])
    assert compose([*SMALL, *words]).name != plain.name == compose([*SMALL, *FEW, "start=null"]).name
    once = run(tmp_path / "once", "name=a", "images=256", *words)
    again = run(tmp_path / "twice", "name=a", "images=128", *words)
    again = run(tmp_path / "twice", "name=a", "images=256", *words)
    assert_equal(state(once), state(again))
    other = run(tmp_path / "other", "name=a", "images=256", *FEW)
    key = next(key for key in state(once) if key.startswith("state_dict/players.generator.network"))
    assert not torch.equal(state(once)[key], state(other)[key])


def test_the_identity_has_the_content_of_the_initial_weights(source, tmp_path):
    folder = shutil.copytree(source.folder, tmp_path / "copy")
    words = [*SMALL, *FEW, f"start={folder}"]
    before = compose(words)
    digest = hashlib.sha256((folder / "checkpoints" / "last.ckpt").read_bytes()).hexdigest()
    assert before.start_sha256 == digest == compose([*words, "seed=1"]).start_sha256
    with (folder / "checkpoints" / "last.ckpt").open("ab") as file:
        file.write(b"trained on")
    assert compose(words).name != before.name
    with pytest.raises(Mistake, match="changed after this run was composed"):
        check_and_set_start_hash(before)
    assert "start_sha256" not in compose([*SMALL, *FEW])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["start={source}", "architecture.generator.widths=[8]"], "is [16, 100] there and [8, 100] here"),
        (["start={source}", "architecture.generator.widths=[16,16]"], "there and "),
        (["start={tmp}/nowhere"], "not a run folder with a checkpoint"),
        (["start={tmp}/x.safetensors"], "cannot be read as safetensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name_before_anything_is_written(
    source, tmp_path, words, message, capsys
):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    words = [word.format(source=source.folder, tmp=tmp_path) for word in words]
    assert main(["train", *SMALL, *FEW, "images=64", f"outputs={tmp_path / 'out'}", *words]) == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert message in printed
    assert "Traceback" not in printed
    assert not list((tmp_path / "out").glob("*/*/*"))


@pytest.mark.parametrize("file", ["config.yaml", "training.yaml"])
def test_tokens_that_stand_for_other_symbols_there_are_refused(file, tmp_path):
    facts = "_target_: saddlepoint.data.text_lines.TextLines, folder: deleted, shape: [2, 3], vocabulary: ['', a, c]"
    (tmp_path / file).write_text(f"data: {{{facts}}}\n")
    start = str(tmp_path / "generator.safetensors" if file == "training.yaml" else tmp_path)
    check_symbols(start, SimpleNamespace(modality=Tokens(["", "a", "c"])))
    with pytest.raises(Mistake, match=r"number 2 is 'c' there and 'b' here.*data\.vocabulary"):
        check_symbols(start, SimpleNamespace(modality=Tokens(["", "a", "b"])))
    with pytest.raises(Mistake, match="number 3 is missing there and 'd' here"):
        check_symbols(start, SimpleNamespace(modality=Tokens(["", "a", "c", "d"])))
