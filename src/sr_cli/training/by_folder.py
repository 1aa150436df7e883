"""A training of a folder of photos: what ``sr train`` and `sr_cli.train` share."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sr_cli import weights
from sr_cli.config import TrainConfig, by_option
from sr_cli.data import Photos
from sr_cli.errors import UsageError, as_usage_error
from sr_cli.losses.parse import feature_layers, parse_loss
from sr_cli.networks.vgg import load_vgg_state
from sr_cli.system import device as devices
from sr_cli.system.atomic_files import atomic_write
from sr_cli.system.distributed import ALONE, Group
from sr_cli.training.loop import make_batches
from sr_cli.training.loop import train as steps_of
from sr_cli.training.provenance import file_record
from sr_cli.training.run_folder import check_free
from sr_cli.training.runs import TrainingRun
from sr_cli.training.settings import fresh_config, resumed_config
from sr_cli.training.state import Stop, TrainStep
from sr_cli.training.teacher import Teacher
from sr_cli.training.validation import draw_pairs, validation_count
from sr_cli.upscaling.load import find_weights, settings_of_file

RUNS = Path("runs")
"""The folder of the runs, if no other is named."""

Locate = Callable[[str, weights.Kind], Path]
"""From the name of weights to their file."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that is ready to begin, or to go on. See `sr_cli.training.loop.train` for the attributes."""

    config: TrainConfig
    photos: Photos
    device: torch.device
    run: Path
    vgg_state: Mapping[str, Tensor] | None
    init: Path | None
    resume: bool
    about: Mapping[str, Any]
    notes: Mapping[str, Any]

    def steps(self, *, stop: Stop, group: Group = ALONE, tensorboard: bool = False) -> Iterator[TrainStep]:
        """`sr_cli.training.loop.train` of this job."""
        return steps_of(**vars(self), stop=stop, group=group, tensorboard=tensorboard)

    def draw_first_batch(self, file: Path) -> None:
        """Draw the pairs of the first step, and the teacher's targets, if there is a teacher, into a PNG.

        Raises:
            UsageError: ``file`` doesn't end with ``.png``, or see `Teacher.load`.
            OutputError: it cannot be written.
        """
        if file.suffix.lower() != ".png":
            raise UsageError(f"--show-pairs {file}: the name has to end with .png")
        teacher = Teacher.load(self.config, self.device)
        to_train_on, _ = self.photos.split(validation_count(self.config, len(self.photos)), seed=self.config.seed)
        pairs = make_batches(self.config, to_train_on).pairs_of(0)
        sheet = draw_pairs(pairs, self.config.scale, degradation=self.config.degradation, teacher=teacher)
        with atomic_write(file) as content:
            Image.fromarray(sheet).save(content, "PNG")


def prepare(
    photos: Path | None,
    given: Mapping[str, Any],
    *,
    run: Path | None = None,
    runs_dir: Path = RUNS,
    resume: bool = False,
    lr_folders: Sequence[Path] = (),
    init: str | None = None,
    loss_weights: str | None = None,
    device: torch.device,
    command: str | None = None,
    carbon_intensity: float | None = None,
    locate: Locate = lambda name, kind: weights.locate(name, kind=kind),
    only_pairs: bool = False,
) -> Job:
    """Find and check what a training needs, before it makes anything; an `SrError` for what is wrong with it.

    Args:
        photos: folder of HR photos; ``None``: that of the run that is resumed.
        given: settings of `TrainConfig` that differ from the network's recipe, or from those of the run.
        run: the run's folder; ``None``: ``ARCH-xSCALE`` in ``runs_dir``.
        lr_folders: LR of the photos, by the same names.
        init: weights to start from: a name or a file.
        loss_weights: VGG-16, if the loss needs it: a name or a file.
        command: what to record as the command that begins or continues the run.
        carbon_intensity: grams of CO2e per kWh.
        locate: finds weights by their name.
        only_pairs: nothing will be trained, so neither the folder of the run nor a loss network matters.
    """
    before: dict[str, Any] = {}  # config.json of the run that is resumed
    if resume:
        assert run is not None
        config, before = resumed_config(run, dict(given))
        photos = photos or Path(before["data"]["folder"])
        lr_folders = lr_folders or [Path(each) for each in before["data"].get("lr_folders", [])]
        loss_weights = loss_weights or before.get("loss_weights")
        carbon_intensity = before.get("carbon_intensity") if carbon_intensity is None else carbon_intensity
    else:
        if init and "arch" not in given:
            given = settings_of_file(find_weights(init)) | dict(given)
        config = fresh_config({**given, **({"degradation": "given"} if lr_folders else {})})
        run = run or runs_dir / f"{config.arch.rpartition(':')[2]}-x{config.scale}"
        if not only_pairs:
            check_free(run)
    if photos is None:
        raise UsageError("name a folder of photos")
    if (config.degradation == "given") != bool(lr_folders):
        raise UsageError("--lr-folder and --degradation given need each other")
    vgg_file, layers = None, feature_layers(parse_loss(config.loss))
    if layers and not only_pairs:
        named = loss_weights or "vgg16"
        vgg_file = Path(named) if weights.is_path(named) else locate(named, "loss network")
    if config.best in ("lpips", "dists"):
        locate("vgg16", "loss network")
        locate(config.best, "metric")
    init_file = find_weights(init) if init else None
    if init and init_file == Path(init):
        init = str(Path(init).absolute())
    found = Photos.below(
        photos,
        min_side=config.crop_size,
        cache_bytes=int(config.cache_gib * 2**30),
        lr_folders=lr_folders,
        scale=config.scale,
    )
    return Job(
        config=config,
        photos=found,
        device=device,
        run=run,
        vgg_state=load_vgg_state(vgg_file, layers) if vgg_file else None,
        init=init_file,
        resume=resume,
        about={
            **_commands(before, command),
            "data": {"photos": len(found)},
            "loss_network": vgg_file and vgg_file.name,
            "init": before.get("init") if before else init,
        },
        notes={**file_record("loss_weights", vgg_file), "carbon_intensity": carbon_intensity},
    )


