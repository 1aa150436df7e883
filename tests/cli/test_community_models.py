"""Models of other projects, as a user meets them: quiet, by name, downloaded, checked."""

import subprocess
import sys

import pytest
import torch
from PIL import Image


@pytest.mark.slow
def test_warnings_of_libraries_never_reach_a_quiet_run(tmp_path):
    from spandrel.architectures.SwinIR import SwinIR

    network = SwinIR(
        img_size=16, embed_dim=12, depths=[1], num_heads=[2], window_size=8, upscale=2,
        upsampler="pixelshuffledirect", mlp_ratio=2,
    )  # fmt: skip
    torch.save(network.state_dict(), tmp_path / "swin.pth")
    Image.new("RGB", (20, 21), "teal").save(tmp_path / "small.png")
    command = [sys.executable, "-m", "sr_cli", "upscale", "small.png", "--model", "swin.pth", "-o", "large.png"]
    done = subprocess.run([*command, "--quiet"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert Image.open(tmp_path / "large.png").size == (40, 42)
