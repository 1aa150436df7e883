"""A network in a package of its own goes through every command, and no file makes sr import it unasked."""

import json
import os
import re
import shlex
import subprocess

import numpy as np
import pytest
from PIL import Image

from sr_cli.config import TrainConfig
from sr_cli.errors import UsageError
from sr_cli.networks import registry
from sr_cli.networks.checkpoint import read_header
from support.fast_python import python

PACKAGE = """
import os
from pathlib import Path
from torch import nn
from torch.nn import functional as F
from sr_cli import Network

Path(os.environ["IMPORTED"]).touch()


class Tiny(Network):
    scales = (2, 4)
    recipe = {
        "scale": 2, "crop_size": 32, "batch_size": 2, "loss": "pixel", "degradation": "bicubic", "optimizer": "muon",
        "validation_photos": 1,
    }

    def __init__(self, *, scale, channels=4):
        super().__init__(scale=scale)
        self.channels = channels
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)

    def forward(self, lr):
        return F.pixel_shuffle(self.tail(F.relu(self.body(self.head(lr)))), self.scale)
"""
TARGET = "outside.networks:Tiny"


@pytest.fixture
def sr(tmp_path):
    """Runs ``sr`` where the package lies on the path; ``registered``: with its entry point."""
    for folder, registered in (("path", False), ("installed", True)):
        package = tmp_path / folder / "outside"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "networks.py").write_text(PACKAGE)
        if registered:
            info = tmp_path / folder / "outside-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[sr_cli.networks]\ntiny = {TARGET}\n")

    def run(*arguments, registered=False, fails=False):
        (tmp_path / "imported").unlink(missing_ok=True)
        path = str(tmp_path / ("installed" if registered else "path"))
        environment = {
            **os.environ, "PYTHONPATH": path, "SR_OFFLINE": "1", "SR_DATA_DIR": str(tmp_path / "data"),
            "IMPORTED": str(tmp_path / "imported"),
        }  # fmt: skip
        command = [python(), "-m", "sr_cli", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
        assert bool(done.returncode) == fails, done.stderr
        return done

    return run


@pytest.mark.slow
def test_a_network_that_is_named_is_trained_run_judged_and_resumed(sr, tmp_path, photo_folder):
    named = ("--arch", TARGET)
    begun = sr("train", photo_folder, *named, "--steps", 2, "--device", "cpu")
    (use,) = re.findall(r"^to use it: +sr (upscale PHOTO .*)$", begun.stderr, re.MULTILINE)
    run = tmp_path / "runs/Tiny-x2"
    weights = run / "model.safetensors"
    photo = photo_folder / "photo4.jpg"
    for name, tile in (("tiled", 70), ("whole", "off")):
        sr(*shlex.split(use.replace("PHOTO", str(photo))), "--tile", tile, "-o", f"{name}.png")
    tiled, whole = (np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("tiled", "whole"))
    assert tiled.shape[1] == 2 * Image.open(photo).width
    assert np.abs(tiled - whole).max() <= 1
    judged = sr("evaluate", photo_folder, "--model", weights, "--metrics", "psnr", "--json", *named)
    assert [each["name"] for each in json.loads(judged.stdout)["methods"]][-1].endswith("model")
    unnamed = sr("upscale", photo, "--model", weights, "-o", "no.png", fails=True)
    assert unnamed.returncode == 4 and "--arch package.module:Class" in unnamed.stderr
    assert not (tmp_path / "imported").exists()
    resumed = sr("train", "--resume", run, "--steps", 3, fails=True)
    assert resumed.returncode == 2 and f"--arch {TARGET}" in resumed.stderr
    assert not (tmp_path / "imported").exists()
    sr("train", "--resume", run, "--steps", 3, "--device", "cpu", *named)


@pytest.mark.slow
def test_a_network_of_an_installed_package_goes_by_its_name(sr, tmp_path, photo_folder):
    sr("train", photo_folder, "--arch", "tiny", "--steps", 1, "--device", "cpu", registered=True)
    weights = tmp_path / "runs/tiny-x2/model.safetensors"
    assert read_header(weights)["architecture"] == {"name": "tiny", "scale": 2, "channels": 4}
    sr("upscale", photo_folder / "photo0.jpg", "--model", weights, "-o", "large.png", registered=True)
    assert Image.open(tmp_path / "large.png").width == 2 * 96


@pytest.mark.slow
def test_a_network_from_outside_is_exported(sr, tmp_path, photo_folder):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    options = ("--arch", TARGET, "--scale", 4, "--steps", 1, "--device", "cpu", "--name", "tiny")
    sr("train", photo_folder, *options)
    sr("export", "runs/tiny/model.safetensors", "--arch", TARGET)
    assert (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("arch", ["sr_cli.networks.compact:Missing", "nowhere:Tiny", "json:loads", "nonsense", ":"])
def test_what_is_no_network_is_refused_by_name(arch):
    with pytest.raises(UsageError, match=arch):
        registry.resolve(arch)
    with pytest.raises(UsageError, match=arch):
        TrainConfig(arch=arch)