def train(
    photos: str | Path | None = None,
    *,
    run: str | Path | None = None,
    resume: bool = False,
    lr_folders: Sequence[str | Path] = (),
    init: str | Path | None = None,
    loss_weights: str | Path | None = None,
    device: str = "auto",
    on_step: Callable[[TrainStep], None] = lambda _: None,
    **settings: Any,
) -> TrainingRun:
    """Train a network on a folder of photos, as ``sr train`` does, and record everything in the folder of the run.

    Ctrl-C, or "interrupt" in a notebook, ends it after the current step and saves; ``resume`` continues it.

    Args:
        photos: folder of HR photos, searched recursively; with ``resume``, that of the run by default.
        run: folder of the run; by default ``runs/ARCH-xSCALE``.
        resume: continue ``run``, whose settings stay but for those that say when it ends, such as ``steps``.
        lr_folders: LR of the photos, by the same names; otherwise LR is made by the setting ``degradation``.
        init: weights to start from: a name, a file, or the folder of a run.
        loss_weights: VGG-16 weights of the loss, a name or a file; by default those of ``sr download-weights vgg16``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        on_step: called after every step.
        settings: of `TrainConfig` or by the names of options, such as ``arch="compact"`` (the default),
            ``steps=1000``, ``time="30m"``, ``batch_size=8``; the others are those of the network's recipe.

    Returns:
        What the run has come to, which a notebook shows with its curves.

    Raises:
        UsageError: a setting is unknown or invalid.
        ImageError: there are no usable photos.
        WeightsError: weights to start from, of the loss or of the teacher are missing or damaged.
        DeviceError: the device is absent.
        TrainingError: the run exists already, or there is none to resume, or a loss is not finite.
        OutputError: the disk is full; the last state is intact.
    """
    if resume and run is None:
        raise UsageError("resume continues a run: name its folder")
    if lr_folders and "degradation" in settings:
        raise UsageError("degradation makes LR from HR; leave it out with lr_folders")
    job = prepare(
        None if photos is None else Path(photos),
        _by_field(settings),
        run=None if run is None else Path(run),
        resume=resume,
        lr_folders=[Path(folder) for folder in lr_folders],
        init=None if init is None else str(init),
        loss_weights=None if loss_weights is None else str(loss_weights),
        device=devices.choose(device),
    )
    stop = Stop()
    with _stop_on_interrupt(stop):
        for step in job.steps(stop=stop):
            on_step(step)
    return TrainingRun.read(job.run)


def _by_field(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their fields of `TrainConfig`, with text parsed as that of an option."""
    known, settings = by_option(TrainConfig), dict[str, Any]()
    for name, value in given.items():
        each = known.get(name)
        field, parse = (each.name, each.metadata["parse"]) if each else (name, None)
        if field in settings:
            raise UsageError(f"{name} is set twice")
        with as_usage_error(f"{name}: "):
            settings[field] = parse(value) if parse and isinstance(value, str) else value
    return settings


@contextmanager
def _stop_on_interrupt(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C end a training in good order, where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        if stop.wanted:
            raise KeyboardInterrupt
        stop.wanted = True

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _commands(before: Mapping[str, Any], command: str | None) -> dict[str, Any]:
    """The command that began the run, and those that resumed it."""
    if not before:
        return {"command": command}
    resumed = [each.get("command") for each in before.get("resumed", [])]
    return {"command": before.get("command"), "resumed_by": [*resumed, command]}
