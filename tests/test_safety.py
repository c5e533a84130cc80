"""Received files are read without running code from them, and written files contain no secrets (docs/safety.md)."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import pickle
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from rich.console import Console
from runs import SMALL

from saddlepoint.cli.sample import command as sample
from saddlepoint.config.check import check
from saddlepoint.config.compose import compose
from saddlepoint.config.identity import compute_identity
from saddlepoint.config.instantiate import instantiate
from saddlepoint.data.listing import list_files
from saddlepoint.data.samples import load_samples as read_samples
from saddlepoint.error import Mistake
from saddlepoint.evaluation import reference_statistics
from saddlepoint.experiment.restore import load
from saddlepoint.experiment.run_config import load_run_config
from saddlepoint.experiment.train import train
from saddlepoint.extractor import inception
from saddlepoint.redaction import expand_home, find_secret, redact, shorten_home
from saddlepoint.run import snapshot
from saddlepoint.run.checkpoint import load_checkpoint
from saddlepoint.run.folder import Run
from saddlepoint.run.provenance import provenance
from saddlepoint.run.storage import archive

ROOT = Path(__file__).resolve().parents[1]
CANARY = {
    "WANDB_API_KEY": "canary0123456789canary0123456789canary01",
    "HF_TOKEN": "hf_canarycanarycanary",
    "MY_PASSWORD": "canary-of-mine",
}


class Harm:
    """Creates a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """A path that must not exist after the test."""
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists(), "code from a file was run"


# ---------------------------------------------------------------------------------------------------- a checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    overrides = [*SMALL, "images=128", "metric=[]", "callback=[snapshot,checkpoint]"]
    overrides = [
        item for item in overrides if not item.startswith(("callback.evaluation", "callback.grid", "callback.journal"))
    ]
    outputs = tmp_path_factory.mktemp("received")
    return train(compose([*overrides, f"outputs={outputs}"]), Console(file=io.StringIO())).folder


@pytest.fixture
def received(trained: Path, tmp_path: Path) -> Run:
    """A run folder received from somebody else."""
    import shutil

    return Run(shutil.copytree(trained, tmp_path / "their" / "seed0"))


def malicious_checkpoint(mark: Path) -> bytes:
    """A torch checkpoint with malicious code."""
    content = io.BytesIO()
    torch.save({"state_dict": {}, "saddlepoint": {"images": 1}, "more": Harm(mark)}, content)
    return content.getvalue()


def test_an_unmodified_received_run_loads(received: Run) -> None:
    assert load(received.folder).sample(2).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    "form", [malicious_checkpoint, lambda mark: pickle.dumps({"saddlepoint": Harm(mark)})], ids=["zip", "pickle"]
)
def test_a_malicious_checkpoint_is_refused_and_not_run(received: Run, mark: Path, form: Callable) -> None:
    for name in ("last", "previous", "best"):
        (received.checkpoints / f"{name}.ckpt").write_bytes(form(mark))
        with pytest.raises(Mistake, match=r"not a readable checkpoint") as refused:
            load(received.folder, name)
        assert len(str(refused.value).splitlines()) == 1


def write_zip(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_checkpoint_that_expands_beyond_its_size_is_refused(tmp_path: Path) -> None:
    state = {"state_dict": {"w": torch.zeros(2**20)}, "saddlepoint": {"images": 1}}
    torch.save(state, tmp_path / "last.ckpt")
    assert load_checkpoint(tmp_path / "last.ckpt")["saddlepoint"] == {"images": 1}
    with zipfile.ZipFile(tmp_path / "last.ckpt") as archive_file:
        members = {one.filename: archive_file.read(one) for one in archive_file.infolist()}
    bomb = write_zip(tmp_path / "bomb.ckpt", members)
    assert bomb.stat().st_size < 2**16
    with pytest.raises(Mistake, match=r"claims to hold 4,1\d\d,\d\d\d"):
        load_checkpoint(bomb)


def test_malicious_extractor_weights_are_refused_and_not_run(mark: Path, tmp_path: Path) -> None:
    for name, content in {"zip": malicious_checkpoint(mark), "pickle": pickle.dumps(Harm(mark))}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Mistake, match="code in it is not run"):
            inception.load_or_download_inception_weights(tmp_path / name, None)


