"""``sr upscale``: images in, larger images out."""

from pathlib import Path
from typing import Annotated

import typer

from sr_cli import console
from sr_cli.config import DEFAULT_MODEL
from sr_cli.errors import ImageError, UsageError


def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="IMAGE|FOLDER…", help="Images, or folders of images.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the results; beside the images by default.")
    ] = None,
    model: Annotated[str, typer.Option(help="Weights: a name, or a .safetensors file.")] = DEFAULT_MODEL,
    scale: Annotated[int | None, typer.Option(help="How many times larger: must be the model's.")] = None,
    tile: Annotated[int, typer.Option(help="Largest side of a tile, in pixels of the input.", min=1)] = 256,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Upscale images."""
    from sr_cli import device as devices
    from sr_cli import images
    from sr_cli.upscaler import Upscaler

    found = [path for given in inputs for path in (images.find_images(given) if given.is_dir() else [given])]
    if not found:
        raise ImageError(f"{inputs[0]}: no images in this folder")
    upscaler = Upscaler.from_pretrained(model, device=devices.choose(device), tile=tile)
    if scale not in (None, upscaler.scale):
        raise UsageError(f"{model} upscales by {upscaler.scale}, not by {scale}")
    for path in found:
        target = (output or path.parent) / f"{path.stem}_{upscaler.scale}x{path.suffix}"
        images.write(upscaler.upscale_picture(images.read(path)), target)
        typer.echo(target)
        console.note(f"{path}: done")
