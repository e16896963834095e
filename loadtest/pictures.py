"""Pictures for the documentation, in few bytes. The only module here that knows Pillow."""

from io import BytesIO
from pathlib import Path

from PIL import Image


def save_picture(picture: bytes, path: Path) -> None:
    """Write a PNG in 256 colours, which pages and plots have hardly more than."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
