"""What ``sr info`` shows."""

from rich.markup import escape
from rich.table import Table

from sr_cli import console
from sr_cli.console.quantities import UNAVAILABLE, celsius, part_of, share, watts
from sr_cli.info import Cache, Cpu, Device, Inventory
from sr_cli.system.telemetry import Reading

Section = tuple[str, list[tuple[str, str]]]
"""A heading, and labels with their values."""


def show(inventory: Inventory) -> None:
    """Print the inventory: a table on a terminal, elsewhere a line for each value."""
    found = sections(inventory)
    if console.out.is_terminal:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for number, (heading, rows) in enumerate(found):
            if number:
                table.add_row()
            table.add_row(f"[cyan]{heading}[/]")
            for label, value in rows:
                table.add_row(escape(console.one_line(label)), escape(console.one_line(value)))
        console.out.print(table)
        return
    for heading, rows in found:
        for label, value in rows:
            console.out.print(escape(console.one_line(f"{heading} {label}".rstrip() + f": {value}")))


def sections(inventory: Inventory) -> list[Section]:
    """The inventory in words."""
    return [
        ("Version", _versions(inventory)),
        ("Device", _devices(inventory)),
        ("CPU", _cpu(inventory.cpu)),
        *_gpus(inventory),
        ("Weights", _weights(inventory.cache)),
    ]


def _versions(inventory: Inventory) -> list[tuple[str, str]]:
    rows = [(package, version or "not installed") for package, version in inventory.versions.items()]
    return [*rows, ("system", inventory.system)]


def _devices(inventory: Inventory) -> list[tuple[str, str]]:
    rows = [(device.id, _device(device)) for device in inventory.devices]
    if inventory.devices:
        rows.append(("auto", inventory.devices[0].id))
    return [*rows, *(("note", note) for note in inventory.notes)]


def _device(device: Device) -> str:
    return f"{device.name}, {device.dtype}"


def _cpu(cpu: Cpu) -> list[tuple[str, str]]:
    usable = f", {cpu.usable_threads} for this process" if cpu.usable_threads != cpu.threads else ""
    return [
        ("name", cpu.name),
        ("cores", str(cpu.cores or UNAVAILABLE)),
        ("threads", f"{cpu.threads or UNAVAILABLE}{usable}"),
        ("utilization", share(cpu.utilization)),
        ("memory", part_of(cpu.memory_available, cpu.memory_total, name="free")),
        ("temperature", celsius(cpu.temperature)),
        ("power", watts(cpu.power)),
        ("energy counter", cpu.energy),
    ]


def _gpus(inventory: Inventory) -> list[Section]:
    if not inventory.gpus:
        return [("GPU", [("", f"No NVIDIA GPU can be read: {inventory.gpu_absence or 'none answers'}.")])]
    several = len(inventory.gpus) > 1
    return [(f"GPU {number}" if several else "GPU", _gpu(gpu)) for number, gpu in enumerate(inventory.gpus)]


def _gpu(gpu: Reading) -> list[tuple[str, str]]:
    return [
        ("name", gpu.name),
        ("driver", gpu.driver or UNAVAILABLE),
        ("utilization", share(gpu.utilization)),
        ("memory", part_of(gpu.memory_used, gpu.memory_total, name="used")),
        ("temperature", celsius(gpu.temperature)),
        ("power", watts(gpu.power)),
        ("energy counter", "readable (NVML)" if gpu.counters else _without_counter(gpu)),
    ]


def _without_counter(gpu: Reading) -> str:
    return UNAVAILABLE if gpu.power is None else "none; energy is power integrated over time"


def _weights(cache: Cache) -> list[tuple[str, str]]:
    rows = [("folder", cache.folder if cache.exists else f"{cache.folder} (not made yet)")]
    if cache.problem:
        rows.append(("problem", cache.problem))
    for entry in cache.entries:
        size = "" if entry.size is None else f", {entry.size / 1e6:.1f} MB"
        rows.append((entry.name, f"{entry.kind}, {entry.state}{size}"))
    if cache.other_files:
        rows.append(("other files", str(cache.other_files)))
    return rows
