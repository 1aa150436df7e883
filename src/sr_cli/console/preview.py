"""``--preview``: an image in the terminal, by kitty's protocol or sixels if it knows them, else by half blocks."""

import logging
import sys
from typing import TYPE_CHECKING

from sr_cli import console

if TYPE_CHECKING:
    from PIL import Image


def show(image: "Image.Image") -> None:
    """Show an image on stderr; call it only if `console.shows_color`."""
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)  # it logs terminals that don't answer its queries
    try:
        from textual_image import renderable

        # To learn what the terminal can do, the library writes to stdout and reads stdin.
        shown = renderable.Image if sys.stdout.isatty() else renderable.HalfcellImage
        console.err.print(shown(image, width="auto", height="auto"))
    except Exception as error:  # the quirks of a terminal must not end the batch
        console.warning(f"--preview: the image cannot be shown ({type(error).__name__}: {error})")
