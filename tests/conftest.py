"""Pictures, networks and weights that the tests share. All are made here; nothing is downloaded."""

import gc
import io
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from support.fast_python import VARIABLE, python

if TYPE_CHECKING:  # the process that only gives tests to others needs no PyTorch
    import torch
    from torch import Tensor

    from sr_cli.networks.base import Network

# Before PyTorch is imported: threads that wait must not take time from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell: programs under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Use several processes, unless ``-n`` says how many.

    Named files run in this process, which starts sooner. Beside a GPU one process runs all: others would take memory
    that tests measure.
    """
    if hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ:
        return  # this is one of them
    named_files = all(Path(argument.partition("::")[0]).is_file() for argument in config.args)
    alone = named_files or config.option.usepdb or Path("/dev/nvidiactl").exists()
    if config.getoption("numprocesses", 0) is None and not alone:
        config.option.numprocesses, config.option.dist = min(os.cpu_count() or 1, 4), "worksteal"
        os.environ[VARIABLE] = python()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect faster: what imports leave is no garbage, and need not be searched for it by every later collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def gpu() -> "torch.device":
    """The first CUDA device."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA GPU here")
    return torch.device("cuda", 0)


@pytest.fixture
def benchmarks() -> Path:
    """The folder with Set5, Set14 and BSD100 (``HR`` and ``LRbicx4`` in each), named by ``SR_BENCHMARKS``."""
    folder = os.environ.get("SR_BENCHMARKS")
    if not folder:
        pytest.skip("SR_BENCHMARKS doesn't name the folder of the standard test sets")
    return Path(folder)


@pytest.fixture(scope="session")
def photo() -> "Tensor":
    """A colorful smooth picture with edges, ``(1, 3, 60, 84)`` in [0, 1]."""
    import torch

    y, x = torch.meshgrid(torch.linspace(0, 1, 60), torch.linspace(0, 1, 84), indexing="ij")
    disc = ((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.08).float()
    stripes = (torch.sin(40 * (x + y)) > 0).float()
    return torch.stack([0.8 * x + 0.2 * disc, 0.7 * y + 0.3 * stripes, 0.5 * disc + 0.4 * x * y])[None]


@pytest.fixture(scope="session")
def photo_files() -> dict[str, bytes]:
    """Six JPEG and PNG photos of 96×80 and up, by name, one of them in a folder."""
    rng, files = np.random.default_rng(0), {}
    for i in range(6):
        small = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((96 + 8 * i, 80 + 8 * i), Image.Resampling.BICUBIC)
        image.save(file := io.BytesIO(), "PNG" if i % 2 else "JPEG")
        files[f"{'below/' * (i == 5)}photo{i}.{'png' if i % 2 else 'jpg'}"] = file.getvalue()
    return files


@pytest.fixture
def photo_folder(tmp_path: Path, photo_files: dict[str, bytes]) -> Path:
    """A folder of `photo_files`."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name, content in photo_files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("this user cannot mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def lively() -> Callable[..., "Network"]:
    """Builds networks in eval mode whose every parameter and statistic matters, as after a training."""
    import torch

    from sr_cli.networks.registry import build

    def make(**architecture: object) -> "Network":
        torch.manual_seed(0)
        network = build(**architecture)  # type: ignore[arg-type]
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.2)
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 1.5)
            elif isinstance(module, torch.nn.Conv2d):
                torch.nn.init.normal_(module.bias, std=0.02) if module.bias is not None else None
        return network.eval()

    return make


@pytest.fixture
def weights_of(tmp_path: Path, lively: Callable[..., "Network"]) -> Callable[..., Path]:
    """Writes the weights of a lively network and gives their path."""
    from sr_cli.networks.checkpoint import save_network

    def make(**architecture: object) -> Path:
        path = tmp_path / f"{architecture['name']}-x{architecture['scale']}.safetensors"
        save_network(path, lively(**architecture), about={"training": {"steps_done": 0}})
        return path

    return make


@pytest.fixture(scope="session")
def vgg_state() -> "dict[str, Tensor]":
    """Random VGG-16 weights in torchvision's layout, up to relu3_3, scaled so that features neither die nor explode."""
    import torch

    from sr_cli.networks.vgg import VGG_LAYERS

    generator = torch.Generator().manual_seed(0)
    state, channels = {}, 3
    widths = {1: 64, 2: 128, 3: 256}
    for layer, index in VGG_LAYERS.items():
        if layer.startswith("conv") and int(layer[4]) in widths:
            width = widths[int(layer[4])]
            noise = torch.randn(width, channels, 3, 3, generator=generator)
            state[f"features.{index}.weight"] = noise * (2 / (9 * channels)) ** 0.5
            state[f"features.{index}.bias"] = torch.zeros(width)
            channels = width
    return state