def test_a_file_with_the_published_name_and_other_content_is_refused_unread(mark: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    path.write_bytes(malicious_checkpoint(mark))
    with pytest.raises(Mistake, match=r"is incomplete: its sha256 is"):
        inception.load_or_download_inception_weights(path, None)
    assert len(inception.SHA256) == 64
    assert f"-{inception.SHA256[:8]}.pth" in inception.weights_url()


HEADERS = {
    "a header longer than the file": (2**62).to_bytes(8, "little") + b"{}",
    "a deeply nested header": (9000).to_bytes(8, "little") + b"[" * 9000,
    "no header": b"\0" * 7,
    "a list": (2).to_bytes(8, "little") + b"[]",
    "a tensor beyond the end": None,
    "another value for its metadata": None,
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_snapshot_with_a_false_header_is_refused(kind: str, tmp_path: Path) -> None:
    metadata = {"saddlepoint": json.dumps([1] if "another" in kind else {"format": 1, "images": 1, "weights": "raw"})}
    far = {"__metadata__": metadata, "w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    valid = {"__metadata__": metadata, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header = json.dumps(far if "beyond" in kind else valid).encode()
    content = HEADERS[kind] or len(header).to_bytes(8, "little") + header + b"\0\0\0\0"
    (tmp_path / "1.safetensors").write_bytes(content)
    with pytest.raises(Mistake, match="not a snapshot") as refused:
        snapshot.load_snapshot(tmp_path / "1.safetensors")
    assert len(str(refused.value).splitlines()) == 1


# ------------------------------------------------------------------------------------------------------------ a zip


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=array.dtype.hasobject)
    return content.getvalue()


def npy_with_header(shape: tuple[int, ...], dtype: str = "<f8", content: bytes = b"") -> bytes:
    """Return a .npy whose header has this shape."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": shape})
    return head.getvalue() + content


SIGMA = npy(np.eye(2))
BAD = {
    "a header of terabytes": {"mu.npy": npy_with_header((2**42,)), "sigma.npy": SIGMA},
    "a shape that overflows": {"mu.npy": npy_with_header((2**32, 2**32)), "sigma.npy": SIGMA},
    "a negative shape": {"mu.npy": npy_with_header((-1, -8), content=b"\0" * 64), "sigma.npy": SIGMA},
    "elements of size 0": {"mu.npy": npy_with_header((2**62,), "|S0"), "sigma.npy": SIGMA},
    "a header of megabytes": {"mu.npy": b"\x93NUMPY\x02\x00" + (2**24).to_bytes(4, "little") + b" " * 2**24,
                              "sigma.npy": SIGMA},
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(
    "reader",
    [reference_statistics.load_reference_statistics, lambda path: read_samples(path, (2,))],
    ids=["statistics", "samples"],
)
def test_an_npz_with_a_false_header_allocates_no_memory(kind: str, reader: Callable, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.npz", BAD[kind])
    with pytest.raises(Mistake, match="cannot be read") as refused:
        reader(path)
    assert len(str(refused.value).splitlines()) <= 2


def objects(mark: Path) -> dict[str, bytes]:
    array = np.empty(2, dtype=object)
    array[0] = Harm(mark)
    return {"mu.npy": npy(array), "sigma.npy": SIGMA}


def test_an_npz_with_pickled_objects_is_refused_and_not_run(mark: Path, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.npz", objects(mark))
    with pytest.raises(Mistake, match="pickled"):
        reference_statistics.load_reference_statistics(path)
    with pytest.raises(Mistake, match="npz of plain arrays"):
        read_samples(path, (2,))


def test_an_archive_expands_to_at_most_a_stated_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "a.npz", {"mu.npy": npy(np.zeros(2**18)), "sigma.npy": SIGMA})
    assert archive.load_arrays(path)["mu"].shape == (2**18,), "2 MiB are allowed for any archive"
    monkeypatch.setattr(archive, "UNPACKED_ALLOWANCE", 2**20)
    size = path.stat().st_size
    assert 64 * size < 2**21
    with pytest.raises(Mistake, match=rf"it has {size:,} bytes and would unpack to 2,097,"):
        read_samples(path, (2,))
    with pytest.raises(Mistake, match="would unpack to"):
        reference_statistics.load_reference_statistics(path)
    assert archive.load_arrays(path, ["sigma"])["mu"].size == 0, "only requested members are unpacked"


def test_a_member_expands_to_at_most_its_stated_size(tmp_path: Path) -> None:
    """A member with more data than the directory of the zip states is refused."""
    content = bytearray(write_zip(tmp_path / "a.npz", {"a.npy": npy(np.arange(1000.0))}).read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (200).to_bytes(4, "little")
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        archive.load_arrays(bytes(content))


@pytest.mark.parametrize("name", ["../a.npy", "/etc/a.npy", "b/../../a.npy", "..\\a.npy"])
def test_a_member_that_points_outside_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="points outside the archive"):
        read_samples(write_zip(tmp_path / "a.npz", {name: npy(np.zeros((2, 2)))}), (2,))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    for name, reader in {"a.npy": archive.load_arrays, "a.png": list_files}.items():
        link = zipfile.ZipInfo(name)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr(link, "/etc/passwd")
        with pytest.raises((Mistake, ValueError), match="is a link"):
            reader(tmp_path / "a.zip")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8", "<i8", "?", "<U3", "<c16"])
def test_a_valid_npz_is_read_as_by_numpy(dtype: str, shape: tuple[int, ...], order: Any, tmp_path: Path) -> None:
    draws = np.random.default_rng(0).integers(0, 2, shape)
    array = np.array(draws, order=order).astype(dtype, order=order)
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", x=array, other=np.arange(3))
        arrays = archive.load_arrays(tmp_path / "a.npz")
        np.testing.assert_array_equal(arrays["x"], np.load(tmp_path / "a.npz")["x"])
        assert (arrays["x"].dtype, arrays["x"].shape, list(arrays)) == (array.dtype, array.shape, ["x", "other"])
        arrays["x"][...] = arrays["x"]  # arrays are writable, as torch requires


# --------------------------------------------------------------------------------------------------------- a config


def test_a_malicious_config_of_a_received_run_is_refused_by_every_command(received: Run, mark: Path) -> None:
    config = yaml.safe_load(received.config.read_text())
    config["architecture"]["generator"] = {"_target_": "os.mkdir", "path": str(mark)}
    config["allow_target"] = ["os", "posix"]
    received.config.write_text(yaml.safe_dump(config))
    message = r"^architecture\.generator: os\.mkdir is not on the list of what a config may build"
    with pytest.raises(Mistake, match=message):
        load(received.folder)
    with pytest.raises(Mistake, match=message):
        check(load_run_config(received))
    arguments = OmegaConf.create({"run": str(received.folder), "n": 1, "to": "x.npz", "at": "last"})
    with pytest.raises(Mistake, match=message):
        sample(arguments)


def test_a_malicious_extractor_or_logger_of_a_received_run_is_refused(received: Run, mark: Path) -> None:
    for key in ("logger", "launcher", "data", "evaluation.extractor", "callback.snapshot", "metric.mine"):
        config = load_run_config(received)
        OmegaConf.set_struct(config, False)
        OmegaConf.update(config, key, {"_target_": "subprocess.call", "args": ["mkdir", str(mark)]}, merge=False)
        with pytest.raises(Mistake, match=rf"^{key}: subprocess\.call is not on the list"):
            check(config)
        with pytest.raises(Mistake, match=rf"^{key}: subprocess\.call is not on the list"):
            instantiate(OmegaConf.select(config, key), key)


# --------------------------------------------------------------------------------------------------------- secrets


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, with secrets in the environment."""
    for name, value in CANARY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_run_and_its_offline_tracking_contain_no_secret_or_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In no file of the folder, text or binary."""
    overrides = [item for item in SMALL if item != "logger=none"]
    overrides += [f"outputs={home}/outputs", f"cache={home}/cache", "logger.mode=offline", "metric=[]", "images=128"]
    monkeypatch.setattr("sys.argv", ["saddlepoint", "train", *overrides, f"password={CANARY['MY_PASSWORD']}"])
    config = compose(overrides)
    run = train(config, Console(file=io.StringIO()))
    files = [path for path in (home / "outputs").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert len(files) > 8
    for path in files:
        content = path.read_bytes()
        assert b"canary" not in content, path
        assert str(home).encode() not in content, path
    assert "cache: ~/cache" in run.config.read_text()
    again = load_run_config(run)
    assert (again.cache, compute_identity(again)) == (f"{home}/cache", compute_identity(config)), (
        "the identity is unchanged"
    )


SECRET = [
    ["data.extractor='${oc.env:WANDB_API_KEY}'"], ["logger.project='${oc.env:HF_TOKEN}'"],
    ["logger.project='runs-${oc.env:HF_TOKEN}'"], [f"logger.entity={CANARY['HF_TOKEN']}"],
    ["+a=HF_TOKEN", "logger.project='${oc.env:${a}}'"], ["+logger.api_key=0123456789abcdef"],
    ["+callback.mine={_target_: mine.Callback, token: abcdefgh12345678}"],
    ["+data.url='https://me:my-password@example.org/data'"],
]  # fmt: skip


@pytest.mark.parametrize("overrides", SECRET, ids=lambda overrides: overrides[-1][:40])
@pytest.mark.usefixtures("home")
def test_a_secret_in_a_config_is_refused_and_not_printed(overrides: list[str]) -> None:
    with pytest.raises(Mistake, match="a config is recorded") as refused:
        compose(overrides)
    assert not any(value in str(refused.value) for value in (*CANARY.values(), "abcdefgh12345678", "my-password"))


@pytest.mark.usefixtures("home")
def test_a_received_config_cannot_pass_a_secret_to_an_object() -> None:
    for value in ("${oc.env:HF_TOKEN}", "\\${oc.env:HF_TOKEN}", "x${oc.env:WANDB_API_KEY}x"):
        node = OmegaConf.create(
            {"logger": {"_target_": "saddlepoint.run.tracking.tracker.Tracker", "project": value}}
        ).logger
        with pytest.raises(Mistake, match=r"^logger\.project: it holds the value of (HF_TOKEN|WANDB_API_KEY)"):
            instantiate(node, "logger")


@pytest.mark.usefixtures("home")
def test_secrets_are_redacted_by_value_by_name_and_in_urls() -> None:
    key = CANARY["WANDB_API_KEY"]
    assert redact(f"login {key}!") == "login <WANDB_API_KEY>!"
    assert redact("+logger.api_key=0123456789") == "+logger.api_key=<secret>"
    assert redact("token: abcdefgh, x") == "token: <secret>, x"
    assert redact("http://me:pass@host/x") == "http://<secret>@host/x"
    for text in ("architecture.tokens=123456789", "token=null", "optimizer.key=a", "token=64", "monkey=longenough",
                   "https://host:8080/a@b", "objective=hinge", "tokenizer=something"):  # fmt: skip
        assert redact(text) == text
        assert find_secret([(text.partition("=")[0], text.partition("=")[2])]) is None
    assert redact({"a": [f"x{key}", 3, None, (True, 1.5)]}) == {"a": ["x<WANDB_API_KEY>", 3, None, [True, 1.5]]}


def test_only_the_own_home_folder_is_shortened(home: Path) -> None:
    folder = str(home)
    pairs = {folder: "~", f"{folder}/a b": "~/a b", f"root={folder}/x": "root=~/x", f"file://{folder}/x": "file://~/x"}
    for text, short in {**pairs, f"{folder}s/x": f"{folder}s/x", f"/mnt{folder}/x": f"/mnt{folder}/x"}.items():
        assert shorten_home(text) == short
    for text in (f"{folder}/a", f"root={folder}/x", f"${{oc.env:NO,{folder}/x}}"):
        assert expand_home(shorten_home(text)) == text
    for text in ("a~/b", "x~y", "~", "~other/x", "1~/2"):
        assert expand_home(text) == text


def test_the_identity_of_a_run_does_not_depend_on_how_its_home_is_written(home: Path) -> None:
    (home / "images").mkdir()
    overrides = ["data=image_folder", "data.shape=[3,32,32]"]
    assert (
        len({compute_identity(compose([*overrides, f"data.folder='{folder}/images'"])) for folder in (home, "~")}) == 1
    )


@pytest.mark.usefixtures("home")
def test_a_recorded_error_contains_no_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"cannot log in with {CANARY['HF_TOKEN']} at {home}/x")

    monkeypatch.setattr("pytorch_lightning.Trainer.fit", fails)
    with pytest.raises(RuntimeError):
        train(compose([*SMALL, f"outputs={home}/outputs", "metric=[]"]), Console(file=io.StringIO()))
    (summary,) = (home / "outputs").rglob("summary.json")
    assert json.loads(summary.read_text())["error"] == "cannot log in with <HF_TOKEN> at ~/x"


def test_provenance_contains_no_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [f"{home}/bin/saddlepoint", "train", "+logger.api_key=0123456789abcdef"])
    assert provenance({}, 0)["argv"] == ["~/bin/saddlepoint", "train", "+logger.api_key=<secret>"]


# ---------------------------------------------------------------------------------------------------- unsafe calls

SOURCES = sorted(path for top in ("src", "scripts", "benchmarks") for path in (ROOT / top).rglob("*.py"))
NEVER_IMPORTED = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "tarfile", "telnetlib"}
NEVER_CALLED = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load_all", "yaml.unsafe_load",
    "yaml.full_load", "torch.hub.load", "pd.read_pickle", "shutil.unpack_archive", "hydra.utils.get_object",
    "hydra.utils.get_method", "hydra.utils.get_class", "tempfile.mktemp",
}  # fmt: skip
ONLY_IN = {
    "hydra.utils.instantiate": {"config/instantiate.py"},  # all others use this one, which checks targets
    "torch.jit.load": {"export/format/program.py"},  # TorchScript is a program, as documented (docs/safety.md)
}
SAFE_YAML = {"yaml.SafeLoader", "getattr(yaml, 'CSafeLoader', yaml.SafeLoader)"}


def literal(call: ast.Call, name: str) -> Any:
    """Return the value of a keyword if it is a literal, else ""."""
    value = next((k.value for k in call.keywords if k.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else ""


def unsafe_calls(source: str, path: str = "") -> list[str]:
    """Return the calls and imports of a source that read, run or unpack files unsafely."""
    findings = []
    for node in ast.walk(ast.parse(source)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        findings += [f"imports {name}" for name in modules if name.split(".")[0] in NEVER_IMPORTED]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        if name in NEVER_CALLED or path not in ONLY_IN.get(name, {path}):
            findings.append(f"calls {name}")
        if name == "torch.load" and literal(node, "weights_only") is not True:
            findings.append("torch.load without weights_only=True")
        if (
            last == "fit"
            and "ckpt_path" in {k.arg for k in node.keywords}
            and literal(node, "weights_only") is not True
        ):
            findings.append("fit(ckpt_path=) without weights_only=True")
        if name in ("np.load", "numpy.load") and literal(node, "allow_pickle") is not False:
            findings.append("np.load without allow_pickle=False")
        if literal(node, "allow_pickle") is True or literal(node, "shell") is True:
            findings.append(f"{name} with allow_pickle or shell")
        if name == "yaml.load" and ast.unparse(node.args[-1]) not in SAFE_YAML:
            findings.append("yaml.load without a safe loader")
        if last == "extractall" or name in ("archive.extract", "zip.extract"):
            findings.append(f"unpacks: {name}")
    return findings


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_file_uses_an_unsafe_call(path: Path) -> None:
    assert unsafe_calls(path.read_text(), path.relative_to(ROOT).as_posix().removeprefix("src/saddlepoint/")) == []


UNSAFE = [
    "import pickle", "from pickle import loads", "import tarfile", "torch.load(f)", "torch.load(f, weights_only=False)",
    "torch.load(f, weights_only=w)", "np.load(f)", "np.load(f, allow_pickle=True)", "np.savez(f, allow_pickle=True)",
    "yaml.load(t)", "yaml.load(t, yaml.Loader)", "yaml.load(t, Loader=yaml.UnsafeLoader) ", "eval(t)", "exec(t)",
    "os.system(t)", "subprocess.run(t, shell=True)", "archive.extractall(to)", "hydra.utils.instantiate(node)",
    "trainer.fit(game, ckpt_path=p)", "torch.hub.load(r, m)", "hydra.utils.get_object(name)",
]  # fmt: skip


@pytest.mark.parametrize("line", UNSAFE)
def test_an_unsafe_line_is_found(line: str) -> None:
    assert unsafe_calls(line, "elsewhere.py")


def test_the_lock_is_audited_in_the_workflow_and_every_week() -> None:
    flow = yaml.safe_load((ROOT / ".github/workflows/audit.yaml").read_text())
    steps = [step.get("run", "") for step in flow["jobs"]["audit"]["steps"]]
    assert any(re.search(r"pip-audit .*--require-hashes.* -r requirements\.lock", step) for step in steps)
    when = flow[True]  # YAML 1.1 reads `on` as true
    assert {"push", "pull_request", "schedule"} <= set(when)
    assert flow["permissions"] == {"contents": "read"}


def test_every_requirement_of_the_lock_has_a_hash() -> None:
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert len(requirements) > 50
    assert [line[:60] for line in requirements if "--hash=sha256:" not in line] == []


def test_shipped_weights_have_the_listed_sha256() -> None:
    folder = ROOT / "src/saddlepoint/extractor/weights"
    for name, facts in json.loads((folder / "classifiers.json").read_text()).items():
        assert hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest() == facts["sha256"]
