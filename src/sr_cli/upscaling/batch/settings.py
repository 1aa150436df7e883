"""How to treat each picture of a batch."""

from dataclasses import dataclass

from sr_cli.images import MAX_PIXELS
from sr_cli.images.codecs.png_write import DEFAULT_LEVEL
from sr_cli.upscaling.batch.target_size import Target


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to treat each picture of a batch.

    Attributes:
        format: of all results; ``None``: by the result's suffix.
        quality, png_level: see `images.write`.
        keep_metadata: or strip all but the profile.
        animate: every frame of an animation instead of the first.
        threads: for decoding, and as many for encoding.
        max_input_pixels: larger pictures are refused.
        measure_energy: read the device's counters at each picture.
    """

    target: Target
    format: str | None = None
    quality: int | None = None
    png_level: int = DEFAULT_LEVEL
    keep_metadata: bool = True
    animate: bool = False
    threads: int = 2
    max_input_pixels: int = MAX_PIXELS
    measure_energy: bool = False
