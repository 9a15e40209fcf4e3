"""The image pipeline in numpy: resize, scale to [0, 1], grey (spec of the tasks, 1.2)."""

from __future__ import annotations

import numpy as np

_ROWS_AT_ONCE = 4096  # bounds the float copies of a large set


def resize_bilinear(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation with half-pixel centres and without antialiasing.

    Args:
      images: [N, H, W, C], any real type.
      size: height and width of the result.

    Returns:
      float32 [N, height, width, C]. 32 -> 8 is the mean of the four pixels in rows and columns
      4i+1 and 4i+2; 28 -> 8 samples at 3.5i + 1.25.
    """
    result = np.empty((len(images), *size, images.shape[3]), np.float32)
    for start in range(0, len(images), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        result[part] = _along(_along(images[part], 1, size[0]), 2, size[1])
    return result


def _along(images: np.ndarray, axis: int, size: int) -> np.ndarray:
    length = images.shape[axis]
    position = (np.arange(size) + 0.5) * (length / size) - 0.5
    below = np.floor(position).astype(int)
    weight = (position - below).astype(np.float32)
    shape = [size if a == axis else 1 for a in range(images.ndim)]
    weight = weight.reshape(shape)
    # Beyond the border the outermost pixel counts.
    first = np.take(images, np.clip(below, 0, length - 1), axis).astype(np.float32)
    second = np.take(images, np.clip(below + 1, 0, length - 1), axis).astype(np.float32)
    return first + weight * (second - first)


def prepare(
    images: np.ndarray, size: tuple[int, int], *, grayscale: bool = False, largest_pixel: int = 255
) -> np.ndarray:
    """Images as the tasks see them: resize where the size differs, then scale, then grey.

    Args:
      images: uint8 [N, H, W, C].
      size: wanted height and width.
      grayscale: plain mean over the channels, keeping one.
      largest_pixel: the value that becomes 1.

    Returns:
      float32 [N, height, width, C or 1] in [0, 1].
    """
    pixels = (
        images.astype(np.float32) if images.shape[1:3] == size else resize_bilinear(images, size)
    )
    pixels /= np.float32(largest_pixel)
    return pixels.mean(axis=3, keepdims=True, dtype=np.float32) if grayscale else pixels
