"""Pictures in the terminal: real ones where it can, elsewhere half blocks, two pixels a character."""

import base64
import io
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment, Segments
from rich.style import Style

from sr_cli import console

if TYPE_CHECKING:
    from PIL import Image

_CHUNK = 4096  # characters of base64 that kitty takes at a time


def show(pictures: Mapping[str, "Image.Image"]) -> None:
    """Show pictures beside each other on stderr, with their names below."""
    protocol = graphics_protocol() if console.err.is_terminal else None
    if protocol is None:
        _show_half_blocks(pictures)
    else:
        sys.stderr.write((kitty if protocol == "kitty" else iterm)(_png(_beside(pictures))) + "\n")
        sys.stderr.flush()
        console.note("   ".join(pictures))


def graphics_protocol(environment: Mapping[str, str] = os.environ) -> str | None:
    """How this terminal shows pictures: ``kitty``, ``iterm``, or not at all."""
    if "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux")):
        return None  # they let pictures through only if told to
    if environment.get("TERM") == "xterm-kitty" or environment.get("TERM_PROGRAM") == "ghostty":
        return "kitty"
    return "iterm" if environment.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm") else None


def kitty(png: bytes) -> str:
    """The escape sequence of kitty's graphics protocol."""
    text = base64.b64encode(png).decode()
    chunks = [text[i : i + _CHUNK] for i in range(0, len(text), _CHUNK)]
    keys = ["a=T,f=100,"] + [""] * (len(chunks) - 1)
    return "".join(
        f"\033_G{key}m={int(i < len(chunks) - 1)};{chunk}\033\\"
        for i, (key, chunk) in enumerate(zip(keys, chunks, strict=True))
    )


def iterm(png: bytes) -> str:
    """The escape sequence of iTerm2's inline images."""
    return f"\033]1337;File=inline=1;size={len(png)}:{base64.b64encode(png).decode()}\a"


def _show_half_blocks(pictures: Mapping[str, "Image.Image"]) -> None:
    room = max(8, (console.err.width - 2 * (len(pictures) - 1)) // len(pictures))
    panels = {name: _fitting(picture, room, 2 * (console.err.height - 4)) for name, picture in pictures.items()}
    for top in range(0, max(panel.height for panel in panels.values()), 2):
        line: list[Segment] = []
        for panel in panels.values():
            line += [_half_block(panel, x, top) for x in range(panel.width)] + [Segment("  ")]
        console.err.print(Segments(line))
    console.note("  ".join(f"{name:<{panel.width}}" for name, panel in panels.items()))


def _half_block(panel: "Image.Image", x: int, y: int) -> Segment:
    if y >= panel.height:
        return Segment(" ")
    upper = Color.from_rgb(*panel.getpixel((x, y)))  # type: ignore[misc]
    if y + 1 >= panel.height:
        return Segment("▀", Style(color=upper))
    return Segment("▀", Style(color=upper, bgcolor=Color.from_rgb(*panel.getpixel((x, y + 1)))))  # type: ignore[misc]


def _fitting(picture: "Image.Image", width: int, height: int) -> "Image.Image":
    """The middle of the picture, pixel for pixel, as much of it as there is room for."""
    wide, high = min(picture.width, width), min(picture.height, max(2, height))
    left, top = (picture.width - wide) // 2, (picture.height - high) // 2
    return picture.convert("RGB").crop((left, top, left + wide, top + high))


def _beside(pictures: Mapping[str, "Image.Image"]) -> "Image.Image":
    from PIL import Image

    gap = 8
    width = sum(picture.width + gap for picture in pictures.values()) - gap
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures.values())))
    left = 0
    for picture in pictures.values():
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    return sheet


def _png(picture: "Image.Image") -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
