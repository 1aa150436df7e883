"""A batch on Ray: the results are those of one process, whatever happens to the workers."""

import faulthandler
import itertools
import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from sr_cli.config import UpscaleConfig
from sr_cli.errors import UsageError
from sr_cli.signals import on_signals
from sr_cli.upscaling.batch import cluster
from sr_cli.upscaling.batch.run import BatchRequest, plan_batch
from sr_cli.upscaling.upscaler import Upscaler

CONFIG = UpscaleConfig(device="cpu", dtype="float32")
COUNT = 500


def workers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if each.name().startswith("ray::MapWorker")]


def batch(upscaler: Upscaler, output: str, **fields):
    return plan_batch(BatchRequest(inputs=["in"], output=output), replace(CONFIG, **fields), lambda: upscaler)


def first_of(results):
    try:
        return next(results)
    except UsageError as error:
        if "timed out during startup" in str(error):  # it gives its own processes 15 seconds
            pytest.skip("Ray cannot start on so busy a machine")
        raise


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

    results = batch(upscaler, "there", cluster="auto", manifest="done.jsonl").run()
    found = [first_of(results), *itertools.islice(results, 19)]
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
    rows = [json.loads(line) for line in Path("done.jsonl").read_text().splitlines()]
    assert {row["output"]: row["status"] for row in rows} == {each.output: each.status for each in found}
    Path("in/007.png").unlink()
    again = batch(upscaler, "there", cluster="auto", manifest="done.jsonl").run()
    assert {result.status for result in again} == {"skipped"}
    assert not workers()


def test_without_ray_it_is_a_line(lively, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.new("RGB", (8, 6)).save("in/a.png")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    upscaler = Upscaler(lively(name="compact", scale=2, width=8, depth=1), CONFIG, name="small")
    with pytest.raises(UsageError, match="pip install 'ray"):
        next(batch(upscaler, "out", cluster="auto").run())


@pytest.fixture
def ray(monkeypatch):
    """Ray, but no cluster behind it."""
    ray = pytest.importorskip("ray", reason="the extra cluster isn't installed")
    monkeypatch.setattr(ray, "init", lambda *_, **__: os.write(2, b"noise"))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(cluster, "_running_cluster", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2})
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:1"))
    return ray


@pytest.mark.slow
def test_signals_reach_us_although_ray_sets_handlers_of_its_own(ray, monkeypatch):
    received = []

    def init(*_, **__):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        faulthandler.register(signal.SIGTERM)  # below Python's, as Ray's that aborts

    monkeypatch.setattr(ray, "init", init)
    with on_signals(received.append, lambda: None), cluster._connected(replace(CONFIG, cluster="auto")):
        os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]
    monkeypatch.setattr(ray, "init", lambda *_, **__: sys.exit(15))  # what it does when one comes meanwhile
    with pytest.raises(KeyboardInterrupt), cluster._connected(replace(CONFIG, cluster="auto")):
        pass


@pytest.mark.slow
def test_ray_prints_nothing(ray, monkeypatch, capfd):
    worker = ray._private.worker
    monkeypatch.setattr(worker, "_worker_logs_enabled", True)
    with cluster._connected(replace(CONFIG, cluster="auto")):
        worker.print_to_stdstream({"lines": ["a node died"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
        os.write(2, b"ours")
    assert capfd.readouterr() == ("", "ours")


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:1", "head", "head:port", "127.0.0.1:99999"])
def test_a_wrong_address_is_a_line_at_once(ray, monkeypatch, address):
    monkeypatch.setattr(ray, "init", None)
    with pytest.raises(UsageError, match=f"--cluster {address}: cannot be reached"):
        cluster._connected(replace(CONFIG, cluster=address)).__enter__()


def test_a_cluster_that_is_gone_ends_the_process_with_a_line(monkeypatch):
    told, there = [], threading.Event()
    monkeypatch.setattr(cluster, "_WATCH_SECONDS", 0.01)
    monkeypatch.setattr(cluster, "end", lambda *said: (told.append(said), there.set()))
    with cluster._watched("127.0.0.1:1", "--cluster x"):
        assert there.wait(120)
    assert told == [("--cluster x: the cluster is gone; the same command goes on when it is back", 6)]
