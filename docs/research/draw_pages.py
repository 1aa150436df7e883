"""Draw pictures of text, line art and charts to train on; photos hardly contain any.

    python -m pip install font-source-sans-pro font-source-serif-pro font-fredoka-one font-amatic-sc
    python docs/research/draw_pages.py pages --count 96

The fonts are free (SIL Open Font License); those that are installed are used, besides Pillow's own. The same packages
and the same --seed draw the same pictures. They are drawn at several times their size, then downscaled.
"""

import argparse
import importlib
import math
import random
import string
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONTS = {
    "font_source_sans_pro": ("SourceSansPro", "SourceSansProIt", "SourceSansProSemibold", "SourceSansProBlack"),
    "font_source_serif_pro": ("SourceSerifPro", "SourceSerifProIt", "SourceSerifProSemibold"),
    "font_fredoka_one": ("FredokaOne",),
    "font_amatic_sc": ("AmaticSCBold",),
}
SIDE = 480
Color = tuple[int, int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    fonts = font_files()
    print(f"{len(fonts)} fonts besides Pillow's own")
    for number in range(options.count):
        page = Page(random.Random(f"{options.seed} {number}"), fonts)
        page.draw().save(options.folder / f"page-{number:03}.png")


def font_files() -> list[str]:
    """The files of the installed fonts."""
    found = []
    for package, names in FONTS.items():
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError:
            continue
        found += [getattr(module, name) for name in names]
    return found


class Page:
    """One picture.

    Args:
        rng: everything random comes from it.
        fonts: files to choose from.
    """

    def __init__(self, rng: random.Random, fonts: list[str]) -> None:
        self.rng, self.fonts = rng, fonts
        self.factor = rng.choice((2, 3, 4))
        self.side = SIDE * self.factor
        self.dark = rng.random() < 0.3
        self.image = Image.new("RGB", (self.side, self.side), self.paper())
        self.pen = ImageDraw.Draw(self.image)

    def draw(self) -> Image.Image:
        """The finished picture, of `SIDE` × `SIDE` pixels."""
        kinds = self.rng.choices((self.paragraphs, self.shapes, self.chart, self.strokes), (5, 2, 2, 2), k=4)
        for kind, (left, top) in zip(kinds, ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
            half = self.side // 2
            if self.rng.random() < 0.4:
                self.pen.rectangle((left * half, top * half, (left + 1) * half, (top + 1) * half), self.paper())
            kind(left * half, top * half, half)
        return self.image.resize((SIDE, SIDE), self.rng.choice((Image.Resampling.BOX, Image.Resampling.LANCZOS)))

    def paper(self) -> Color:
        low, high = (0, 90) if self.dark else (190, 255)
        if self.rng.random() < 0.4:
            return (0, 0, 0) if self.dark else (255, 255, 255)
        return tuple(self.rng.randint(low, high) for _ in range(3))  # type: ignore[return-value]

    def ink(self) -> Color:
        low, high = (150, 255) if self.dark else (0, 130)
        if self.rng.random() < 0.4:
            return (255, 255, 255) if self.dark else (0, 0, 0)
        return tuple(self.rng.randint(low, high) for _ in range(3))  # type: ignore[return-value]

    def paragraphs(self, left: int, top: int, side: int) -> None:
        """Lines of text of one font and size, cut off where the block ends."""
        size = self.factor * round(8 * 2 ** self.rng.uniform(0, 2.3))
        font = self.font(size)
        block = Image.new("RGB", (side, side))
        mask = Image.new("L", (side, side))
        pen, y = ImageDraw.Draw(mask), size // 2
        while y < side:
            pen.text((size // 2, y), " ".join(self.word() for _ in range(12)), 255, font=font)
            y += round(size * self.rng.uniform(1.2, 1.5))
        block.paste(self.ink(), (0, 0, side, side))
        if self.rng.random() < 0.15:
            mask = mask.rotate(self.rng.uniform(-20, 20), Image.Resampling.BICUBIC)
        self.image.paste(block, (left, top), mask)

    def font(self, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        choice = self.rng.randrange(len(self.fonts) + 1)
        return (
            ImageFont.truetype(self.fonts[choice], size) if choice < len(self.fonts) else ImageFont.load_default(size)
        )

    def word(self) -> str:
        letters = "".join(self.rng.choices("etaoinshrdlucmfwypvbgkqjxz", range(26, 0, -1), k=self.rng.randint(1, 9)))
        kind = self.rng.random()
        if kind < 0.1:
            return "".join(self.rng.choices(string.digits, k=self.rng.randint(1, 5)))
        if kind < 0.2:
            return letters.upper()
        return (letters.capitalize() if kind < 0.35 else letters) + (
            self.rng.choice(".,;:!?)%&") if kind > 0.85 else ""
        )

    def shapes(self, left: int, top: int, side: int) -> None:
        """Filled and outlined figures on top of each other."""
        for _ in range(self.rng.randint(4, 14)):
            x, y = left + self.rng.randrange(side), top + self.rng.randrange(side)
            radius = self.rng.randint(side // 40, side // 4)
            fill = self.ink() if self.rng.random() < 0.5 else None
            width = self.factor * self.rng.randint(1, 4)
            corners = self.rng.choice((0, 3, 4, 5, 6))
            if corners:
                self.pen.regular_polygon((x, y, radius), corners, self.rng.uniform(0, 360), fill, self.ink(), width)
            else:
                self.pen.ellipse((x - radius, y - radius // 2, x + radius, y + radius // 2), fill, self.ink(), width)

    def chart(self, left: int, top: int, side: int) -> None:
        """Axes, a grid, bars or a curve, and numbers beside them."""
        line, margin, font = self.factor, side // 8, self.font(side // 20)
        for step in range(6):
            at = margin + step * (side - 2 * margin) // 5
            self.pen.line((left + margin, top + at, left + side - margin, top + at), self.ink(), line)
            self.pen.text((left + line, top + at - side // 40), self.word()[:4], self.ink(), font=font)
        heights = [self.rng.uniform(0, side - 2 * margin) for _ in range(self.rng.randint(5, 12))]
        width = (side - 2 * margin) / len(heights)
        points = [(left + margin + width * (i + 0.5), top + side - margin - h) for i, h in enumerate(heights)]
        if self.rng.random() < 0.5:
            self.pen.line(points, self.ink(), 2 * line, joint="curve")
        else:
            for x, y in points:
                self.pen.rectangle((x - width / 3, y, x + width / 3, top + side - margin), self.ink())

    def strokes(self, left: int, top: int, side: int) -> None:
        """Pen strokes and hatching."""
        for _ in range(self.rng.randint(3, 9)):
            x, y = left + self.rng.randrange(side), top + self.rng.randrange(side)
            turn, angle = self.rng.uniform(-0.15, 0.15), self.rng.uniform(0, 2 * math.pi)
            points = []
            for _ in range(40):
                points.append((x, y))
                x, y, angle = x + side / 60 * math.cos(angle), y + side / 60 * math.sin(angle), angle + turn
            self.pen.line(points, self.ink(), round(self.factor * self.rng.uniform(0.7, 4)), joint="curve")
        gap, ink = self.factor * self.rng.uniform(2.5, 9), self.ink()
        x, y, angle = left + self.rng.randrange(side), top + self.rng.randrange(side), self.rng.uniform(0, math.pi)
        for i in range(20):
            dx, dy = -math.sin(angle) * gap * i, math.cos(angle) * gap * i
            end = (x + dx + side / 3 * math.cos(angle), y + dy + side / 3 * math.sin(angle))
            self.pen.line((x + dx, y + dy, *end), ink, round(self.factor * self.rng.uniform(0.8, 1.2)))


if __name__ == "__main__":
    main()
