"""``sr train``: a folder of photos in, a run with weights out."""

import dataclasses
import re
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from sr_cli import console
from sr_cli.config import RECIPES, TrainConfig
from sr_cli.console.downloads import obtain
from sr_cli.console.training import training_progress
from sr_cli.errors import TrainingError, UsageError

Arch = Enum("Arch", {name: name for name in RECIPES}, type=str)


class _Crop(str, Enum):
    random = "random"
    center = "center"


class _Degradation(str, Enum):
    bicubic = "bicubic"
    paper = "paper"
    photo = "photo"


class _Schedule(str, Enum):
    constant = "constant"
    cosine = "cosine"


def train(
    photos: Annotated[Path, typer.Argument(help="Folder of HR photos, searched recursively.")],
    arch: Annotated[Arch, typer.Option(help="Network: the report's, or our own small one.")] = Arch.compact,  # type: ignore[attr-defined]
    scale: Annotated[int | None, typer.Option(help="How many times larger: 2, 4 or 8 (compact: 3 too).")] = None,
    width: Annotated[int | None, typer.Option(help="Channels of compact.")] = None,
    depth: Annotated[int | None, typer.Option(help="Inner convolutions of compact.")] = None,
    crop_size: Annotated[int | None, typer.Option(help="Side of the HR patches, in pixels.")] = None,
    crop: Annotated[_Crop | None, typer.Option(help="Where patches are taken from.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Patches a step.")] = None,
    epochs: Annotated[float | None, typer.Option(help="End after so many patches of every photo.")] = None,
    steps: Annotated[int | None, typer.Option(help="End after so many steps.")] = None,
    time: Annotated[str | None, typer.Option(metavar="2h30m", help="End after this time.")] = None,
    lr: Annotated[float | None, typer.Option(help="Adam's learning rate.")] = None,
    schedule: Annotated[_Schedule | None, typer.Option(help="How the learning rate goes on.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps of linear rise of the learning rate.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="report, report+pixel, pixel, perceptual, or terms: feature:relu2_2=1,relu3_3=0.5+pixel:l1=1"
        ),
    ] = None,
    pixel_loss: Annotated[bool, typer.Option("--pixel-loss", help="Add the pixel loss: --loss report+pixel.")] = False,
    degradation: Annotated[_Degradation | None, typer.Option(help="How LR is made from HR.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the moving average of the weights; 0 for none.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it.")] = None,
    validation_photos: Annotated[
        int | None, typer.Option(help="Photos held out to choose the best weights by.")
    ] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between validations.")] = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from: a name or a file.")] = None,
    loss_weights: Annotated[Path | None, typer.Option(help="VGG-16 weights of the loss network.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    runs_dir: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of that name.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Train a network on a folder of photos; the weights go to runs/NAME/model.safetensors."""
    if pixel_loss and loss is not None:
        raise UsageError("--pixel-loss is short for --loss report+pixel; give one of them")
    given: dict[str, Any] = {
        "arch": arch.value, "scale": scale, "width": width, "depth": depth, "crop_size": crop_size, "crop": crop,
        "batch_size": batch_size, "epochs": epochs, "steps": steps, "hours": time and hours(time), "lr": lr,
        "schedule": schedule, "warmup": warmup, "loss": "report+pixel" if pixel_loss else loss,
        "degradation": degradation, "ema": ema, "clip": clip, "seed": seed, "validation_photos": validation_photos,
        "validate_every": validate_every,
    }  # fmt: skip
    config = make_config(given)
    run = runs_dir / (name or f"{config.arch}-x{config.scale}")
    if (run / "last.pt").exists() != resume:
        problem = f"{run}: there is no run to resume" if resume else f"{run}: exists; --resume it, or choose a --name"
        raise TrainingError(problem)

    from sr_cli import device as devices
    from sr_cli import training
    from sr_cli.data import Photos
    from sr_cli.losses import feature_layers, load_vgg_state, parse_loss
    from sr_cli.upscaler import weights_file

    vgg_file, vgg_state = None, None
    if feature_layers(parse_loss(config.loss)):
        vgg_file = loss_weights or obtain("vgg16", "loss network")
        vgg_state = load_vgg_state(vgg_file)
    chosen = devices.choose(device)
    found = Photos.below(photos, min_side=config.crop_size, cache_bytes=int(config.cache_gib * 2**30))
    for path, reason in found.skipped:
        console.warning(f"{path}: skipped, {reason}")
    about = {
        "command": shlex.join(["sr", *sys.argv[1:]]),
        "data": {"photos": len(found)},
        "loss_network": vgg_file and vgg_file.name,
    }
    with training_progress(config, photos=len(found), run=run, device=chosen) as progress:
        for step in training.train(
            config, found, chosen, run=run, vgg_state=vgg_state, init=weights_file(init) if init else None,
            resume=resume, about=about,
        ):  # fmt: skip
            progress.show(step)
    typer.echo(run / "model.safetensors")


def make_config(given: dict[str, Any]) -> TrainConfig:
    """The recipe of ``given["arch"]`` with whatever else is given in place of its defaults.

    Raises:
        UsageError: a value makes no sense.
    """
    recipe = RECIPES[given["arch"]]
    changes = {
        key: value.value if isinstance(value, Enum) else value for key, value in given.items() if value is not None
    }
    if not {"epochs", "steps", "hours"}.isdisjoint(changes):
        changes = {"epochs": None, **changes}
    if "scale" in changes and "crop_size" not in changes and recipe.arch == "compact":
        changes["crop_size"] = recipe.crop_size // recipe.scale * changes["scale"]
    try:
        return dataclasses.replace(recipe, **changes)
    except ValueError as error:
        raise UsageError(str(error)) from error


def hours(text: str) -> float:
    """Read a time such as ``2h30m``, ``90m`` or ``45s``, in hours.

    Raises:
        UsageError: the text is no time.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not text:
        raise UsageError(f"{text!r} is no time; write it like 2h30m, 90m or 45s")
    h, m, s = (int(part or 0) for part in match.groups())
    return h + m / 60 + s / 3600
