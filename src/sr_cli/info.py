"""What ``sr info`` reports: versions, devices, the state of CPU and GPUs, and the weights."""

import os
import platform
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata

import psutil

from sr_cli import __version__, weights
from sr_cli.errors import WeightsError
from sr_cli.system.memory import memory
from sr_cli.system.telemetry import Reading, device_reader, nvidia, rapl


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that PyTorch can use.

    Attributes:
        id: as ``--device`` takes it, such as ``cuda:0``.
        dtype: the dtype that ``auto`` chooses on it.
    """

    id: str
    name: str
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """The CPU and the memory.

    Attributes:
        cores: physical cores, if known.
        threads: hardware threads, if known.
        usable_threads: hardware threads that this process may use.
        utilization: of the whole CPU, in [0, 1].
        memory_total, memory_available: bytes.
        temperature: degrees Celsius.
        power: watts.
        energy: whether its energy can be measured, and if not, why.
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
    """Named weights; ``size`` is that of the file on this machine in bytes, ``None`` if it is missing."""

    name: str
    kind: str
    state: weights.State
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The folder of downloaded weights.

    Attributes:
        entries: all named weights, missing ones too.
        other_files: number of files in the folder that belong to no entry; hidden files don't count.
        problem: why the registry cannot be read, if so.
    """

    folder: str
    exists: bool
    entries: tuple[StoredWeights, ...]
    other_files: int
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class SystemInfo:
    """Everything that ``sr info`` reports.

    Attributes:
        versions: by package; ``None`` for packages that are not installed.
        devices: the first is the one that ``auto`` chooses.
        gpus: NVIDIA GPUs that the driver sees.
        gpu_absence: why there are none, as part of a sentence.
        notes: warnings of PyTorch about the devices.
    """

    versions: dict[str, str | None]
    system: str
    devices: tuple[Device, ...]
    cpu: Cpu
    gpus: tuple[Reading, ...]
    gpu_absence: str | None
    cache: Cache
    notes: tuple[str, ...]


def collect() -> SystemInfo:
    """Collect everything. What is missing is reported in its place and raises nothing."""
    devices, notes = _devices()
    packages = {"sr": __version__, "Python": platform.python_version()}
    return SystemInfo(
        versions={**packages, "torch": _version("torch"), "torchvision": _version("torchvision")},
        system=platform.platform(),
        devices=devices,
        cpu=_cpu(),
        gpus=tuple(nvidia.gpus()),
        gpu_absence=nvidia.absence(),
        cache=_cache(),
        notes=notes,
    )


def _version(package: str) -> str | None:
    # From the metadata: importing torchvision takes a second.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> tuple[tuple[Device, ...], tuple[str, ...]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            from sr_cli.system import device
        except (ImportError, OSError) as error:
            return (), (f"PyTorch cannot be imported: {error}",)
        devices = []
        for id_ in device.available():
            chosen = device.choose(id_)
            dtype = str(device.dtype_for(chosen)).removeprefix("torch.")
            devices.append(Device(id=id_, name=device.name_of(chosen), dtype=dtype))
    return tuple(devices), tuple(str(warning.message) for warning in caught)


def _cpu() -> Cpu:
    reading, available = device_reader("cpu")(), memory()
    return Cpu(
        name=reading.name,
        cores=psutil.cpu_count(logical=False),
        threads=psutil.cpu_count(),
        usable_threads=len(os.sched_getaffinity(0)) if sys.platform == "linux" else psutil.cpu_count(),
        utilization=reading.utilization,
        memory_total=available.total,
        memory_available=available.available,
        temperature=reading.temperature,
        power=reading.power,
        energy=rapl.status(),
    )


def _cache() -> Cache:
    folder, problem, known = weights.data_dir(), None, []
    try:
        known = list(weights.entries().values())
    except WeightsError as error:
        problem = str(error)
    stored, expected = [], {weights.user_registry_path()}
    for entry in known:
        path = weights.path_of(entry)
        expected.add(path)
        size = path.stat().st_size if path.is_file() else None
        stored.append(StoredWeights(name=entry.name, kind=entry.kind, state=weights.state(entry), size=size))
    others = [path for path in folder.glob("[!.]*") if path.is_file() and path not in expected]
    return Cache(
        folder=str(folder),
        exists=folder.is_dir(),
        entries=tuple(stored),
        other_files=len(others),
        problem=problem,
    )
