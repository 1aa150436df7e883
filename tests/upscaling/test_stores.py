"""Batches from and to stores: a store in memory, pages on loopback, and a real S3 server where there is one."""

import io
import pickle
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_cli.config import UpscaleConfig
from sr_cli.errors import ImageError, NoImagesError, OutputError, UsageError
from sr_cli.upscaling.batch import stores
from sr_cli.upscaling.batch.run import Batch, BatchRequest, plan_batch
from sr_cli.upscaling.batch.stores import any_path, upload
from sr_cli.upscaling.upscaler import Upscaler
from support import s3
from support.loopback import Served, serving

CONFIG = UpscaleConfig(device="cpu", dtype="float32", recursive=True)
ODD = ("a b#?%20ü'\"[1].png", "c::d.png", "~t;u,v@w$&=+.png")


def png(seed: int, size: tuple[int, int] = (8, 6)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setattr(stores, "_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(stores, "_given_up", set())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def upscaler(lively):
    return Upscaler(lively(name="compact", scale=2, width=8, depth=1), CONFIG, name="small")


def plan(upscaler, *inputs: str, output: str | None = None, listed=(), **fields) -> Batch:
    request = BatchRequest(inputs=inputs, output=output, listed=listed)
    return plan_batch(
        request, UpscaleConfig(device="cpu", dtype="float32", **{"recursive": True, **fields}), lambda: upscaler
    )


def run(batch: Batch) -> dict[str, str]:
    """Status by input."""
    return {result.input: result.status for result in map(batch.count, batch.run())}


def test_a_bucket_gives_what_a_folder_gives(memory, upscaler, tmp_path):
    for number, name in enumerate((*ODD, "sub/deep/e.png", ".hidden.png", "notes.txt", "film.mp4")):
        memory.pipe(f"/bucket/photos/{name}", png(number))
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(number))
    batch = plan(upscaler, "memory://bucket/photos", output="memory://bucket/large")
    assert batch.total is None
    found = run(batch)
    assert set(found.values()) == {"done"} and batch.summary.total == len(found) == 4
    (note,) = batch.summary.notes
    assert note.startswith("1 video left out, such as memory:///bucket/photos/film.mp4")
    run(plan(upscaler, "photos", output="large"))
    local = {path.relative_to("large").as_posix(): path.read_bytes() for path in Path("large").rglob("*.png")}
    there = {name.removeprefix("/bucket/large/"): memory.cat_file(name) for name in memory.find("/bucket/large")}
    assert there == local
    run(plan(upscaler, "photos", output="memory://up"))
    run(plan(upscaler, "memory://bucket/photos", output="down"))
    assert (
        memory.cat_file("/up/sub/deep/e_2x.png")
        == Path("down/sub/deep/e_2x.png").read_bytes()
        == local["sub/deep/e_2x.png"]
    )


def test_folders_are_listed_when_it_is_their_turn_and_results_are_asked_for_once_a_folder(
    memory, upscaler, monkeypatch
):
    for folder in "abc":
        for number in range(3):
            memory.pipe(f"/in/{folder}/{number}.png", png(number))
    memory.pipe("/out/b/1_2x.png", b"mine")
    asked = []
    for what in ("ls", "info"):
        original = getattr(type(memory), what)
        monkeypatch.setattr(
            type(memory), what,
            lambda self, path, *rest, o=original, w=what, **m: asked.append((w, path)) or o(self, path, *rest, **m),
        )  # fmt: skip
    batch = plan(upscaler, "memory://in", output="memory://out")
    assert ("ls", "/in/a") in asked and ("ls", "/in/b") not in asked
    found = run(batch)
    assert [each for each, status in found.items() if status == "skipped"] == ["memory:///in/b/1.png"]
    assert memory.cat_file("/out/b/1_2x.png") == b"mine"
    assert sorted(path for what, path in asked if what == "ls") == [
        "/in",
        *(f"/{x}/{y}" for x in ("in", "out") for y in "abc"),
    ]
    assert not any(path.startswith("/out") for what, path in asked if what == "info")


def test_what_passes_is_tried_again_and_what_does_not_fails_alone(memory, upscaler, monkeypatch):
    for number in range(5):
        memory.pipe(f"/in/{number}.png", png(number))
    memory.pipe("/in/2.png", b"no picture")
    failures = {"/in/0.png": [OSError(5, "down"), TimeoutError()], "/in/1.png": [PermissionError("no")]}
    puts = {"/out/3_2x.png": [OSError(5, "down")] * 9, "/out/4_2x.png": [PermissionError("read-only")]}
    get, put = type(memory).get_file, type(memory).put_file

    def get_file(self, path, local, **more):
        if failures.get(path):
            raise failures[path].pop(0)
        return get(self, path, local, **more)

    def put_file(self, local, path, **more):
        if puts.get(path):
            raise puts[path].pop(0)
        return put(self, local, path, **more)

    monkeypatch.setattr(type(memory), "get_file", get_file)
    monkeypatch.setattr(type(memory), "put_file", put_file)
    batch = plan(upscaler, "memory://in", output="memory://out")
    assert list(run(batch).values()) == ["done", *["failed"] * 4]
    assert memory.find("/out") == ["/out/0_2x.png"]
    errors = [str(each.error) for each in batch.summary.failures]
    assert errors[0] == "memory:///in/1.png: the store refuses access (no)"
    assert errors[1].startswith("memory:///in/2.png: is not an image")
    assert errors[2] == "memory:///out/3_2x.png: the store fails (down)"
    assert errors[3] == "memory:///out/4_2x.png: the store refuses access (read-only)"
    assert batch.summary.exit_code == 1


def test_two_results_of_one_name_are_not_one(memory, upscaler):
    for name in ("/x/p/a.png", "/y/p/a.png", "/z/b.png", "/z/b.jpg"):
        memory.pipe(name, png(0))
    batch = plan(upscaler, "memory://x/p", "memory://y/p", "memory://z", output="memory://out", format="PNG")
    assert list(run(batch)) == ["memory:///x/p/a.png"]
    assert len(batch.summary.problems) == 2 and batch.summary.exit_code == 1
    with pytest.raises(UsageError, match="would be the result of both"):
        plan(upscaler, "memory://x/p/a.png", "memory://y/p/a.png", output="memory://out")


def test_a_video_that_could_not_be_delivered_is_not_made_again(memory, upscaler, monkeypatch, tmp_path):
    pytest.importorskip("av", reason="PyAV isn't installed")
    from support.clips import make_clip, times_of

    memory.pipe("/in/a.mp4", make_clip(tmp_path / "a.mp4").read_bytes())
    put = type(memory).put_file
    monkeypatch.setattr(type(memory), "put_file", lambda *_, **__: (_ for _ in ()).throw(PermissionError("read-only")))
    assert list(run(plan(upscaler, "memory://in/a.mp4", output="memory://out/b.mp4")).values()) == ["failed"]
    monkeypatch.setattr(type(memory), "put_file", put)
    (result,) = plan(upscaler, "memory://in/a.mp4", output="memory://out/b.mp4").run()
    assert (result.status, result.frames, result.frames_before) == ("done", 10, 10)
    (tmp_path / "b.mp4").write_bytes(memory.cat_file("/out/b.mp4"))
    assert times_of(tmp_path / "b.mp4") == times_of(tmp_path / "a.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_patterns_lists_sizes_and_shards(memory, upscaler):
    for number in range(5):
        memory.pipe(f"/in/{number}/a.png", png(number, (10, 5)))
    jobs = plan(upscaler, "memory://in/*/a.png", output="out", width=40).jobs
    assert [str(job.output) for job in jobs] == [f"out/{number}/a_40x20.png" for number in range(5)]
    listed = [f"memory://in/{number}/a.png" for number in range(5)]
    shares = [plan(upscaler, listed=listed, output="out", shard=(index, 2)).jobs for index in (1, 2)]
    assert [[str(job.output) for job in share] for share in shares] == [
        ["out/0/a_2x.png", "out/2/a_2x.png", "out/4/a_2x.png"], ["out/1/a_2x.png", "out/3/a_2x.png"],
    ]  # fmt: skip
    (first, *_) = plan(upscaler, "memory://in").dry_run()
    assert (first.status, first.input_size, first.output_size) == ("planned", (10, 5), (20, 10))


@pytest.mark.usefixtures("memory")
def test_what_cannot_be_is_a_line(upscaler, monkeypatch):
    with pytest.raises(NoImagesError, match="no images in this folder"):
        plan(upscaler, "memory://nothing")
    with pytest.raises(UsageError, match="nothing can be written there"):
        plan(upscaler, "memory://a.png", output="https://example.com/x")
    with pytest.raises(UsageError, match="Protocol not known"):
        plan(upscaler, "nonsense://a.png")
    with pytest.raises(UsageError, match="only https"):
        plan(upscaler, "http://example.com/a.png")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UsageError, match="pip install gcsfs"):
        plan(upscaler, "gs://bucket/a.png")


def test_pages_of_the_web(upscaler, tmp_path):
    files = {"a%20b.png?w=1": Served(png(0)), "big.png": Served(png(0), announced=1 << 40)}
    with serving(files) as server:
        batch = plan(upscaler, server.url("a%20b.png?w=1"), server.url("none.png"), server.url("big.png"))
        assert list(run(batch).values()) == ["done", "failed", "failed"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".png"] == ["a b_2x.png"]
    missing, large = (str(each.error) for each in batch.summary.failures)
    assert missing == f"{server.url('none.png')}: HTTP 404 Not Found"
    assert "is larger than" in large and files["big.png"].sent < 1 << 17


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    pytest.importorskip("s3fs", reason="the extra cloud isn't installed").S3FileSystem.clear_instance_cache()
    if not s3.PROGRAM:
        pytest.skip("there is no rclone here")
    folder = tmp_path / "s3" / "bucket" / "in"
    folder.mkdir(parents=True)
    for number, name in enumerate((*ODD, *(f"{number:02}.png" for number in range(40)))):
        (folder / name).write_bytes(png(number))
    with s3.serving_s3(tmp_path / "s3") as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(stores, "_PAUSES", (1, 2, 4, 8))
        yield server


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_costs_nothing(bucket, upscaler, tmp_path):
    batch = plan(upscaler, "s3://bucket/in", output="s3://bucket/out")
    results = batch.run()
    found = [next(results) for _ in range(5)]
    bucket.kill()
    threading.Thread(target=lambda: (time.sleep(1), bucket.start())).start()
    found += results
    assert {result.status for result in found} == {"done"} and len(found) == 43
    run(plan(upscaler, str(tmp_path / "s3" / "bucket" / "in"), output="local"))
    there = {path.name: path.read_bytes() for path in (tmp_path / "s3" / "bucket" / "out").iterdir()}
    assert there == {path.name: path.read_bytes() for path in Path("local").iterdir()}


@pytest.mark.slow
def test_a_store_that_takes_no_result_fails_each_at_once(bucket, upscaler, monkeypatch):
    from s3fs import S3FileSystem

    puts, original = [], S3FileSystem.put_file
    monkeypatch.setattr(S3FileSystem, "put_file", lambda self, *a, **k: puts.append(a) or original(self, *a, **k))
    monkeypatch.setattr(stores, "_PAUSES", (0.01, 0.01))
    bucket.kill()
    bucket.start("--read-only")
    batch = plan(upscaler, "s3://bucket/in", output="s3://bucket/out")
    assert list(run(batch).values()) == ["failed"] * 43
    assert len(puts) <= 43 + 2 * 2  # the first picture of each thread was tried again
    assert all("/out/" in each.error and "Internal Error" in each.error for each in batch.summary.failures)
    bucket.kill()
    bucket.start()
    assert set(run(plan(upscaler, "s3://bucket/in", output="s3://bucket/out")).values()) == {"done"}
    sent = pickle.dumps(any_path("s3://bucket/in"))
    S3FileSystem.clear_instance_cache()
    assert pickle.loads(sent).store.retries == 1  # in a worker of a cluster, too


@pytest.mark.slow
def test_an_upload_in_parts_is_finished_or_invisible_when_the_server_dies_in_it(bucket, tmp_path, monkeypatch):
    import s3fs

    content, file, calls = np.random.default_rng(0).bytes(250_000), tmp_path / "large", []
    target, original = any_path("s3://bucket/out/large"), s3fs.S3FileSystem._call_s3
    file.write_bytes(content)

    async def call(self, method, *rest, **more):
        calls.append(method)
        if calls.count("upload_part") == 2 and method == "upload_part":
            assert not (bucket.root / "bucket/out/large").exists()
            bucket.kill()
        if calls.count("create_multipart_upload") == 2 and method == "create_multipart_upload":
            bucket.start()
        return await original(self, method, *rest, **more)

    monkeypatch.setattr(stores, "_PAUSES", (0.01,))
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda *_, **__: 100_000)
    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    upload(file, target)
    assert (bucket.root / "bucket/out/large").read_bytes() == content
    assert calls.count("upload_part") == 2 + 3 and calls[-1] == "complete_multipart_upload"


@pytest.mark.slow
@pytest.mark.usefixtures("bucket")
def test_wrong_keys_are_a_line(upscaler, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ImageError, match="s3://bucket/in: the store refuses access"):
        plan(upscaler, "s3://bucket/in")
    with pytest.raises(OutputError, match="s3://bucket/out: the store refuses access"):
        plan(upscaler, "s3/bucket/in", output="s3://bucket/out")


def test_other_stores_get_their_files_by_renaming(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    target = any_path(f"file://{tmp_path}/below/b")
    upload(tmp_path / "a", target)
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["b"]
