"""``sr train``: a folder of photos in, a run with weights out."""

import shlex
import sys
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_cli import console
from sr_cli.cli.settings import fresh_config, hours, option, read_settings, resumed_config, run_folder
from sr_cli.cli.signals import stopped_by_signals
from sr_cli.config import BatchNorm, Optimizer, TrainConfig
from sr_cli.console import training as view
from sr_cli.console.weights import obtain
from sr_cli.errors import EXIT_INTERRUPTED, TrainingError, UsageError

if TYPE_CHECKING:
    from sr_cli.system.distributed import Group


class _Arch(str, Enum):
    johnson = "johnson"
    compact = "compact"


_Crop = Enum("_Crop", {"random": "random", "center": "center"}, type=str)  # str has a method named center


class _Initialization(str, Enum):
    random = "random"
    bilinear = "bilinear"


class _Degradation(str, Enum):
    bicubic = "bicubic"
    paper = "paper"
    photo = "photo"


class _Schedule(str, Enum):
    constant = "constant"
    cosine = "cosine"


class _Precision(str, Enum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class _OnNan(str, Enum):
    stop = "stop"
    rollback = "rollback"


_NETWORK, _LEARNING, _DATA, _RUN, _MACHINE = "Network", "Learning", "Data", "Run", "Machine"


def train(
    photos: Annotated[
        Path | None, typer.Argument(help="Folder of HR photos, searched recursively; a resumed run knows its own.")
    ] = None,
    arch: Annotated[
        _Arch | None,
        typer.Option(help="The report's network, or our own small one (default).", rich_help_panel=_NETWORK),
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="How many times larger: 2, 4 or 8 (compact: 3 too).", rich_help_panel=_NETWORK)
    ] = None,
    width: Annotated[int | None, typer.Option(help="Channels of compact.", rich_help_panel=_NETWORK)] = None,
    depth: Annotated[int | None, typer.Option(help="Inner convolutions of compact.", rich_help_panel=_NETWORK)] = None,
    initialization: Annotated[
        _Initialization | None,
        typer.Option(help="How johnson starts: at random, or as a bilinear enlargement.", rich_help_panel=_NETWORK),
    ] = None,
    batch_norm: Annotated[
        BatchNorm | None,
        typer.Option(help="Statistics of johnson: each batch's, or those it began with.", rich_help_panel=_NETWORK),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Weights to start from: a name or a file, maybe of another scale.", rich_help_panel=_NETWORK),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="johnson, johnson+pixel, pixel, psnr, perceptual, or terms: feature:relu2_2=1,relu3_3=0.5+pixel:l1=1",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    pixel_loss: Annotated[
        bool, typer.Option("--pixel-loss", help="Short for --loss johnson+pixel.", rich_help_panel=_LEARNING)
    ] = False,
    loss_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="VGG-16 weights of the loss.", rich_help_panel=_LEARNING)
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="End after so many patches of every photo.", rich_help_panel=_LEARNING)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="End after so many steps.", rich_help_panel=_LEARNING)] = None,
    time: Annotated[
        str | None, typer.Option(metavar="2h30m", help="End after this time.", rich_help_panel=_LEARNING)
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="End after so many validations without a better one.", rich_help_panel=_LEARNING)
    ] = None,
    optimizer: Annotated[
        Optimizer | None,
        typer.Option(help="Adam, or Muon for the inner kernels: learns more a step.", rich_help_panel=_LEARNING),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=_LEARNING)] = None,
    schedule: Annotated[
        _Schedule | None, typer.Option(help="How the learning rate goes on.", rich_help_panel=_LEARNING)
    ] = None,
    warmup: Annotated[
        int | None, typer.Option(help="Steps of linear rise of the learning rate.", rich_help_panel=_LEARNING)
    ] = None,
    output_lr: Annotated[
        float | None,
        typer.Option(help="Learning rate of the output layer, as a part of --lr.", rich_help_panel=_LEARNING),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(help="Decay of the moving average of the weights; 0 for none.", rich_help_panel=_LEARNING),
    ] = None,
    symmetry: Annotated[
        float | None,
        typer.Option(
            help="Agree with the moving average's result for the patch turned or mirrored: weight.",
            rich_help_panel=_LEARNING,
        ),
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.", rich_help_panel=_LEARNING)] = None,
    seed: Annotated[
        int | None, typer.Option(help="Everything random follows from it.", rich_help_panel=_LEARNING)
    ] = None,
    on_nan: Annotated[
        _OnNan | None,
        typer.Option(help="At a loss that is not finite: stop, or go back and halve --lr.", rich_help_panel=_LEARNING),
    ] = None,
    crop_size: Annotated[
        int | None, typer.Option(help="Side of the HR patches, in pixels.", rich_help_panel=_DATA)
    ] = None,
    crop: Annotated[_Crop | None, typer.Option(help="Where patches are taken from.", rich_help_panel=_DATA)] = None,
    reduction: Annotated[
        float | None,
        typer.Option(
            help="Reduce half of the photos at random, to this part of their size at least; 1: none.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Patches a step, in all processes together.", rich_help_panel=_DATA)
    ] = None,
    degradation: Annotated[
        _Degradation | None, typer.Option(help="How LR is made from HR.", rich_help_panel=_DATA)
    ] = None,
    validation_photos: Annotated[
        int | None,
        typer.Option(
            help="Photos held out to choose the best weights by; a twentieth, 16 at most.", rich_help_panel=_DATA
        ),
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(help="Steps between validations.", rich_help_panel=_DATA)
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that load photos.", rich_help_panel=_DATA)] = None,
    cache: Annotated[
        float | None,
        typer.Option(metavar="GIB", help="Memory for decoded photos, in GiB.", rich_help_panel=_DATA),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Settings, named as the options; the options win.", rich_help_panel=_RUN
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; ARCH-xSCALE.", rich_help_panel=_RUN)] = None,
    runs_dir: Annotated[Path, typer.Option(help="Folder of the runs.", rich_help_panel=_RUN)] = Path("runs"),
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run: its name or folder. --lr, --epochs, --steps … override.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    save_minutes: Annotated[
        float | None, typer.Option(help="Minutes between two savings of the state.", rich_help_panel=_RUN)
    ] = None,
    keep: Annotated[int | None, typer.Option(help="States that are kept.", rich_help_panel=_RUN)] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves and samples for TensorBoard too.", rich_help_panel=_RUN)
    ] = False,
    carbon_intensity: Annotated[
        float | None,
        typer.Option(metavar="G_PER_KWH", min=0, help="Grams of CO2e a kWh: tell the run's too.", rich_help_panel=_RUN),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=_MACHINE)] = "auto",
    precision: Annotated[
        _Precision | None, typer.Option(help="What to compute in; the weights stay float32.", rich_help_panel=_MACHINE)
    ] = None,
    channels_last: Annotated[
        bool | None,
        typer.Option(
            "--channels-last/--no-channels-last", help="Lay tensors out channels innermost.", rich_help_panel=_MACHINE
        ),
    ] = None,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile.", rich_help_panel=_MACHINE)
    ] = None,
    deterministic: Annotated[
        bool | None,
        typer.Option(
            "--deterministic/--no-deterministic",
            help="Only algorithms that repeat bit for bit.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
) -> None:
    """Train a network on a folder of photos; everything about the run goes to runs/NAME/.

    Several GPUs or machines: torchrun --nproc-per-node=N -m sr_cli train …
    """
    if pixel_loss and loss is not None:
        raise UsageError("--pixel-loss is short for --loss johnson+pixel; give one of them")
    given: dict[str, Any] = {
        "arch": arch,
        "scale": scale,
        "width": width,
        "depth": depth,
        "initialization": initialization,
        "batch_norm": batch_norm,
        "crop_size": crop_size,
        "crop": crop,
        "reduction": reduction,
        "batch_size": batch_size,
        "epochs": epochs,
        "steps": steps,
        "hours": time and hours(time),
        "optimizer": optimizer,
        "lr": lr,
        "patience": patience,
        "schedule": schedule,
        "warmup": warmup,
        "output_lr": output_lr,
        "loss": "johnson+pixel" if pixel_loss else loss,
        "degradation": degradation,
        "ema": ema,
        "symmetry": symmetry,
        "clip": clip,
        "seed": seed,
        "validation_photos": validation_photos,
        "validate_every": validate_every,
        "on_nan": on_nan,
        "workers": workers,
        "cache_gib": cache,
        "save_minutes": save_minutes,
        "keep": keep,
        "precision": precision,
        "channels_last": channels_last,
        "compile": compiled,
        "deterministic": deterministic,
    }
    given = {
        key: value.value if isinstance(value, Enum) else value for key, value in given.items() if value is not None
    }
    if config is not None:
        given = read_settings(config) | given
    if resume is None:
        settings = fresh_config(given)
        run, before = runs_dir / (name or f"{settings.arch}-x{settings.scale}"), None
        if photos is None:
            raise UsageError("which photos? Name their folder, or a run to --resume")
    else:
        if name or init:
            raise UsageError(f"--resume goes on with a run as it is: without {'--name' if name else '--init'}")
        run = run_folder(resume, runs_dir)
        settings, before = resumed_config(run, given)
        photos = photos or Path(before["data"]["folder"])
        recorded = before.get("loss_weights")
        loss_weights = loss_weights or (Path(recorded) if recorded else None)
        if carbon_intensity is None:
            carbon_intensity = before.get("carbon_intensity")
    _train(
        settings,
        photos,
        run,
        before=before,
        loss_weights=loss_weights,
        init=init,
        device_name=device,
        tensorboard=tensorboard,
        g_per_kwh=carbon_intensity,
    )


def _train(
    config: TrainConfig,
    folder: Path,
    run: Path,
    *,
    before: dict[str, Any] | None,
    loss_weights: Path | None,
    init: str | None,
    device_name: str,
    tensorboard: bool,
    g_per_kwh: float | None,
) -> None:
    """Load what the training needs, run it, show it."""
    from sr_cli import training
    from sr_cli.data import Photos
    from sr_cli.losses.parse import feature_layers, parse_loss
    from sr_cli.networks.vgg import load_vgg_state
    from sr_cli.system import device as devices
    from sr_cli.system import distributed
    from sr_cli.training.run_folder import check_free
    from sr_cli.upscaling.load import find_weights

    if before is None:
        check_free(run)
    if tensorboard and find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs TensorBoard: python -m pip install 'sr-cli[tensorboard]'")
    vgg_file = None
    if feature_layers(parse_loss(config.loss)):
        vgg_file = loss_weights or obtain("vgg16", "loss network")
    vgg_state = load_vgg_state(vgg_file) if vgg_file else None
    notes = _loss_notes(vgg_file, before) | {"carbon_intensity": g_per_kwh}
    device = distributed.own_device(devices.choose(device_name))
    photos = Photos.below(folder, min_side=config.crop_size, cache_bytes=int(config.cache_gib * 2**30))
    about = {
        **_commands(before),
        "data": {"photos": len(photos)},
        "loss_network": vgg_file and vgg_file.name,
        "init": _origin(init) if before is None else before.get("init"),
    }
    with distributed.joined(device) as group:
        if group.writes:
            for path, reason in photos.skipped:
                console.warning(f"{path}: skipped, {reason}")
        stop = training.Stop()
        with (
            stopped_by_signals(stop, resume=f"sr train --resume {shlex.quote(str(run))}", tell=group.writes),
            view.training_progress(config, photos=len(photos), run=run, device=device, shown=group.writes) as progress,
        ):
            for step in training.train(
                config,
                photos,
                device,
                run=run,
                vgg_state=vgg_state,
                init=find_weights(init) if init else None,
                resume=before is not None,
                about=about,
                notes=notes,
                stop=stop,
                group=group,
                tensorboard=tensorboard,
            ):
                progress.show(step)
            interrupted = stop.wanted and not progress.complete
        _tell(run, config, progress, group, interrupted=interrupted, g_per_kwh=g_per_kwh)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _commands(before: dict[str, Any] | None) -> dict[str, Any]:
    """The command that began a run, and those that went on with it."""
    command = shlex.join(["sr", *sys.argv[1:]])
    if before is None:
        return {"command": command}
    resumed = [each.get("command") for each in before.get("resumed", [])]
    return {"command": before.get("command"), "resumed_by": [*resumed, command]}


def _origin(init: str | None) -> str | None:
    """Where the weights to start from are, for those who look for them later: a name, or a file's whole path."""
    from sr_cli.upscaling.load import find_weights

    if init is None or find_weights(init) != Path(init):
        return init
    return str(Path(init).absolute())


def _tell(
    run: Path,
    config: TrainConfig,
    progress: view.TrainingProgress,
    group: "Group",
    *,
    interrupted: bool,
    g_per_kwh: float | None,
) -> None:
    """What there is at the end: the energy, and the weights or the way to go on."""
    if not group.writes:
        return
    if progress.last is None:
        ends = [(name, getattr(config, name)) for name in ("steps", "epochs", "hours", "patience")]
        limits = ", ".join(f"{option(name)} {value:g}{'h' * (name == 'hours')}" for name, value in ends if value)
        console.note(f"{run}: this run has reached its end by {limits}; a larger one makes it longer")
    elif not interrupted and not progress.complete:
        console.note(f"ended by --patience {config.patience}: so many validations without a better one")
    if progress.last is not None and progress.last.energy is not None:
        view.show_energy(progress.last.energy, epochs=progress.epochs, g_per_kwh=g_per_kwh)
    if interrupted:
        console.note(f"saved; to go on: sr train --resume {shlex.quote(str(run))}")
    else:
        typer.echo(run / "model.safetensors")


def _loss_notes(vgg_file: Path | None, before: dict[str, Any] | None) -> dict[str, Any]:
    """Which file the loss network is from; a resumed run must go on with the same.

    Raises:
        TrainingError: it is another one.
    """
    if vgg_file is None:
        return {"loss_weights": None, "loss_weights_sha256": None}
    from sr_cli.weights.receipts import sha256_of

    digest = sha256_of(vgg_file)
    if before is not None and digest != before.get("loss_weights_sha256", digest):
        raise TrainingError(
            f"{vgg_file}: not the loss network that the run began with; name that file by --loss-weights"
        )
    return {"loss_weights": str(vgg_file.absolute()), "loss_weights_sha256": digest}
