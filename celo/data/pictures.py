"""Compressed images (PNG, JPEG, ...) to rows of pixels, with Pillow."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from celo.data.preprocess import resize_bilinear
from celo.errors import DataError
from celo.records import DataSet

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm"})
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")
_MODES = {1: "L", 3: "RGB"}
_AT_ONCE = 512
Encoded = tuple[str, bytes | Path]
"""(where it is from, for messages; its bytes, or the file they are in)."""


def decode(record: DataSet, images: Iterable[Encoded]) -> Iterator[np.ndarray]:
    """Blocks of rows, uint8 [n, H, W, C], in the order of the images.

    Args:
      record: says height, width and channels, and whether other sizes are resized to it.
      images: compressed.

    Raises:
      DataError: an image is damaged or of another size, or Pillow is missing.
    """
    _pillow()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # Pillow lets others run
        for some in _batched(images, _AT_ONCE):
            yield np.stack(list(pool.map(lambda image: _decode(record, *image), some)))


def _decode(record: DataSet, where: str, content: bytes | Path) -> np.ndarray:
    image_module = _pillow()
    height, width, channels = record.image_shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an image so large that Pillow warns is none of ours
            source = io.BytesIO(content) if isinstance(content, bytes) else content
            with image_module.open(source, formats=_FORMATS) as image:
                pixels = np.asarray(image.convert(_MODES[channels]))
    except (OSError, ValueError, SyntaxError, Warning, image_module.DecompressionBombError) as e:
        raise DataError(
            f"{where}: the image is damaged: {e}",
            hint="fetch the file again, or put a whole copy of the image there",
        ) from e
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    if pixels.shape[:2] == (height, width):
        return pixels
    if not record.resized:
        found = f"{pixels.shape[0]}x{pixels.shape[1]}"
        raise DataError(f"{where}: expected an image of {height}x{width} pixels, found {found}")
    resized = resize_bilinear(pixels[None], (height, width))[0]
    return np.rint(resized).astype(np.uint8)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise DataError(
            "reading compressed images needs Pillow, which is not installed",
            hint="pip install 'celo[data]'",
        ) from None
    return Image


def _batched(items: Iterable[Encoded], size: int) -> Iterator[list[Encoded]]:
    block = []
    for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block
