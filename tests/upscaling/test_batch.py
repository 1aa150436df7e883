"""Batches: what they take in, what they call the results, and what comes of them, file by file."""

import os
import threading
from dataclasses import replace
from pathlib import Path, PurePath
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sr_cli import images
from sr_cli.config import DEFAULT_MODEL, UpscaleConfig, parse_pixels, parse_shard, parse_side, parse_size
from sr_cli.errors import ImageError, NoImagesError, OutputError, UsageError
from sr_cli.images.header import size_of
from sr_cli.system.atomic_files import write_atomically
from sr_cli.system.distributed import process_share
from sr_cli.upscaling.batch.dry_run import dry_run
from sr_cli.upscaling.batch.find_inputs import Source, find_inputs, read_list
from sr_cli.upscaling.batch.pipeline import run
from sr_cli.upscaling.batch.plan_outputs import Job, Naming, name_outputs, resolve_existing
from sr_cli.upscaling.batch.results import Result, Summary
from sr_cli.upscaling.batch.run import BatchRequest, plan_batch
from sr_cli.upscaling.batch.target_size import model_for, target_size
from sr_cli.upscaling.batch.writer import BoundedPipe, ConsumerGone
from sr_cli.upscaling.upscaler import Upscaler

CONFIG = UpscaleConfig(device="cpu", dtype="float32")


