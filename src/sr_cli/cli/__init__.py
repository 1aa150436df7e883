"""The command line, one file per command: each parses, calls the core and prints."""

from sr_cli.cli.app import app
from sr_cli.cli.download_weights import download_weights
from sr_cli.cli.evaluate import evaluate
from sr_cli.cli.export import export
from sr_cli.cli.info import info
from sr_cli.cli.models import models
from sr_cli.cli.train import TrainCommand, train
from sr_cli.cli.upscale import upscale

app.command("upscale")(upscale)
app.command("train", cls=TrainCommand)(train)
app.command("evaluate")(evaluate)
app.command("download-weights")(download_weights)
app.command("export")(export)
app.command("models")(models)
app.command("info")(info)

__all__ = ["app"]
