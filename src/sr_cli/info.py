"""What is here: versions, devices, the machine's state and the weights. The core of ``sr info``."""

import os
import platform
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from sr_cli import weights
from sr_cli.errors import WeightsError
from sr_cli.system import memory as machine
from sr_cli.system import telemetry
from sr_cli.system.telemetry import Reading, nvidia, rapl


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that PyTorch can compute on.

    Attributes:
        id: as ``--device`` takes it, such as ``cuda:0``.
        dtype: what ``auto`` means on it.
    """

    id: str
    name: str
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """The CPU and its memory, in bytes.

    Attributes:
        cores: physical ones; ``None`` where the system doesn't tell.
        threads: hardware threads.
        usable_threads: those that this process may run on.
        utilization: of the whole CPU, 0 to 1.
        temperature: degrees Celsius.
        power: watts.
        energy: whether its energy can be measured, or why not.
    """

    name: str
    cores: int | None
    threads: int | None
    usable_threads: int | None
    utilization: float | None
    memory_total: int
    memory_available: int
    temperature: float | None
    power: float | None
    energy: str


@dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """Weights that have a name; ``size`` is of the file that is here, in bytes, ``None`` without one."""

    name: str
    kind: str
    state: weights.State
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The folder of downloaded weights.

    Attributes:
        entries: all weights that have a name, here or not.
        other_files: how many files the folder has besides; hidden ones are not counted.
        problem: why the registry cannot be read, if so.
    """

    folder: str
    exists: bool
    entries: tuple[StoredWeights, ...]
    other_files: int
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All that ``sr info`` tells.

    Attributes:
        versions: by package; ``None`` for one that isn't installed.
        devices: the first is what ``auto`` takes.
        gpus: NVIDIA GPUs that the driver sees.
        gpu_absence: why there are none, as a part of a sentence.
        notes: what PyTorch warned about when it was asked for devices.
    """

    versions: dict[str, str | None]
    system: str
    devices: tuple[Device, ...]
    cpu: Cpu
    gpus: tuple[Reading, ...]
    gpu_absence: str | None
    cache: Cache
    notes: tuple[str, ...]


def collect() -> Inventory:
    """Look at everything. Nothing here raises for what is missing: it says so in its place."""
    devices, notes = _devices()
    return Inventory(
        versions={
            "sr": _version("sr-cli"),
            "Python": platform.python_version(),
            "torch": _version("torch"),
            "torchvision": _version("torchvision"),
        },
        system=platform.platform(),
        devices=devices,
        cpu=_cpu(),
        gpus=tuple(nvidia.gpus()),
        gpu_absence=nvidia.absence(),
        cache=_cache(),
        notes=notes,
    )


def _version(package: str) -> str | None:
    # Not by importing the package: torchvision alone takes a second.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> tuple[tuple[Device, ...], tuple[str, ...]]:
    """The devices, and what PyTorch has to say about those that it cannot use."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            from sr_cli.system import device
        except (ImportError, OSError) as error:
            return (), (f"PyTorch cannot be loaded: {error}",)
        devices = []
        for id_ in device.available():
            chosen = device.choose(id_)
            dtype = str(device.dtype_for(chosen)).removeprefix("torch.")
            devices.append(Device(id=id_, name=device.name_of(chosen), dtype=dtype))
    return tuple(devices), tuple(str(warning.message) for warning in caught)


def _cpu() -> Cpu:
    reading = telemetry.sample("cpu")
    memory = machine.memory()
    return Cpu(
        name=reading.name,
        cores=psutil.cpu_count(logical=False),
        threads=psutil.cpu_count(),
        usable_threads=len(os.sched_getaffinity(0)) if sys.platform == "linux" else psutil.cpu_count(),
        utilization=reading.utilization,
        memory_total=memory.total,
        memory_available=memory.available,
        temperature=reading.temperature,
        power=reading.power,
        energy=rapl.status(),
    )


def _cache() -> Cache:
    folder = weights.data_dir()
    problem = None
    entries: list[weights.Entry] = []
    try:
        entries = list(weights.entries().values())
    except WeightsError as error:
        problem = str(error)
    named = {weights.user_registry_path(), *(weights.path_of(entry) for entry in entries)}
    return Cache(
        folder=str(folder),
        exists=folder.is_dir(),
        entries=tuple(_stored(entry) for entry in entries),
        other_files=sum(path not in named for path in _files(folder)),
        problem=problem,
    )


def _stored(entry: weights.Entry) -> StoredWeights:
    path = weights.path_of(entry)
    size = path.stat().st_size if path.is_file() else None
    return StoredWeights(name=entry.name, kind=entry.kind, state=weights.state(entry), size=size)


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError:
        return []
