"""JPEG without most of its blocks and ripples: of the pictures that a file may stand for, a smooth one.

A JPEG file holds rounded coefficients, and decoders take the middle of what each may have been. Ours moves them by up
to a quarter of a rounding step to where the picture varies least, which fades what compression made and keeps the rest.

Source: total variation within the bounds of the coefficients, Alter, Durand and Froment 2005 ("Adapted total variation
for artifact free decompression of JPEG images"), here with second differences, a narrower bound and few iterations.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

_Plane = npt.NDArray[np.float32]

_LUMINANCE_SUM = 3688  # of the luminance table in annex K of the JPEG standard, which is quality 50
_ITERATIONS, _RATE = 12, np.float32(0.25)
_BOUND = 0.25  # of a rounding step
_SOFTENING = np.float32(25)  # squared, in levels: differences below 5 count less
_BAND = 512  # rows at once
_REACH = 8 * _ITERATIONS  # rows: every iteration reaches the next block

_frequency, _position = np.mgrid[:8, :8]
_DCT = np.cos((2 * _position + 1) * _frequency * np.pi / 16) * np.where(_frequency, 0.5, np.sqrt(1 / 8))
_DCT = _DCT.astype(np.float32)


def quality_of(image: Image.Image) -> int | None:
    """The quality that an opened JPEG file was saved with, by its luminance table.

    Source: the scaling of the Independent JPEG Group's library, ``jpeg_quality_scaling``, backwards.
    """
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    percent = float(100 * sum(tables[0]) / _LUMINANCE_SUM)
    return round(min(100.0, max(1.0, 5000 / percent if percent > 100 else (200 - percent) / 2)))


def decode_smoothly(image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """``(H, W, 1 | 3)`` of a JPEG file that Pillow has opened and not loaded; ``None`` of colors but gray and YCbCr."""
    tables, layers = getattr(image, "quantization", {}), getattr(image, "layer", [])
    if image.mode not in ("L", "RGB") or len(layers) not in (1, 3):
        return None
    if len(layers) == 3:
        if image.info.get("adobe_transform") == 0 or bytes(layer[0] for layer in layers) == b"RGB":
            return None
        image.draft("YCbCr", image.size)
    image.load()
    if image.mode == "RGB":
        return None
    stored = np.atleast_3d(np.asarray(image, np.float32)) - 128  # as the coefficients have it
    widest, highest = max(layer[1] for layer in layers), max(layer[2] for layer in layers)
    planes = []
    for index, (_, across, down, table) in enumerate(layers):
        steps = np.maximum(np.array(tables[table], np.float32).reshape(8, 8), 1)  # a damaged file may say 0
        planes.append(_smooth_sampled(stored[..., index], steps, widest // across, highest // down))
    if len(planes) == 1:
        return _to_bytes(planes[0] + 128)[..., None]
    y, cb, cr = planes[0] + 128, planes[1], planes[2]
    colors = (y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb)  # ITU-T T.871
    return np.stack([_to_bytes(color) for color in colors], axis=2)


def _to_bytes(plane: _Plane) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(plane, 0, 255)).astype(np.uint8)


def _smooth_sampled(plane: _Plane, steps: _Plane, across: int, down: int) -> _Plane:
    """`smooth` at the size in which the file has the plane, which the decoder has enlarged since."""
    if across == down == 1:
        return smooth(plane, steps)
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % down), (0, -width % across)), mode="edge")
    small = padded.reshape(padded.shape[0] // down, down, -1, across).mean(axis=(1, 3))
    change = Image.fromarray(smooth(small, steps) - small)
    enlarged = change.resize((padded.shape[1], padded.shape[0]), Image.Resampling.BILINEAR)
    return plane + np.asarray(enlarged, np.float32)[:height, :width]


def smooth(plane: _Plane, steps: _Plane) -> _Plane:
    """Lower the variation of one color, within the bounds that its file sets.

    Args:
        plane: ``(H, W)``, from -128 to 127.
        steps: ``(8, 8)``, the rounding steps of the coefficients.
    """
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % 8), (0, -width % 8)), mode="edge")
    smoothed = []
    for top in range(0, len(padded), _BAND):  # with what lies within reach: the same result in bounded memory
        first = max(0, top - _REACH)
        smoothed.append(_smooth_band(padded[first : top + _BAND + _REACH], steps)[top - first :][:_BAND])
    return np.concatenate(smoothed)[:height, :width]


def _smooth_band(plane: _Plane, steps: _Plane) -> _Plane:
    """Accelerated projected gradient descent (Beck and Teboulle 2009)."""
    steps = steps[None, :, None, :]
    decoded = _to_coefficients(plane)
    middle = np.rint(decoded / steps) * steps
    # Where the decoder clipped, or enlarged chroma, the middle is only about right.
    low, high = np.minimum(middle - _BOUND * steps, decoded), np.maximum(middle + _BOUND * steps, decoded)
    best, ahead, momentum = plane, plane, 1.0
    for _ in range(_ITERATIONS):
        moved = _to_coefficients(ahead - _RATE * _slope(ahead))
        before, best = best, _to_pixels(np.clip(moved, low, high))
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = best + np.float32((momentum - 1) / following) * (best - before)
        momentum = following
    return best


def _slope(plane: _Plane) -> _Plane:
    """The gradient of what `smooth` lowers: the sums of the first and of half the second differences' lengths."""
    across, down = _difference(plane, 1), _difference(plane, 0)
    length = np.sqrt(across**2 + down**2 + _SOFTENING)
    slope = _summed_back(across / length, 1) + _summed_back(down / length, 0)
    bend = _difference(across, 1), _difference(down, 0), _difference(across, 0)
    bend[0][:, -2:] = 0
    bend[1][-2:] = 0
    length = 2 * np.sqrt(bend[0] ** 2 + bend[1] ** 2 + 2 * bend[2] ** 2 + _SOFTENING)
    slope += _summed_back(_summed_back(bend[0] / length, 1), 1)
    slope += _summed_back(_summed_back(bend[1] / length, 0), 0)
    slope += _summed_back(_summed_back(2 * bend[2] / length, 0), 1)
    return slope


def _difference(plane: _Plane, axis: int) -> _Plane:
    """To the next row or column; 0 at the end."""
    differences: _Plane = np.diff(plane, axis=axis, append=plane.take([-1], axis=axis))
    return differences


def _summed_back(differences: _Plane, axis: int) -> _Plane:
    """The adjoint of `_difference`, where the last difference is 0."""
    differences = np.diff(differences, axis=axis, prepend=np.float32(0))
    return -differences


def _to_coefficients(plane: _Plane) -> _Plane:
    """``(H, W)`` → ``(H/8, 8, W/8, 8)``: the discrete cosine transform of each block."""
    columns = _DCT @ plane.reshape(-1, 8, plane.shape[1])
    coefficients: _Plane = columns.reshape(len(columns), 8, -1, 8) @ _DCT.T
    return coefficients


def _to_pixels(coefficients: _Plane) -> _Plane:
    rows = (coefficients @ _DCT).reshape(len(coefficients), 8, -1)
    pixels: _Plane = _DCT.T @ rows
    return pixels.reshape(-1, rows.shape[2])
