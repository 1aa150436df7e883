"""How ``sr info`` looks."""

from rich.markup import escape
from rich.table import Table

from sr_cli import console
from sr_cli.info import Cache, Cpu, SystemInfo
from sr_cli.system.quantities import UNAVAILABLE, celsius, megabytes, percent, watts
from sr_cli.system.telemetry import Reading

Section = tuple[str, list[tuple[str, str]]]
"""A heading, and labels with their values."""


def show(info: SystemInfo) -> None:
    """Print a table on a terminal, elsewhere a line for each value."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    lines: list[str] = []
    for heading, rows in sections(info):
        if lines:
            table.add_row()
        table.add_row(f"[cyan]{heading}[/]")
        for label, value in rows:
            table.add_row(escape(console.one_line(label)), escape(console.one_line(value)))
            lines.append(escape(console.one_line(f"{heading} {label}".rstrip() + f": {value}")))
    console.out.print(table if console.out.is_terminal else "\n".join(lines))


def show_markdown(info: SystemInfo) -> None:
    """Print a list per section, to paste into a bug report; without the weights' folder, which names the user."""
    for heading, rows in sections(info):
        if heading != "Weights":
            lines = (console.one_line(f"- {label}: {value}" if label else f"- {value}") for label, value in rows)
            console.out.print(escape("\n".join((f"**{heading}**", "", *lines, ""))))


def sections(info: SystemInfo) -> list[Section]:
    """The information as text."""
    versions = [(package, version or "not installed") for package, version in info.versions.items()]
    devices = [(device.id, f"{device.name}, {device.dtype}") for device in info.devices]
    devices += [("auto", device.id) for device in info.devices[:1]]
    gpus = [("GPU", [("", f"No NVIDIA GPU can be read: {info.gpu_absence or 'none answers'}.")])]
    if info.gpus:
        gpus = [(f"GPU {i}" if len(info.gpus) > 1 else "GPU", _gpu(gpu)) for i, gpu in enumerate(info.gpus)]
    return [
        ("Version", [*versions, ("system", info.system)]),
        ("Device", [*devices, *(("note", note) for note in info.notes)]),
        ("CPU", _cpu(info.cpu)),
        *gpus,
        ("Weights", _weights(info.cache)),
        *([("Hints", [(str(i), hint) for i, hint in enumerate(info.hints, 1)])] if info.hints else []),
    ]


def _cpu(cpu: Cpu) -> list[tuple[str, str]]:
    usable = f", {cpu.usable_threads} for this process" if cpu.usable_threads != cpu.threads else ""
    return [
        ("name", cpu.name),
        ("cores", str(cpu.cores or UNAVAILABLE)),
        ("threads", f"{cpu.threads or UNAVAILABLE}{usable}"),
        ("utilization", percent(cpu.utilization)),
        ("memory", f"{megabytes(cpu.memory_available)} free of {megabytes(cpu.memory_total)}"),
        ("temperature", celsius(cpu.temperature)),
        ("power", watts(cpu.power)),
        ("energy counter", cpu.energy),
    ]


def _gpu(gpu: Reading) -> list[tuple[str, str]]:
    known = gpu.memory_used is not None and gpu.memory_total is not None
    without_counter = UNAVAILABLE if gpu.power is None else "none; energy is power integrated over time"
    return [
        ("name", gpu.name),
        ("driver", gpu.driver or UNAVAILABLE),
        ("utilization", percent(gpu.utilization)),
        ("memory", f"{megabytes(gpu.memory_used)} used of {megabytes(gpu.memory_total)}" if known else UNAVAILABLE),
        ("temperature", celsius(gpu.temperature)),
        ("power", watts(gpu.power)),
        ("energy counter", "readable (NVML)" if gpu.counters else without_counter),
    ]


def _weights(cache: Cache) -> list[tuple[str, str]]:
    rows = [("folder", cache.folder if cache.exists else f"{cache.folder} (not created yet)")]
    if cache.problem:
        rows.append(("problem", cache.problem))
    for entry in cache.entries:
        size = "" if entry.size is None else f", {megabytes(entry.size)}"
        rows.append((entry.name, f"{entry.kind}, {entry.state}{size}"))
    if cache.other_files:
        rows.append(("other files", str(cache.other_files)))
    return rows