def paint(path: Path, size=(8, 6), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def names(found) -> list[str]:
    return [str(source.path) for source in found.sources]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def upscaler(lively):
    return Upscaler(lively(name="compact", scale=2, width=8, depth=1), CONFIG, name="small")


def size_for(width, height, /, **asked):
    return target_size(UpscaleConfig(**asked), width, height, network_scale=4)


class TestSizes:
    @given(w=st.integers(1, 5000), h=st.integers(1, 5000), scale=st.sampled_from([1.5, 2, 3, 4, 6, 8]))
    def test_a_factor(self, w, h, scale):
        assert size_for(w, h, scale=scale) == (max(1, round(w * scale)), max(1, round(h * scale)))

    @given(w=st.integers(1, 4000), h=st.integers(1, 4000), most=st.integers(100, 10**7))
    def test_max_pixels_is_never_exceeded(self, w, h, most):
        width, height = size_for(w, h, max_pixels=most)
        assert width * height <= max(most, width, height)
        assert width <= 4 * w
        assert height <= 4 * h

    def test_width_and_height_keep_the_aspect_ratio(self):
        assert size_for(100, 50, width=300) == (300, 150)
        assert size_for(100, 50, height=300) == (600, 300)
        assert size_for(100, 50, width=300, height=300) == (300, 150)
        assert size_for(100, 50, size=(300, 300)) == (300, 300)

    @pytest.mark.parametrize(
        "asked", [{"scale": 0}, {"scale": float("nan")}, {"scale": 65}, {"width": 0}, {"size": (0, 5)},
                  {"scale": 2, "width": 7}, {"max_pixels": 0}],
    )  # fmt: skip
    def test_nonsense_is_refused(self, asked):
        with pytest.raises(ValueError, match=r"must be|exclude"):
            UpscaleConfig(**asked)

    def test_sizes_and_pixels_in_words(self):
        assert parse_size("1920x1080") == parse_size("1920 × 1080") == (1920, 1080)
        assert parse_pixels("20M") == parse_pixels("20MP") == parse_pixels("20000000") == 20_000_000
        for text in ("x", "20", "20x", "-1x5"):
            with pytest.raises(ValueError, match="; use"):
                parse_size(text)
        with pytest.raises(ValueError, match="; write"):
            parse_pixels("lots")
        assert parse_side("1000") == parse_side("1000px") == 1000
        with pytest.raises(ValueError, match="60cm at 300 dots per inch are 7087"):
            parse_side("60cm")
        with pytest.raises(ValueError, match="are 7087x4724"):
            parse_size("60×40 cm")

    def test_the_next_larger_network_is_taken(self):
        available = {2: "c-x2", 3: "c-x3", 4: "c-x4", 8: "c-x8"}
        wanted = {1.5: "c-x2", 2: "c-x2", 2.5: "c-x3", 4: "c-x4", 6: "c-x8", 8: "c-x8", 20: "c-x8", None: DEFAULT_MODEL}
        assert {scale: model_for(scale, available) for scale in wanted} == wanted
        assert model_for(2, {}) == DEFAULT_MODEL
        assert model_for(None, available, default="mine") == model_for(2, {}, default="mine") == "mine"


def find_from(given, **options):
    problems, notes = [], []
    sources = find_inputs(given, on_error=problems.append, on_note=notes.append, **options)
    return SimpleNamespace(sources=sources, problems=problems, notes=notes)


class TestInputs:
    def test_folders_keep_their_tree(self, here):
        for name in ("a.png", "sub/b.jpg", "sub/deep/c.webp", ".hidden/d.png"):
            paint(here / "photos" / name)
        (here / "photos" / "notes.txt").write_text("no picture")
        assert names(find_from(["photos"])) == ["photos/a.png"]
        found = find_from(["photos"], recursive=True)
        assert [str(source.subfolder) for source in found.sources] == [".", "sub", "sub/deep"]

    def test_several_folders_do_not_mix(self, here):
        paint(here / "one" / "a.png")
        paint(here / "two" / "a.png")
        assert [str(source.subfolder) for source in find_from(["one", "two"]).sources] == ["one", "two"]

    def test_patterns_that_the_shell_left_alone(self, here):
        paint(here / "x" / "y" / "a.png")
        paint(here / "x" / "b[1].png")
        assert names(find_from(["x/**/*.png"])) == ["x/b[1].png", "x/y/a.png"]
        assert [str(s.subfolder) for s in find_from(["x/**/*.png"]).sources] == [".", "y"]
        assert find_from(["x/b[1].png"]).sources[0].named
        with pytest.raises(ImageError, match="no image matches"):
            find_from(["x/*.gif"])

    def test_a_list_keeps_relative_folders(self, here):
        paint(here / "x" / "a.png")
        found = find_from([], listed=["x/a.png", str(here / "x" / "a.png"), "../b.png"])
        assert [str(source.subfolder) for source in found.sources] == ["x", "."]  # the same file counts once

    def test_lists_with_odd_names(self):
        assert read_list(b"a.png\r\nb c.png\n\n") == ["a.png", "b c.png"]
        assert read_list(b"new\nline.png\0-dash.png\0") == ["new\nline.png", "-dash.png"]
        assert os.fsencode(read_list(b"\xff.png")[0]) == b"\xff.png"
        assert read_list(b"a.png\r\n\r\n\r\n") == ["a.png"]
        for encoding in ("utf-8-sig", "utf-16"):
            assert read_list("a\u00e9.png\r\n\r\nb.png\r\n".encode(encoding)) == ["a\u00e9.png", "b.png"]

    def test_an_empty_name_is_not_the_current_folder(self):
        with pytest.raises(UsageError, match="empty"):
            find_from([""])

    def test_links_in_circles_and_unreadable_folders(self, here):
        paint(here / "p" / "a.png")
        (here / "p" / "loop").symlink_to(here / "p")
        (here / "p" / "self.png").symlink_to("self.png")
        found = find_from(["p"], recursive=True)
        assert "p/a.png" in names(found)
        assert not any("loop" in name for name in names(found))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
    def test_unreadable_folders_are_told_of(self, here):
        paint(here / "p" / "a.png")
        (here / "p" / "locked").mkdir(mode=0)
        found = find_from(["p"], recursive=True)
        assert names(found) == ["p/a.png"]
        assert "locked" in str(found.problems[0])

    def test_folders_of_outputs_are_passed_over(self, here):
        paint(here / "p" / "a.png")
        paint(here / "p" / "out" / "a_2x.png")
        assert names(find_from(["p"], recursive=True, output=Path("p/out"))) == ["p/a.png"]

    def test_videos_in_folders_are_left_out_and_named(self, here):
        paint(here / "p" / "a.png")
        for name in ("p/sub/b.MP4", "p/c.mov", "p/code.ts", "clips/d.mp4"):
            (here / name).parent.mkdir(exist_ok=True)
            (here / name).touch()
        found = find_from(["p"], recursive=True)
        assert names(found) == ["p/a.png"] and found.notes[0].startswith("2 videos left out, such as p/c.mov")
        with pytest.raises(NoImagesError, match="only videos"):
            find_from(["clips"])

    def test_nothing_at_all(self, here):
        (here / "empty").mkdir()
        with pytest.raises(ImageError, match="empty"):
            find_from(["empty"])


def naming(*, output: Path | None = None, single: bool = False, **fields) -> Naming:
    return Naming(UpscaleConfig(**fields), model="m", network_scale=2, output=output, single=single)


def named(*paths: str, **changes):
    return name_outputs([Source(path=Path(path), named=True) for path in paths], naming(**changes), lambda _: None)[0]


class TestOutputs:
    def test_names(self):
        def name(path, **changes):
            return str(naming(**changes).path_for(Source(path=Path(path), subfolder=PurePath("sub")), (30, 20)))

        assert name("x/a.png") == "x/a_2x.png"
        assert name("x/a.JPG", output=Path("out")) == "out/sub/a_2x.JPG"
        assert name("x/a.gif") == "x/a_2x.png"
        assert name("x/a.gif", animate=True) == "x/a_2x.gif"
        assert name("x/a.png", format="WEBP", scale=1.5) == "x/a_1.5x.webp"
        assert name("a.png", name_template="{model}/{stem}-{width}x{height}.{ext}") == "m/a-30x20.png"
        assert name("noext") == "noext_2x.png"
        assert name("a.png", output=Path("b.webp"), single=True) == "b.webp"

    @pytest.mark.parametrize("template", ["{stem", "{nothing}.png", "{stem.__class__}.png", "{stem}", "{stem:q}.png"])
    def test_templates_that_make_no_name(self, template):
        with pytest.raises(UsageError):
            naming(name_template=template).path_for(Source(path=Path("a.png")), (1, 1))

    def test_results_of_an_earlier_run_are_no_inputs(self):
        sources = [Source(path=Path(name)) for name in ("a.png", "a_2x.png", "b_2x.png")]
        kept, passed_over = name_outputs(sources, naming(), lambda _: None)
        assert [str(source.path) for source, _ in kept] == ["a.png", "b_2x.png"]
        assert passed_over == [Path("a_2x.png")]

    def test_nor_are_those_of_another_folder_or_scale(self):
        sources = [Source(path=Path(name)) for name in ("a.png", "a_2x.png", "a_1.5x.jpg", "a_30x20.png", "b_4x.png")]
        kept, passed_over = name_outputs(sources, naming(output=Path("out")), lambda _: None)
        assert [str(source.path) for source, _ in kept] == ["a.png", "b_4x.png"]
        assert [str(path) for path in passed_over] == ["a_2x.png", "a_1.5x.jpg", "a_30x20.png"]
        chosen = replace(sources[1], named=True)
        assert name_outputs([sources[0], chosen], naming(output=Path("out")), lambda _: None)[1] == []

    @pytest.mark.usefixtures("here")
    def test_collisions_are_refused_before_any_work(self):
        both = named("x/a.png", "x/a.jpg", format="PNG")
        with pytest.raises(UsageError, match=r"x/a\.png and x/a\.jpg"):
            resolve_existing(both, None)
        assert [job.output.name for job in resolve_existing(both, "rename")] == ["a_2x.png", "a_2x-2.png"]

    @pytest.mark.parametrize("stem", ["n" * 249, "\u00e9" * 125])
    def test_a_name_that_is_too_long_is_refused_before(self, stem):
        assert resolve_existing(named(stem[:-2] + ".png"), None)
        with pytest.raises(OutputError, match="255 bytes"):
            resolve_existing(named(stem + ".png"), None)

    def test_what_is_there(self, here):
        paint(here / "a.png")
        paint(here / "a_2x.png")
        with pytest.raises(OutputError, match="already exists"):
            resolve_existing(named("a.png"), None)
        assert resolve_existing([(Source(path=Path("a.png")), Path("a_2x.png"))], None)[0].skip
        assert resolve_existing(named("a.png"), "skip")[0].skip
        assert resolve_existing(named("a.png"), "overwrite")[0].overwrite
        assert resolve_existing(named("a.png"), "rename")[0].output == Path("a_2x-2.png")

    @pytest.mark.parametrize("link", [None, "hard", "soft"])
    @pytest.mark.parametrize("exist", [None, "overwrite", "skip"])
    def test_no_input_is_replaced(self, here, link, exist):
        paint(here / "a.png")
        target = Path("a.png" if link is None else "b.png")
        if link == "hard":
            target.hardlink_to("a.png")
        elif link == "soft":
            target.symlink_to("a.png")
        with pytest.raises(UsageError, match="would replace an input"):
            resolve_existing([(Source(path=Path("a.png"), named=True), target)], exist)

    @pytest.mark.parametrize("exist", ["overwrite", "skip", "fail", "rename"])
    def test_a_dangling_link_is_a_result(self, here, exist):
        """Overwriting replaces the link itself, and nothing is ever written to where it leads."""
        paint(here / "a.png")
        Path("b.png").symlink_to("gone.png")
        named = [(Source(path=Path("a.png"), named=True), Path("b.png"))]
        if exist == "fail":
            with pytest.raises(OutputError, match="already exists"):
                resolve_existing(named, exist)
            return
        [job] = resolve_existing(named, exist)
        assert (job.skip, job.output.name) == (exist == "skip", "b-2.png" if exist == "rename" else "b.png")
        if not job.skip:
            write_atomically(job.output, "new", overwrite=job.overwrite)
            assert job.output.read_text() == "new" and not job.output.is_symlink()
        assert Path("b.png").is_symlink() == (exist != "overwrite") and not Path("gone.png").exists()


class TestShards:
    def test_shards_make_up_the_whole_and_differ_by_one_at_most(self, here, upscaler):
        pictures = [str(paint(here / "p" / f"{i}.png")) for i in range(7)]

        def inputs_of(index: int) -> list[str]:
            request = BatchRequest(inputs=["p"], output="out")
            batch = plan_batch(request, UpscaleConfig(shard=(index, 3)), lambda: upscaler)
            return [str(here / job.source) for job in batch.jobs]

        shares = [inputs_of(index) for index in (1, 2, 3)]
        assert sorted(each for share in shares for each in share) == pictures
        assert max(map(len, shares)) - min(map(len, shares)) <= 1

    def test_in_words(self):
        assert parse_shard("3/16") == (3, 16)
        for text in ("0/4", "5/4", "3", "a/b"):
            with pytest.raises(ValueError, match="shard"):
                parse_shard(text)

    def test_torchrun(self, monkeypatch):
        assert process_share() is None
        monkeypatch.setenv("RANK", "2")
        monkeypatch.setenv("WORLD_SIZE", "4")
        assert process_share() == (3, 4)


class TestBoundedPipe:
    def test_items_in_order(self):
        pipe: BoundedPipe[int] = BoundedPipe()

        def put():
            for item in [*range(1, 100), None]:
                pipe.put(item)

        thread = threading.Thread(target=put)
        thread.start()
        assert list(pipe) == list(range(1, 100))
        thread.join()

    def test_either_side_may_fail(self):
        pipe: BoundedPipe[int] = BoundedPipe()
        pipe.fail(ImageError("broken"))
        with pytest.raises(ImageError, match="broken"):
            next(iter(pipe))
        pipe.close()
        with pytest.raises(ConsumerGone):
            pipe.put(1)


def job(source: Path, output: Path, **more) -> Job:
    return Job(source=source, output=output, **more)


class TestRunning:
    def test_one_bad_file_among_many(self, here, upscaler):
        jobs = [job(paint(here / f"{i}.png"), here / "out" / f"{i}.png") for i in range(12)]
        (here / "3.png").write_text("no picture")
        (here / "5.png").unlink()
        (here / "7.png").write_bytes(b"")
        (here / "9.png").write_bytes((here / "9.png").read_bytes()[:-60])
        results = list(run(jobs, upscaler, CONFIG))
        assert [result.input for result in results] == [str(each.source) for each in jobs]
        failed = [result for result in results if result.status == "failed"]
        assert [Path(result.input).stem for result in failed] == ["3", "5", "7", "9"]
        assert all(Path(result.input).name in result.error and "\n" not in result.error for result in failed)
        assert sorted(path.stem for path in (here / "out").iterdir()) == sorted(map(str, {*range(12)} - {3, 5, 7, 9}))

    def test_results_tell_what_was_done(self, here, upscaler):
        (result,) = run([job(paint(here / "a.png", (20, 10)), here / "b.webp")], upscaler, CONFIG)
        assert (result.status, result.input_size, result.output_size) == ("done", (20, 10), (40, 20))
        assert (result.scale, result.passes, result.model, result.device) == (2, 1, "small", "cpu")
        assert result.megapixels_per_second == pytest.approx(0.0008 / result.seconds)
        assert result.peak_memory > 10**7

    def test_what_a_format_cannot_hold_is_said(self, here, upscaler):
        Image.new("RGBA", (5, 5), (1, 2, 3, 4)).save(here / "a.png")
        (result,) = run([job(here / "a.png", here / "a.jpg")], upscaler, CONFIG)
        assert result.warnings == ("JPEG has no transparency: white is put behind it",)

    def test_what_stays_behind_in_the_file_is_said(self, here, upscaler):
        page = Image.new("RGB", (5, 5))
        page.save(here / "a.tif", save_all=True, append_images=[page])
        page.save(here / "b.jpg", format="MPO", save_all=True, append_images=[page])
        page.save(here / "c.jpg", xmp=b'<a GCamera:MotionPhoto="1" b="2"/>')
        page.save(here / "d.jpg")
        found = [
            result.warnings
            for name in ("a.tif", "b.jpg", "c.jpg", "d.jpg")
            for result in run([job(here / name, here / f"out-{name}")], upscaler, CONFIG)
        ]
        first = ("only the first picture of its file is upscaled",)
        assert found == [first, first, ("the film of a motion photo in its file is not kept",), ()]
        assert images.read(here / "out-c.jpg").metadata.xmp == b'<a  b="2"/>'

    @pytest.mark.parametrize("suffix", [".png", ".tiff", ".jpg", ".bmp"])
    def test_strips_and_wholes_are_the_same_picture(self, here, lively, suffix):
        network = lively(name="compact", scale=2, width=8, depth=1)
        source = paint(here / "a.png", (50, 90))
        target = here / f"b{suffix}"
        (result,) = run([job(source, target)], Upscaler(network, replace(CONFIG, tile=16), name="x"), CONFIG)
        assert result.status == "done", result.error
        expected = Upscaler(network, CONFIG, name="x").upscale_picture(images.read(source))
        difference = np.abs(images.read(target).color.astype(int) - expected.color)
        assert difference.max() <= (40 if suffix == ".jpg" else 1)

    def test_a_folder_that_cannot_be_made_fails_its_pictures_only(self, here, upscaler):
        (here / "file").write_text("in the way")
        jobs = [job(paint(here / "a.png"), here / "file" / "a.png"), job(paint(here / "b.png"), here / "b_2x.png")]
        results = list(run(jobs, upscaler, CONFIG))
        assert [result.status for result in results] == ["failed", "done"]
        assert results[0].exit_code == OutputError.exit_code

    @pytest.mark.parametrize("when", ["before", "during"])
    def test_what_another_process_did_meanwhile_is_passed_over(self, here, upscaler, when):
        """Two batches of one folder, with the policy that skips what exists."""
        target = here / "a_2x.png"
        mine = job(paint(here / "a.png"), target, keep=True)

        class Other:
            def on_picture(self, *_):
                target.write_text("of the other")

            def on_tile(self, *_): ...

        if when == "before":
            Other().on_picture()
        (result,) = run([mine], upscaler, CONFIG, Other())
        assert (result.status, result.exit_code, result.error) == ("skipped", 0, None)
        assert target.read_text() == "of the other"

    def test_a_result_that_appeared_meanwhile_is_not_replaced(self, here, upscaler):
        source, target = paint(here / "a.png"), here / "b.png"
        target.write_text("somebody else's")
        (result,) = run([job(source, target)], upscaler, CONFIG)
        assert result.status == "failed"
        assert target.read_text() == "somebody else's"

    def test_animations(self, here, upscaler):
        frames = [Image.new("RGB", (9, 7), color) for color in ("red", "green", "blue")]
        frames[0].save(here / "a.gif", save_all=True, append_images=frames[1:], duration=[40, 80, 120], loop=0)
        config = replace(CONFIG, animate=True)
        (result,) = run([job(here / "a.gif", here / "b.gif")], upscaler, config)
        assert (result.status, result.frames) == ("done", 3), result.error
        with Image.open(here / "b.gif") as large:
            assert (large.n_frames, large.size) == (3, (18, 14))

    def test_stopping_early_leaves_whole_files_only(self, here, upscaler):
        jobs = [job(paint(here / f"{i}.png", (64, 64)), here / "out" / f"{i}.png") for i in range(8)]
        going = run(jobs, upscaler, CONFIG)
        next(going)
        going.close()
        for path in (here / "out").iterdir():
            assert images.read(path).width == 128

    def test_ctrl_c_tells_what_was_done(self, here, upscaler):
        jobs = [job(paint(here / f"{i}.png"), here / "out" / f"{i}.png") for i in range(6)]

        class Impatient:
            begun = 0

            def on_picture(self, *_):
                self.begun += 1
                if self.begun == 5:
                    raise KeyboardInterrupt

            def on_tile(self, *_):
                pass

        results = []
        with pytest.raises(KeyboardInterrupt):
            for result in run(jobs, upscaler, CONFIG, Impatient()):
                results.append(result)
        written = {path.stem for path in (here / "out").iterdir()}
        assert {Path(result.output).stem for result in results if result.status == "done"} == written
        assert "4" not in written

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
    def test_a_result_says_what_made_it(self, here, upscaler, suffix):
        source, target = paint(here / "a.png"), here / "out" / f"a{suffix}"
        for metadata in ("keep", "strip"):
            config = replace(CONFIG, metadata=metadata)
            [result] = run([job(source, target, overwrite=True)], upscaler, config)
            assert result.warnings == ()
            xmp = images.read(target).metadata.xmp or b""
            assert (b"CreatorTool>sr " in xmp and upscaler.name.encode() in xmp) == (
                metadata == "keep" and suffix != ".bmp"
            )


def test_a_dry_run_writes_nothing(here, upscaler):
    jobs = [
        job(paint(here / "a.png", (40, 30)), here / "a_2x.png"),
        job(here / "missing.png", here / "m.png"),
        job(here / "a.png", here / "b.png", skip=True),
    ]
    before = set(here.iterdir())
    planned, failed, skipped = dry_run(jobs, upscaler, CONFIG)
    assert (planned.status, planned.output_size) == ("planned", (80, 60))
    assert planned.seconds > 0
    assert (failed.status, skipped.status) == ("failed", "skipped")
    assert set(here.iterdir()) == before


def test_headers_tell_the_size_that_is_seen(here):
    exif = Image.Exif()
    exif[0x0112] = 6
    paint(here / "turned.jpg", (20, 10), exif=exif)
    assert size_of(here / "turned.jpg") == (10, 20)
    assert images.read(here / "turned.jpg").width == 10


class TestSummary:
    def result(self, status, code=0):
        return Result(input="a", output="b", status=status, exit_code=code, error="bad" if code else None)

    def test_exit_codes(self):
        for outcomes, code in [
            (["done"], 0), (["skipped"], 0), ([], 0),
            (["failed"], 3), (["done", "failed"], 1), (["failed", "failed"], 1),
        ]:  # fmt: skip
            summary = Summary(total=len(outcomes))
            for status in outcomes:
                summary.add(self.result(status, 3 if status == "failed" else 0))
            assert summary.exit_code == code

    def test_folders_that_cannot_be_read_count(self):
        summary = Summary(total=1, problems=[ImageError("p/locked: cannot be read")])
        summary.add(self.result("done"))
        assert summary.exit_code == 1

    def test_ctrl_c(self):
        assert Summary(total=3, interrupted=True).exit_code == 130
