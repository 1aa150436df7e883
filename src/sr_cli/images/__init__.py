"""Image files ↔ pixels: formats, bit depths, alpha, color profiles, metadata; outputs appear whole or not at all."""

from sr_cli.images.alpha import bleed
from sr_cli.images.animation import ANIMATED_FORMATS, Animation, Frame, open_animation, write_animation
from sr_cli.images.color_space import own_values, to_tensor, with_color
from sr_cli.images.find import find_images
from sr_cli.images.formats import FORMATS, SUFFIXES, check_side, format_of, losses
from sr_cli.images.picture import Metadata, Picture, Pixels, bands
from sr_cli.images.reading import MAX_PIXELS, read, read_rgb
from sr_cli.images.strip_writer import STRIP_FORMATS, StripWriter, strip_writer
from sr_cli.images.writing import encode, write

__all__ = [
    "ANIMATED_FORMATS",
    "FORMATS",
    "MAX_PIXELS",
    "STRIP_FORMATS",
    "SUFFIXES",
    "Animation",
    "Frame",
    "Metadata",
    "Picture",
    "Pixels",
    "StripWriter",
    "bands",
    "bleed",
    "check_side",
    "encode",
    "find_images",
    "format_of",
    "losses",
    "open_animation",
    "own_values",
    "read",
    "read_rgb",
    "strip_writer",
    "to_tensor",
    "with_color",
    "write",
    "write_animation",
]
