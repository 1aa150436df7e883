"""A batch on Ray: the results are those of one process, whatever happens to the workers."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from sr_cli.config import UpscaleConfig
from sr_cli.errors import UsageError
from sr_cli.upscaling.batch.run import BatchRequest, plan_batch
from sr_cli.upscaling.upscaler import Upscaler

CONFIG = UpscaleConfig(device="cpu", dtype="float32")
COUNT = 500


def workers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if each.name().startswith("ray::MapWorker")]


def batch(upscaler: Upscaler, output: str, **fields):
    return plan_batch(BatchRequest(inputs=["in"], output=output), replace(CONFIG, **fields), lambda: upscaler)


@pytest.mark.slow
def test_a_killed_worker_costs_no_picture_and_no_bit(lively, tmp_path, monkeypatch):
    pytest.importorskip("ray.data", reason="the extra cluster isn't installed")
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).save(f"in/{number:03}.png")
    Path("in/007.png").write_text("damaged")
    upscaler = Upscaler(lively(name="compact", scale=2, width=8, depth=1), CONFIG, name="small")
    local = {result.input: result for result in batch(upscaler, "local").run()}

    results = batch(upscaler, "there", cluster="auto").run()
    found = [next(results) for _ in range(20)]
    victim = workers()[0]
    os.kill(victim.pid, signal.SIGKILL)
    found += results

    assert len(found) == COUNT and {result.input for result in found} == set(local)
    assert all(result.status == local[result.input].status for result in found)
    (failed,) = (result for result in found if result.status == "failed")
    assert failed.error == local[failed.input].error and failed.output == "there/007_2x.png"
    assert {path.name: path.read_bytes() for path in Path("there").iterdir()} == {
        path.name: path.read_bytes() for path in Path("local").iterdir()
    }
    Path("in/007.png").unlink()
    assert {result.status for result in batch(upscaler, "there", cluster="auto").run()} == {"skipped"}
    assert not workers()


def test_without_ray_it_is_a_line(lively, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.new("RGB", (8, 6)).save("in/a.png")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    upscaler = Upscaler(lively(name="compact", scale=2, width=8, depth=1), CONFIG, name="small")
    with pytest.raises(UsageError, match="pip install 'ray"):
        next(batch(upscaler, "out", cluster="auto").run())
