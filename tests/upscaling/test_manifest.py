"""The record of a job: what is in it, and that the next run goes on from it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_cli.config import UpscaleConfig
from sr_cli.errors import UsageError
from sr_cli.upscaling.batch.manifest import Manifest
from sr_cli.upscaling.batch.run import BatchRequest, plan_batch
from sr_cli.upscaling.upscaler import Upscaler


@pytest.fixture
def go(lively, tmp_path, monkeypatch):
    """Runs the batch of three pictures, one of them damaged, and gives status by name."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in "abc":
        Image.fromarray(np.full((5, 8, 3), ord(name), np.uint8)).save(f"in/{name}.png")
    Path("in/b.png").write_text("damaged")
    upscaler = Upscaler(lively(name="compact", scale=2, width=8, depth=1), UpscaleConfig(device="cpu"), name="small")

    def run(manifest: str, output: str = "out", **fields) -> dict[str, str]:
        config = UpscaleConfig(device="cpu", dtype="float32", manifest=manifest, **fields)
        batch = plan_batch(BatchRequest(inputs=["in"], output=output), config, lambda: upscaler)
        return {Path(result.input).stem: result.status for result in map(batch.count, batch.run())}

    return run


def test_a_row_a_picture_and_the_next_run_goes_on(go):
    assert go("m.jsonl") == {"a": "done", "b": "failed", "c": "done"}
    rows = [json.loads(line) for line in Path("m.jsonl").read_text().splitlines()]
    assert [(Path(row["input"]).stem, row["status"]) for row in rows] == [("a", "done"), ("b", "failed"), ("c", "done")]
    assert (rows[0]["input_width"], rows[0]["output_height"]) == (8, 10) and rows[0]["seconds"] > 0
    assert rows[0]["sha256"] == hashlib.sha256(Path("out/a_2x.png").read_bytes()).hexdigest()
    assert "is not an image" in rows[1]["error"] and rows[1]["sha256"] is None
    Path("out/a_2x.png").unlink()
    Path("in/b.png").write_bytes(Path("in/a.png").read_bytes())
    with Path("m.jsonl").open("a") as file:
        file.write('{"input": "in/b.png", "outp')  # a kill has cut it off
    assert go("m.jsonl") == {"a": "skipped", "b": "done", "c": "skipped"}
    Path("out/b_2x.png").unlink()
    assert go("m.jsonl") == {"a": "skipped", "b": "skipped", "c": "skipped"}
    assert set(go("m.jsonl", if_exists="overwrite").values()) == {"done"}


@pytest.mark.parametrize("name", ["memory://b/m.jsonl", "memory://b/m.parquet", "m.parquet"])
def test_parts_where_a_file_cannot_grow(go, memory, monkeypatch, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="the extra cloud isn't installed")
    assert go(name, "memory://out") == {"a": "done", "b": "failed", "c": "done"}
    memory.pipe("/out/d_2x.png", b"")
    listed = []
    ls = type(memory).ls
    monkeypatch.setattr(
        type(memory), "ls", lambda self, path, *_, **more: listed.append(path) or ls(self, path, **more)
    )
    memory.rm_file("/out/a_2x.png")
    Path("in/d.png").write_bytes(Path("in/a.png").read_bytes())
    assert go(name, "memory://out") == {"a": "skipped", "b": "failed", "c": "skipped", "d": "skipped"}
    assert "/out" not in listed
    assert len(Manifest(name).done) == 3


def test_other_names_are_refused():
    with pytest.raises(UsageError, match=r"must end in \.jsonl or \.parquet"):
        Manifest("m.csv")
