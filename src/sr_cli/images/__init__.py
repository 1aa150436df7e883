"""Image files ↔ pixels: formats, bit depths, alpha, color profiles, metadata; outputs appear atomically."""

from sr_cli.config import MAX_PIXELS
from sr_cli.images.alpha import bleed
from sr_cli.images.animation import Animation, Frame, count_frames, holds_several, open_animation, write_animation
from sr_cli.images.color_space import encode_color, to_tensor
from sr_cli.images.exif_xmp import companions, with_history
from sr_cli.images.find import find_images
from sr_cli.images.formats import ANIMATED_FORMATS, FORMATS, SUFFIXES, check_side, format_of_suffix, losses
from sr_cli.images.icc import in_srgb
from sr_cli.images.picture import Metadata, Picture, Pixels, bands
from sr_cli.images.reading import from_pillow, read, read_rgb
from sr_cli.images.strip_writer import STRIP_FORMATS, write_strips
from sr_cli.images.writing import pillow_options, to_pillow, write
