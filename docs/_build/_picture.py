"""The picture at the top of the README: what `hopfax sweep` draws."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from ._execute import small

TARGET = Path(__file__).resolve().parents[1] / "assets" / "sweep.png"
WIDTH = 1240


def make() -> Path:
    """Run the default sweep, and put its phase diagram into docs/assets."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "hopfax", "sweep", "--out", folder], check=True)
        (drawn,) = Path(folder).rglob("phase_diagram.png")
        opened = Image.open(drawn)
        opened = opened.resize((WIDTH, round(opened.height * WIDTH / opened.width)))
        buffer = io.BytesIO()
        opened.save(buffer, "PNG")
    TARGET.write_bytes(small(buffer.getvalue()))
    return TARGET
