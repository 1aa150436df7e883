"""``sr upscale``: images in, larger images out."""

import sys
from collections.abc import Callable
from typing import TypeVar

import typer

from sr_cli import console
from sr_cli.cli import upscale_options as options
from sr_cli.cli.upscale_batch import PIPE, Loading, Request, Telling, run_batch, run_pipe
from sr_cli.errors import UsageError
from sr_cli.system.cpu_tuning import limit_openmp_spin

T = TypeVar("T")


def upscale(
    inputs: options.Inputs = None,
    *,
    output: options.Output = None,
    model: options.Model = None,
    scale: options.Scale = None,
    size: options.Size = None,
    width: options.Width = None,
    height: options.Height = None,
    max_pixels: options.MaxPixels = None,
    recursive: options.Recursive = False,
    from_file: options.FromFile = None,
    name: options.Name = None,
    exist: options.IfExist = None,
    shard: options.ShardOption = None,
    jobs: options.Jobs = 2,
    dry_run: options.DryRun = False,
    format: options.FormatName = None,
    quality: options.Quality = None,
    png_level: options.PngLevel = None,
    metadata: options.MetadataChoice = "keep",
    animate: options.Animate = False,
    color_match: options.ColorMatchChoice = "auto",
    ensemble: options.Ensemble = False,
    strength: options.Strength = None,
    tile: options.TileSize = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    max_input: options.MaxInput = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    preview: options.Preview = False,
    compare: options.Compare = None,
) -> None:
    """Upscale pictures. The inputs are never touched, and results appear whole or not at all."""
    _check_pipes(inputs or [], from_file, output, as_json=as_json, dry_run=dry_run)
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other")
    if preview and not console.err.is_terminal:
        preview = False
        if not quiet:
            console.note("--preview needs a terminal; --compare FILE writes a picture instead")
    limit_openmp_spin()

    from sr_cli.images import MAX_PIXELS
    from sr_cli.images.codecs.png_write import DEFAULT_LEVEL
    from sr_cli.upscaling.batch import shards
    from sr_cli.upscaling.batch import target_size as sizes
    from sr_cli.upscaling.batch.settings import Settings

    target = _read(
        lambda: sizes.Target(
            scale=scale, size=sizes.read_size(size) if size else None, width=width, height=height,
            max_pixels=sizes.read_pixels(max_pixels) if max_pixels else None,
        )
    )  # fmt: skip
    settings = Settings(
        target=target,
        format=format and _format(format),
        quality=quality,
        png_level=DEFAULT_LEVEL if png_level is None else png_level,
        keep_metadata=metadata == "keep",
        animate=animate,
        threads=jobs,
        max_input_pixels=int(_read(lambda: sizes.read_pixels(max_input))) if max_input else MAX_PIXELS,
        measure_energy=as_json,
    )
    request = Request(
        inputs=inputs or [], from_file=from_file, recursive=recursive, output=output, name=name,
        exist=exist,
        shard=_read(lambda: shards.read_shard(shard)) if shard else shards.torchrun_shard() or shards.Shard(),
    )  # fmt: skip
    loading = Loading(
        model=model, scale=scale, device=device, dtype=dtype, tile=_tile(tile),
        color_match=color_match, ensemble=ensemble, strength=strength, quiet=quiet,
    )  # fmt: skip
    telling = Telling(as_json=as_json, quiet=quiet, verbose=verbose, preview=preview, compare=compare)
    if PIPE in (output, *(inputs or [])):
        code = run_pipe(request, loading, settings, telling)
    else:
        code = run_batch(request, loading, settings, telling, dry_run=dry_run)
    if code:
        raise typer.Exit(code)


def _check_pipes(inputs: list[str], from_file: str | None, output: str | None, *, as_json: bool, dry_run: bool) -> None:
    if not inputs and from_file is None:
        raise UsageError("nothing to upscale: give pictures or folders, - for a pipe, or --from-file")
    if PIPE in inputs and output is None:
        raise UsageError("- needs -o FILE, or -o - for a pipe")
    if PIPE in inputs and (len(inputs) > 1 or from_file is not None):
        raise UsageError("- reads one picture from a pipe, and goes with no other input")
    if output == PIPE and (len(inputs) != 1 or from_file is not None):
        raise UsageError("-o - is for one picture")
    if output == PIPE and (as_json or sys.stdout.isatty()):
        raise UsageError("-o - writes the picture to stdout: send that to a file or a pipe, and leave out --json")
    if dry_run and PIPE in (output, *inputs):
        raise UsageError("--dry-run is for files, not for pipes")


def _read(read: Callable[[], T]) -> T:
    """What ``read`` gives; nonsense becomes a line for the user."""
    try:
        return read()
    except ValueError as error:
        raise UsageError(str(error)) from error


def _tile(text: str) -> int | str | None:
    if text == "auto":
        return text
    if text == "off":
        return None
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise UsageError(f"--tile {text}: give auto, off, or a number of pixels")


def _format(text: str) -> str:
    from sr_cli.images import FORMATS, SUFFIXES

    found = SUFFIXES.get("." + text.lower().lstrip("."))
    if found is None:
        known = ", ".join(each.suffixes[0][1:] for each in FORMATS.values())
        raise UsageError(f"--format {text}: no such format; known are {known}")
    return found
