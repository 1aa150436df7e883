"""Image files ↔ pixels: formats, bit depths, alpha, color profiles, metadata; outputs appear whole or not at all."""

from sr_cli.images.color_space import own_values, to_tensor, with_color
from sr_cli.images.folders import find_images
from sr_cli.images.picture import Metadata, Picture, Pixels, bands
from sr_cli.images.reading import MAX_PIXELS, read, read_rgb
from sr_cli.images.writing import encode, format_of, write

__all__ = [
    "MAX_PIXELS",
    "Metadata",
    "Picture",
    "Pixels",
    "bands",
    "encode",
    "find_images",
    "format_of",
    "own_values",
    "read",
    "read_rgb",
    "to_tensor",
    "with_color",
    "write",
]
