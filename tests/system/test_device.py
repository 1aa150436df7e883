import os
import platform
import re
from pathlib import Path

import psutil
import pytest
import torch

from sr_cli.errors import DeviceError
from sr_cli.system import device
from sr_cli.system import memory as machine

GIB = 2**30


def test_auto_is_the_first_device_there_is():
    assert str(device.choose()) == device.available()[0]


@pytest.mark.parametrize("name", device.available())
def test_every_available_device_can_be_chosen_and_computes(name):
    chosen = device.choose(name)
    assert torch.ones(2, device=chosen).sum().item() == 2
    assert torch.ones(2, device=chosen).device == chosen


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "cuda:", "cuda:-1", "cpu:0", "CPU", "cuda:1.5", "mps:7", "\n"])
def test_a_device_that_is_not_there_is_refused_in_one_line_that_names_those_that_are(name):
    with pytest.raises(DeviceError) as error:
        device.choose(name)
    message = str(error.value)
    assert "\n" not in message
    assert "auto" in message
    assert all(present in message for present in device.available())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_absent_cuda_is_refused_with_the_reason():
    with pytest.raises(DeviceError, match=r"built without CUDA|no GPU"):
        device.choose("cuda")


def test_a_cpu_computes_in_float32_unless_it_has_fast_bfloat16_or_is_told_otherwise():
    cpu = torch.device("cpu")
    assert device.dtype_for(cpu) == (torch.bfloat16 if device.has_fast_bfloat16() else torch.float32)
    assert device.dtype_for(cpu, bfloat16=lambda: False) == torch.float32
    assert device.dtype_for(cpu, "bfloat16") == torch.bfloat16
    assert device.dtype_for(cpu, "float16") == torch.float16


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux tells what a CPU can do")
def test_bfloat16_is_multiplied_by_amx_and_avx512():
    flags = Path("/proc/cpuinfo").read_text().split()
    if not hasattr(torch.cpu, "get_capabilities"):
        assert not device.has_fast_bfloat16()
    elif platform.machine() == "x86_64":
        assert device.has_amx() == ("amx_bf16" in flags)
        assert device.has_fast_bfloat16() == bool({"amx_bf16", "avx512_bf16"} & set(flags))


@pytest.mark.parametrize("name", ["half", "float64", ""])
def test_an_unknown_dtype_is_nonsense(name):
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        device.dtype_for(torch.device("cpu"), name)


@pytest.mark.parametrize("name", device.available())
def test_free_memory_lies_between_nothing_and_everything(name):
    free = device.free_memory(device.choose(name))
    assert free is not None
    if name == "cpu":
        assert 0 < free <= machine.memory().total <= psutil.virtual_memory().total


def test_nobody_knows_the_free_memory_of_a_device_without_any():
    assert device.free_memory(torch.device("meta")) is None


def control_group(root, path, limit, used, cache=0, *, version):
    """Write the files of a memory control group."""
    folder = (root if version == 2 else root / "memory") / path
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}[version]
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    prefix = "total_" if version == 1 else ""
    (folder / "memory.stat").write_text(f"{prefix}anon 1\n{prefix}inactive_file {cache}\n")


def memory_of(tmp_path, membership):
    file = tmp_path / "cgroup"
    file.write_text(membership)
    return list(machine.cgroup_memory(file, tmp_path / "fs"))


@pytest.mark.parametrize(("version", "membership"), [(1, "9:cpu,cpuacct:/\n4:memory:/job\n"), (2, "0::/job\n")])
def test_a_control_group_bounds_memory(tmp_path, version, membership):
    control_group(tmp_path / "fs", "job", 2 * GIB, GIB, version=version)
    assert memory_of(tmp_path, membership) == [machine.Memory(total=2 * GIB, available=GIB)]


@pytest.mark.parametrize(("version", "membership"), [(1, "4:memory:/job\n"), (2, "0::/job\n")])
def test_cache_that_the_kernel_would_give_back_is_available(tmp_path, version, membership):
    control_group(tmp_path / "fs", "job", 2 * GIB, 2 * GIB, GIB, version=version)
    assert memory_of(tmp_path, membership) == [machine.Memory(total=2 * GIB, available=GIB)]


def test_the_groups_above_bound_memory_too(tmp_path):
    control_group(tmp_path / "fs", "slice", GIB, 0, version=2)
    control_group(tmp_path / "fs", "slice/job", 2 * GIB, 0, version=2)
    assert machine.Memory(GIB, GIB) in memory_of(tmp_path, "0::/slice/job\n")


def test_in_a_container_the_mounted_root_bounds_memory(tmp_path):
    control_group(tmp_path / "fs", "", GIB, 0, version=1)
    assert memory_of(tmp_path, "4:memory:/docker/0123abc\n") == [machine.Memory(GIB, GIB)]


@pytest.mark.parametrize(("version", "limit"), [(2, "max"), (1, 2**63 - 4096)])
def test_no_limit_bounds_nothing(tmp_path, version, limit):
    control_group(tmp_path / "fs", "job", limit, GIB, version=version)
    assert memory_of(tmp_path, "0::/job\n4:memory:/job\n") == []


def test_a_machine_without_control_groups_has_no_bounds(tmp_path):
    assert list(machine.cgroup_memory(tmp_path / "absent", tmp_path)) == []


def test_the_cpu_has_the_name_that_the_kernel_gives(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 1\nmodel name\t: A CPU: 3.2 GHz\n\nprocessor\t: 1\n")
    assert machine.cpu_name(cpuinfo) == "A CPU: 3.2 GHz"


@pytest.mark.parametrize("content", ["", "processor : 0\nmodel name :\n", None])
def test_a_cpu_without_a_name_still_has_an_architecture(tmp_path, content):
    cpuinfo = tmp_path / "cpuinfo"
    if content is not None:
        cpuinfo.write_text(content)
    assert machine.cpu_name(cpuinfo).strip()


@pytest.mark.parametrize(
    ("membership", "files", "allowed"),
    [
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/box/inner", {"box/inner/cpu.max": "max 100000", "box/cpu.max": "100000 100000"}, 1),
        ("0::/gone/in/this/container", {"cpu.max": "50000 100000"}, 1),
        ("3:cpu,cpuacct:/box", {"cpu/box/cpu.cfs_quota_us": "100000", "cpu/box/cpu.cfs_period_us": "100000"}, 1),
        ("3:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_a_control_group_s_quota_bounds_the_cpus(tmp_path, membership, files, allowed):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "cgroup").write_text(membership + "\n")
    assert machine.cpus(tmp_path / "cgroup", tmp_path) == (allowed or len(os.sched_getaffinity(0)))
