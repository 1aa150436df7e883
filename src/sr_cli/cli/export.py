"""``sr export``."""

from pathlib import Path
from typing import Annotated

import typer

from sr_cli import console


def export(
    weights: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A model's name, or a .safetensors file of sr train.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The .onnx file.", show_default="NAME.onnx")
    ] = None,
    *,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGE.MODULE:CLASS", help="Network class of the weights, if it comes from another package."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace a file of that name.")] = False,
) -> None:
    """Write a model as ONNX, for other programs.

    It takes images of any size, RGB in [0, 1] in and out, and is checked against torch.

    Needs: python -m pip install onnx onnxruntime onnxscript
    """
    from sr_cli.networks.checkpoint import load_network
    from sr_cli.networks.onnx import export_onnx
    from sr_cli.upscaling.load import find_weights

    source = find_weights(weights)
    path = output or Path(f"{Path(weights).name if Path(weights).is_dir() else source.stem}.onnx")
    network, header = load_network(source, arch=arch)
    difference = export_onnx(network, path, header=header, overwrite=force)
    console.note(f"differs from torch by at most {difference:.0e}")
    typer.echo(path)
