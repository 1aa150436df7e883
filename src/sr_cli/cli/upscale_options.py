"""The options of ``sr upscale``."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sr_cli.config import DEFAULT_MODEL, ColorMatch, Exist


def _option(panel: str | None, *names: str, help: str, metavar: str | None = None, **limits: int) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, **limits)  # type: ignore[arg-type]


_SIZE, _BATCH, _HOW, _TELL = "What size", "Many pictures", "How", "What to say"

Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE|FOLDER|PATTERN…", help="Pictures, folders, quoted patterns; - for a pipe."),
]
Output = Annotated[
    str | None,
    _option(
        None, "-o", "--output", metavar="PATH",
        help="Folder or file of the results; - for a pipe; by default beside the inputs.",
    ),
]  # fmt: skip
Model = Annotated[
    str | None,
    _option(
        None,
        metavar="NAME|FILE",
        help=f"Weights, ours or another project's; by default {DEFAULT_MODEL}, or by --scale.",
    ),
]

Scale = Annotated[float | None, _option(_SIZE, metavar="N", help="How many times larger: 2, 3, 4, 8, or any other.")]
Size = Annotated[str | None, _option(_SIZE, metavar="WxH", help="Width and height in pixels, exactly.")]
Width = Annotated[int | None, _option(_SIZE, metavar="N", help="Width in pixels; the proportions stay.")]
Height = Annotated[int | None, _option(_SIZE, metavar="N", help="Height in pixels; the proportions stay.")]
MaxPixels = Annotated[str | None, _option(_SIZE, metavar="N", help="The most pixels of a result, such as 20M.")]

Recursive = Annotated[
    bool, _option(_BATCH, "--recursive", "-r", help="Folders within folders too; -o gets the same tree.")
]
FromFile = Annotated[
    str | None,
    _option(_BATCH, metavar="FILE", help="A list of pictures, one a line or null-separated; - for stdin."),
]
Name = Annotated[
    str | None,
    _option(
        _BATCH, metavar="TEMPLATE",
        help="Names of the results: {stem} {ext} {scale} {model} {width} {height}; by default {stem}_{scale}x.{ext}.",
    ),
]  # fmt: skip
IfExist = Annotated[
    Exist | None,
    _option(
        _BATCH, "--exist", help="What to do about results that are there; by default fail for files named, else skip."
    ),
]
ShardOption = Annotated[str | None, _option(_BATCH, "--shard", metavar="I/N", help="Only the I-th of N shares.")]
Jobs = Annotated[
    int, _option(_BATCH, "--jobs", "-j", min=1, max=64, help="Threads that decode, and as many that encode.")
]
DryRun = Annotated[bool, _option(_BATCH, "--dry-run", help="Only say what would be done, and what it would take.")]

FormatName = Annotated[
    str | None,
    _option(_HOW, "--format", metavar="FORMAT", help="png, jpg, webp, tiff, avif …; by default the input's."),
]
Quality = Annotated[int | None, _option(_HOW, min=1, max=100, help="Of formats with loss.")]
PngLevel = Annotated[
    int | None, _option(_HOW, "--png-level", min=0, max=9, help="Of PNG, from fast to small; the same pixels.")
]
MetadataChoice = Annotated[
    Literal["keep", "strip"],
    _option(_HOW, "--metadata", help="EXIF, XMP and the like; the color profile always stays."),
]
Animate = Annotated[bool, _option(_HOW, "--animate", help="Every frame of an animation, not only the first.")]
ColorMatchChoice = Annotated[
    ColorMatch, _option(_HOW, "--color-match", help="Give the result the input's colors back.")
]
Ensemble = Annotated[bool, _option(_HOW, "--ensemble", help="The mean over 8 flips and rotations, 8 times slower.")]
Strength = Annotated[
    float | None,
    _option(
        _HOW, "--strength", min=0, max=1, help="From 0, true to the input, to 1, crisp; without --model of photo-x4."
    ),
]
TileSize = Annotated[
    str, _option(_HOW, "--tile", metavar="auto|N|off", help="Largest side of a tile, in pixels of the input.")
]
Device = Annotated[str, _option(_HOW, metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[
    Literal["auto", "float32", "float16", "bfloat16"],
    _option(_HOW, help="What to compute in; auto is what is fastest there."),
]
MaxInput = Annotated[
    str | None, _option(_HOW, metavar="N", help="The most pixels that an input may have; by default 268M.")
]

AsJson = Annotated[bool, _option(_TELL, "--json", help="A JSON object for each picture, and one for all.")]
Quiet = Annotated[bool, _option(_TELL, "--quiet", "-q", help="Only errors.")]
Verbose = Annotated[bool, _option(_TELL, "--verbose", "-v", help="More about each picture.")]
Preview = Annotated[bool, _option(_TELL, "--preview", help="Show a place before and after, in the terminal.")]
Compare = Annotated[
    Path | None,
    _option(_TELL, metavar="FILE", help="Write a place of the input, bicubic and result side by side."),
]
