"""``sr train``: a folder of photos in, a run's folder with weights out."""

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_cli import console
from sr_cli.cli.app import Command
from sr_cli.cli.options import option, options, show_defaults, yes_option
from sr_cli.cli.settings import read_settings, run_folder
from sr_cli.config import DATA, DEFAULT_ARCH, LEARNING, MACHINE, NETWORK, RUN, TrainConfig, recipe
from sr_cli.console import training as view
from sr_cli.console.weights import obtain, obtain_model
from sr_cli.errors import EXIT_INTERRUPTED, TrainingError, UsageError
from sr_cli.signals import on_signals

if TYPE_CHECKING:
    from sr_cli.training.state import Stop


class TrainCommand(Command):
    """``sr train``, whose ``--help`` shows the defaults of the recipe that ``--arch`` names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = re.search(r"(?:^|\0)--arch[=\0]([^\0]*)", "\0".join(args))
        with suppress(UsageError, ValueError, TypeError):  # they are reported when the command runs
            show_defaults(self.params, recipe(named[1] if named else DEFAULT_ARCH))
        return super().parse_args(ctx, args)


@options(TrainConfig)
def train(
    photos: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="HR photos, also in subfolders; not needed with --resume.")
    ] = None,
    *,
    lr_folder: Annotated[
        list[Path] | None,
        option(
            "LR of the photos, by the same names; of several folders one is drawn per patch.",
            DATA,
            "--lr-folder",
            metavar="FOLDER",
        ),
    ] = None,
    given: dict[str, Any],
    init: Annotated[
        str | None,
        option(
            "Weights to start from, of any scale of the network, or of another project.",
            NETWORK,
            "--init",
            metavar="NAME|FILE|URL",
        ),
    ] = None,
    yes: Annotated[bool, yes_option(NETWORK)] = False,
    loss_weights: Annotated[
        str | None,
        option("VGG-16 weights of the loss.", LEARNING, "--loss-weights", metavar="NAME|FILE", shown="vgg16"),
    ] = None,
    config: Annotated[
        Path | None,
        option("Settings by the names of their options, which override it.", RUN, "--config", metavar="FILE.toml"),
    ] = None,
    name: Annotated[str | None, option("Name of the run.", RUN, "--name", metavar="NAME", shown="ARCH-xSCALE")] = None,
    runs_dir: Annotated[Path, option("Folder of the runs.", RUN, "--runs-dir", metavar="DIR")] = Path("runs"),
    resume: Annotated[
        str | None,
        option("Continue a run; --lr, --epochs, --steps … override its settings.", RUN, "--resume", metavar="RUN"),
    ] = None,
    tensorboard: Annotated[
        bool, option("Also write curves and samples for TensorBoard.", RUN, "--tensorboard")
    ] = False,
    carbon_intensity: Annotated[
        float | None,
        option(
            "Grams of CO2e per kWh, to estimate the run's emissions.",
            RUN,
            "--carbon-intensity",
            metavar="G_PER_KWH",
            min=0,
        ),
    ] = None,
    quiet: Annotated[bool, option("Print only errors.", RUN, "--quiet", "-q")] = False,
    show_pairs: Annotated[
        Path | None, option("Draw the first batch into this file, and end.", DATA, "--show-pairs", metavar="FILE.png")
    ] = None,
    device: Annotated[str, option("auto, cpu, cuda, cuda:1, mps.", MACHINE, "--device", metavar="NAME")] = "auto",
) -> None:
    """Train a network on a folder of photos.

    Everything about the run goes to runs/NAME/. The defaults shown are the recipe of --arch.

    On several GPUs or machines: torchrun --nproc-per-node=N -m sr_cli train …
    """
    from sr_cli.system import device as devices
    from sr_cli.system.distributed import join_group, local_device
    from sr_cli.training.by_folder import prepare
    from sr_cli.training.loop import where_it_stands
    from sr_cli.training.state import Stop

    if config is not None:
        given = read_settings(config) | given
    run = runs_dir / name if name else None
    if resume is not None:
        if name or init:
            raise UsageError("--name and --init are for new runs; leave them out with --resume")
        run = run_folder(resume, runs_dir)
    elif photos is None:
        raise UsageError("name a folder of photos, or a run to --resume")
    else:
        if lr_folder and "degradation" in given:
            raise UsageError("--degradation makes LR from HR; leave it out with --lr-folder")
        init = init and obtain_model(init, yes=yes)
        if given.get("teacher"):
            given["teacher"] = obtain_model(given["teacher"], yes=yes)
    if tensorboard and find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs TensorBoard: python -m pip install tensorboard")
    job = prepare(
        photos,
        given,
        run=run,
        runs_dir=runs_dir,
        resume=resume is not None,
        lr_folders=lr_folder or (),
        init=init,
        loss_weights=loss_weights,
        device=local_device(devices.choose(device)),
        command=shlex.join(["sr", *sys.argv[1:]]),
        carbon_intensity=carbon_intensity,
        locate=obtain,
        only_pairs=show_pairs is not None,
    )
    settings, run = job.config, job.run
    if show_pairs is not None:
        job.draw_first_batch(show_pairs)
        typer.echo(show_pairs)
        return
    stop = Stop()
    with join_group(job.device) as group:
        progress = view.TrainingProgress(settings, shown=group.writes and not quiet)
        hint = f"sr train --resume {shlex.quote(str(run))}{view.arch_option(settings.arch)}"
        with (
            save_on_signals(stop, resume=hint, tell=group.writes),
            progress.live(job.photos, run=run, device=job.device),
        ):
            for step in job.steps(stop=stop, group=group, tensorboard=tensorboard):
                progress.show(step)
        done, limits = group.broadcast(where_it_stands(run, settings, job.photos) if group.writes else None)
        reached = [name for name, is_reached in limits.items() if is_reached]
        why = f"ended by {_limits(settings, reached)} at step {done}" if reached else f"stopped after step {done}"
        if group.writes:
            if not quiet:
                progress.show_end(run, why=why, g_per_kwh=job.notes["carbon_intensity"])
            if reached:
                typer.echo(run / "model.safetensors")
            else:
                console.note(f"saved; to continue: {hint}")
    if not reached:
        raise typer.Exit(EXIT_INTERRUPTED)
    missed = [name for name in ("steps", "epochs", "hours") if name in given and not limits[name]]
    if missed and job.resume and given.keys().isdisjoint(reached):
        raise TrainingError(f"{run}: {why}, before {_limits(settings, missed)}; raise the former, too")


@contextmanager
def save_on_signals(stop: "Stop", *, resume: str, tell: bool = True) -> Iterator[None]:
    """End a training: the first signal sets ``stop.wanted``, the second ends the process without saving.

    Args:
        resume: the command that continues from what was saved.
        tell: whether to print what happens.
    """

    def save(number: signal.Signals) -> None:
        stop.wanted = True
        if tell:
            again = " Press Ctrl-C again to quit without saving." if number == signal.SIGINT else ""
            console.note(f"Stopping after this step and saving.{again}")

    def quit_at_once() -> None:
        console.err.show_cursor()
        if tell:
            console.note(f"stopped without saving; to continue from the last state: {resume}")
        os._exit(EXIT_INTERRUPTED)

    with on_signals(save, quit_at_once):
        yield


def _limits(settings: TrainConfig, names: Iterable[str]) -> str:
    from sr_cli.training.runs import limit_text

    return " and ".join(limit_text(name, getattr(settings, name)) for name in names)
