"""A Secondary Capture as a picture that any program shows."""

from pathlib import Path

from PIL import Image
from pydicom import dcmread


def save_png(instance: Path, png: Path) -> None:
    """Write the (single, 8-bit) frame of a Secondary Capture as PNG."""
    Image.fromarray(dcmread(instance).pixel_array).save(png)
