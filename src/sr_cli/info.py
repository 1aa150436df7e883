"""What ``sr info`` reports: versions, devices, the state of CPU and GPUs, and the weights."""

import os
import platform
import re
import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from sr_cli import __version__, weights
from sr_cli.errors import WeightsError
from sr_cli.system.hints import EXTRAS, Setup, hints
from sr_cli.system.memory import memory
from sr_cli.system.packages import version_of
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
        hints: what could be better, see `sr_cli.system.hints`.
    """

    versions: dict[str, str | None]
    system: str
    devices: tuple[Device, ...]
    cpu: Cpu
    gpus: tuple[Reading, ...]
    gpu_absence: str | None
    cache: Cache
    notes: tuple[str, ...]
    hints: tuple[str, ...]


def collect() -> SystemInfo:
    """Collect everything. What is missing is reported in its place and raises nothing."""
    devices, notes = _devices()
    gpus = tuple(nvidia.gpus())
    packages = {"sr": __version__, "Python": platform.python_version()}
    return SystemInfo(
        versions={**packages, "torch": version_of("torch"), "torchvision": version_of("torchvision")},
        system=platform.platform(),
        devices=devices,
        cpu=_cpu(),
        gpus=gpus,
        gpu_absence=nvidia.absence(),
        cache=_cache(),
        notes=notes,
        hints=tuple(hints(_setup(devices, nvidia_gpus=len(gpus)))),
    )


def _setup(devices: tuple[Device, ...], *, nvidia_gpus: int) -> Setup:
    version, cuda, instructions, has_bfloat16 = None, None, "", False
    if devices:  # PyTorch can be imported
        import torch

        from sr_cli.system.device import has_fast_bfloat16

        version, cuda = str(torch.__version__), torch.version.cuda
        instructions, has_bfloat16 = torch.backends.cpu.get_cpu_capability(), has_fast_bfloat16()
    return Setup(
        torch=version,
        torchvision=_build("torchvision"),
        cuda=cuda,
        uses_gpu=any(device.id != "cpu" for device in devices),
        nvidia_gpus=nvidia_gpus,
        instructions=instructions,
        is_x86=platform.machine().lower() in ("x86_64", "amd64"),
        has_bfloat16=has_bfloat16,
        missing=tuple(module for module in EXTRAS if find_spec(module) is None),
        environment=os.environ,
        load=psutil.getloadavg()[0],
        cpus=psutil.cpu_count() or 1,
    )


def _build(package: str) -> str | None:
    """The version with the build, such as ``0.24.1+cpu``, which the metadata of PyPI's wheels lack."""
    found = find_spec(package)
    file = Path(found.origin).with_name("version.py") if found and found.origin else None
    stated = re.search(r"__version__ = '([^']+)'", file.read_text("utf-8")) if file and file.is_file() else None
    return stated[1] if stated else version_of(package)


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
        folder=str(folder), exists=folder.is_dir(), entries=tuple(stored), other_files=len(others), problem=problem
    )
