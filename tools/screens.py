"""Run commands in a terminal and draw their screens into ``docs/images/screens/``, or all of them elsewhere.

    python tools/screens.py           # those in the documentation
    python tools/screens.py --all DIR # every screen, 80 and 120 columns wide, with color and without

Needs ``pip install pyte`` and an ``sr`` on the PATH. ``SCREENS`` has the commands.
"""

import argparse
import errno
import fcntl
import functools
import itertools
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
from pathlib import Path

import pyte
import skimage.data
from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ROOT = Path(__file__).parents[1]
ROWS = 300
TRAINING = (
    "sr train photos --name night --steps 60 --batch-size 4 --crop-size 64 --validate-every 20 --log-every 10 "
    "--validation-photos 2 --device cpu"
)
SCREENS = {
    "help": ("sr --help", None),
    "upscale-help": ("sr upscale --help", None),
    "picture": ("sr upscale portrait.jpg", None),
    "batch": ("sr upscale photos -o large", r"pictures .* [4-8]/9"),
    "batch-end": ("sr upscale photos -o large", None),
    "training": (TRAINING, r"step 4\d,"),
    "training-end": (TRAINING, None),
    "info": ("sr info", None),
    "models": ("sr models", None),
    "error": ("sr upscale photos/broken.jpg", None),
    "usage-error": ("sr upscale portrait.jpg --size 500", None),
}
"""Command, and what must be on the screen when it is drawn; ``None``: its end."""

IN_DOCS = {"help": 80, "picture": 80, "batch": 80, "training-end": 80}
"""Screens in the documentation, and their columns."""

pyte.graphics.TEXT[2] = "+blink"  # pyte doesn't know dim text, and nothing here blinks


def run(command: str, *, columns: int, color: bool, until: str | None, folder: Path) -> pyte.Screen:
    """The screen of a command in a terminal, at its end or when ``until`` is on it."""
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **({} if color else {"NO_COLOR": "1"})}
    with subprocess.Popen(
        command, shell=True, cwd=folder, env=env, stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        try:
            while output := os.read(main, 2**16):
                stream.feed(output)
                if until and re.search(until, "\n".join(screen.display)):
                    os.killpg(process.pid, signal.SIGKILL)
                    break
        except OSError as error:  # the other end is closed
            if error.errno != errno.EIO:
                raise
    os.close(main)
    return screen


def draw(screen: pyte.Screen, command: str, file: Path) -> None:
    """Write the screen as SVG, below the command that made it."""
    end = max((y for y, line in enumerate(screen.display) if line.strip()), default=0)
    console = Console(record=True, width=screen.columns, file=open(os.devnull, "w"), highlight=False)  # noqa: SIM115, PTH123
    console.print(Text(f"$ {command}", style="bold"), soft_wrap=False)
    for y in range(end + 1):
        line = Text()
        for look, chars in itertools.groupby((screen.buffer[y][x] for x in range(screen.columns)), _style_of):
            line.append("".join(char.data for char in chars), look)
        line.rstrip()
        console.print(line, no_wrap=True)
    svg = console.export_svg(title="", theme=SVG_EXPORT_THEME, unique_id="sr")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # from another server
    file.write_text(svg.replace("Fira Code, monospace", "'DejaVu Sans Mono', monospace"), encoding="utf-8")


@functools.cache
def style(char: pyte.screens.Char) -> Style:
    """The style of a character."""

    def named(color: str) -> str | None:
        if color == "default":
            return None
        if re.fullmatch("[0-9a-f]{6}", color):
            return f"#{color}"
        return color.replace("brown", "yellow").replace("bright", "bright_")

    return Style(
        color=named(char.fg),
        bgcolor=named(char.bg),
        bold=char.bold,
        italic=char.italics,
        underline=char.underscore,
        reverse=char.reverse,
        dim=char.blink,
    )


def _style_of(char: pyte.screens.Char) -> Style:
    return style(char._replace(data=""))


def prepare(folder: Path) -> None:
    """The files that the commands work on."""
    photos = folder / "photos"
    photos.mkdir()
    for i, name in enumerate(("astronaut", "chelsea", "coffee", "rocket")):
        photo = Image.fromarray(getattr(skimage.data, name)()[..., :3])
        photo.reduce(2).save(photos / f"{name}.jpg", quality=90)
        photo.crop((60, 30, 300, 210)).save(photos / f"{name}-detail.png")
        if i == 0:
            photo.crop((140, 0, 332, 192)).save(folder / "portrait.jpg", quality=75)
    broken = (photos / "coffee.jpg").read_bytes()
    (photos / "broken.jpg").write_bytes(broken[:100])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIR")
    parser.add_argument("--only", nargs="*", default=list(SCREENS))
    asked = parser.parse_args()
    target = asked.all or ROOT / "docs" / "images" / "screens"
    target.mkdir(parents=True, exist_ok=True)
    for name, (command, until) in SCREENS.items():
        if name not in asked.only or not (asked.all or name in IN_DOCS):
            continue
        kinds = [(80, True), (80, False), (120, True), (120, False)] if asked.all else [(IN_DOCS[name], True)]
        for columns, color in kinds:
            folder = Path(tempfile.mkdtemp())
            prepare(folder)
            screen = run(command, columns=columns, color=color, until=until, folder=folder)
            suffix = f"-{columns}{'' if color else '-plain'}" if asked.all else ""
            draw(screen, command, target / f"{name}{suffix}.svg")
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
