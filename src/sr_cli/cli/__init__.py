"""The command line, one file per command: each parses, calls the core and prints."""

from sr_cli.cli.app import Command, app, examples
from sr_cli.cli.download_weights import download_weights
from sr_cli.cli.evaluate import evaluate
from sr_cli.cli.export import export
from sr_cli.cli.info import info
from sr_cli.cli.models import models
from sr_cli.cli.runs import runs
from sr_cli.cli.serve import serve
from sr_cli.cli.train import TrainCommand, train
from sr_cli.cli.upscale import upscale

_COMMANDS = (
    (upscale, Command, (
        "sr upscale photo.jpg",
        "sr upscale photos -r -o large --scale 2",
        "sr upscale scan.tif --width 6000 --format png",
        "sr upscale film.mp4 -o large.mp4 --height 2160",
    )),
    (train, TrainCommand, (
        "sr train photos --steps 20000",
        "sr train --resume compact-x4 --steps 40000",
        "sr train photos --degradation real --time 8h",
    )),
    (evaluate, Command, (
        "sr evaluate Set5/HR --model compact-x4",
        "sr evaluate photos --model runs/compact-x4 --report page.html",
    )),
    (download_weights, Command, ("sr download-weights --list", "sr download-weights vgg16")),
    (serve, Command, ("sr serve", "sr serve --port 8123 > address")),
    (export, Command, ("sr export photo-x4", "sr export runs/mine/best.safetensors -o mine.onnx")),
    (runs, Command, ("sr runs", "sr runs first second")),
    (models, Command, ("sr models", "sr models photo-x4", "sr models --catalog anime --scale 2 --license free")),
    (info, Command, ("sr info", "sr info --markdown")),
)  # fmt: skip

for _function, _class, _examples in _COMMANDS:
    app.command(cls=_class, epilog=examples(*_examples))(_function)

__all__ = ["app"]
