"""What is read from a GPU is what ``nvidia-smi`` reads in the same second, and each process sees its own memory."""

import os
import shutil
import subprocess
import sys
import time

import pytest
import torch

from sr_cli import info
from sr_cli.console import info as view
from sr_cli.system import device as devices
from sr_cli.system.device import peak_memory, reset_peak_memory
from sr_cli.system.telemetry import EnergyMeter, device_reader, nvidia

pytestmark = pytest.mark.gpu

MIB = 1 << 20

HOLD = """
import sys, torch
from sr_cli.system.telemetry import device_reader
read = device_reader("cuda:0")
idle = read().memory_used
held = torch.ones(int(sys.argv[1]) << 20, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print(idle, read().memory_used, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def neighbor():
    """Starts a process that holds so many MiB; returns what it sees of its memory before and then, in bytes."""
    processes = []

    def start(mib):
        command = [sys.executable, "-c", HOLD, str(mib)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return [int(number) for number in process.stdout.readline().split()]

    yield start
    for process in processes:
        process.communicate()


def smi(*fields):
    if shutil.which("nvidia-smi") is None:
        pytest.skip("there is no nvidia-smi here")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "--id=0"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(", ")


def busy(device, seconds):
    a = torch.rand(4096, 4096, device=device)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        for _ in range(20):
            a @ a
        torch.cuda.synchronize(device)


def test_readings_are_those_of_nvidia_smi(gpu):
    busy(gpu, 2)
    (before,) = nvidia.gpus()[:1]
    name, driver, memory, total, power, celsius = smi(
        "name", "driver_version", "memory.used", "memory.total", "power.draw", "temperature.gpu"
    )
    (after,) = nvidia.gpus()[:1]
    assert (before.name, before.driver) == (name, driver)
    assert before.memory_total / MIB == pytest.approx(int(total), abs=1)
    for figure, told, slack in (("memory_used", int(memory) * MIB, 64 * MIB), ("temperature", int(celsius), 3),
                                ("power", float(power), 40)):  # fmt: skip
        values = getattr(before, figure), getattr(after, figure)
        assert min(values) - slack <= told <= max(values) + slack, figure


def test_each_process_sees_its_own_memory_and_what_the_others_leave(gpu, neighbor):
    free = devices.free_memory(gpu)
    (idle, one), (_, three) = neighbor(1024), neighbor(3072)
    assert 1024 * MIB <= one < 2500 * MIB  # with the CUDA context
    assert three - one == pytest.approx(2048 * MIB, abs=64 * MIB)
    assert idle < 1024 * MIB
    assert free - devices.free_memory(gpu) == pytest.approx(one + three, abs=256 * MIB)
    torch.cuda.empty_cache()  # or the next tensor would fit into what this process holds already
    mine = device_reader(gpu)
    before = mine().memory_used
    held = torch.ones(512 * MIB, dtype=torch.uint8, device=gpu)
    assert mine().memory_used - before == pytest.approx(held.nbytes, abs=64 * MIB)
    assert nvidia.gpus()[0].memory_used >= one + three + mine().memory_used


def test_nvml_knows_this_process(gpu):
    held = torch.ones(MIB, device=gpu)
    handle = nvidia.handle(str(torch.cuda.get_device_properties(gpu).uuid))
    known = nvidia.memory_of_process(handle, os.getpid())
    assert known is not None and known > held.nbytes


def test_the_meter_counts_the_energy_of_a_busy_gpu(gpu):
    with EnergyMeter(gpu, interval=0.2) as meter:
        busy(gpu, 3)
    report = meter.report()
    assert report.device == torch.cuda.get_device_name(gpu)
    assert report.method == "energy counter"
    assert report.mean_watts == pytest.approx(3600 * report.watt_hours / report.measured_seconds)
    limit = float(smi("power.limit")[0])
    assert 0.2 * limit < report.mean_watts < 1.1 * limit
    assert report.mean_watts <= report.peak_watts * 1.2
    assert 0.3 < report.mean_utilization <= 1
    assert report.peak_memory > 3 * 4 * 4096**2


def test_the_peak_is_that_since_the_reset(gpu):
    torch.cuda.empty_cache()
    base = reset_peak_memory(gpu)
    held = torch.empty(100 * MIB, dtype=torch.uint8, device=gpu)
    del held
    assert peak_memory(gpu) - base == 100 * MIB
    assert reset_peak_memory(gpu) == base
    assert peak_memory(gpu) == base


def test_sr_info_shows_the_gpu(gpu):
    found = info.collect()
    assert found.devices[0].id == "cuda:0" and found.devices[0].dtype == "float16"
    assert found.gpus[0].name == found.devices[0].name == torch.cuda.get_device_name(gpu)
    assert found.gpu_absence is None
    shown = str(dict(view.sections(found)))
    assert found.gpus[0].driver in shown and " W" in shown and "°C" in shown
