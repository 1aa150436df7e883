"""``sr upscale`` as users see it: exit codes, stdout, stderr, and the files it writes."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import termios

import numpy as np
import pytest
from PIL import Image

from sr_cli.__main__ import main
from sr_cli.console import upscaling
from sr_cli.upscaling.batch.results import Result
from support.fast_python import python


def command() -> list[str]:
    """``sr upscale`` in a process of its own."""
    return [python(), "-m", "sr_cli", "upscale"]


def paint(path, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def weights(weights_of):
    return weights_of(name="compact", scale=2, width=8, depth=1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sr(monkeypatch, capsys, weights):
    """Runs the command in this process: exit code, lines of stdout, lines of stderr."""

    def run(*arguments, model=True):
        own = ["--model", str(weights)] if model else []
        monkeypatch.setattr(sys, "argv", ["sr", "upscale", *own, *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        captured = capsys.readouterr()
        return done.value.code or 0, captured.out.splitlines(), captured.err.splitlines()

    return run


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestFiles:
    def test_one_picture(self, sr, here):
        paint(here / "a.png")
        before = (here / "a.png").read_bytes()
        assert sr("a.png")[:2] == (0, ["a_2x.png"])
        assert Image.open(here / "a_2x.png").size == (16, 12)
        assert (here / "a.png").read_bytes() == before

    def test_a_tree_is_mirrored(self, sr, here):
        for name in ("p/a.png", "p/x/a.png", "p/x/y/b.jpg"):
            paint(here / name)
        code, out, _ = sr("p", "-r", "-o", "out")
        assert code == 0
        assert files(here / "out") == ["a_2x.png", "x/a_2x.png", "x/y/b_2x.jpg"]
        assert sorted(out) == ["out/a_2x.png", "out/x/a_2x.png", "out/x/y/b_2x.jpg"]

    def test_a_second_run_skips_and_says_so(self, sr, here):
        paint(here / "p" / "a.png")
        paint(here / "p" / "b.png")
        assert sr("p")[0] == 0
        stamp = (here / "p" / "a_2x.png").stat().st_mtime_ns
        code, out, err = sr("p")
        assert (code, out) == (0, [])
        assert "2 skipped" in err[0]
        assert (here / "p" / "a_2x.png").stat().st_mtime_ns == stamp
        assert files(here / "p") == ["a.png", "a_2x.png", "b.png", "b_2x.png"]

    def test_existing_results_of_named_files(self, sr, here):
        paint(here / "a.png")
        (here / "a_2x.png").write_text("mine")
        code, out, err = sr("a.png")
        assert (code, out, len(err)) == (7, [], 1)
        assert (here / "a_2x.png").read_text() == "mine"
        assert sr("a.png", "--if-exists", "rename")[1] == ["a_2x-2.png"]
        assert sr("a.png", "--if-exists", "overwrite")[0] == 0
        assert Image.open(here / "a_2x.png").size == (16, 12)

    def test_output_files_formats_and_names(self, sr, here):
        paint(here / "a.png")
        assert sr("a.png", "-o", "large.webp")[1] == ["large.webp"]
        assert Image.open(here / "large.webp").format == "WEBP"
        assert sr("a.png", "--format", "jpg", "--quality", "80", "--filename", "{stem}-{width}x{height}.{ext}")[1] == [
            "a-16x12.jpg"
        ]
        assert sr("a.png", "-o", "new/folder")[1] == ["new/folder/a_2x.png"]

    def test_png_level_changes_the_size_and_not_the_pixels(self, sr, here):
        paint(here / "a.png", (64, 48))
        for level in (0, 9):
            assert sr("a.png", "-o", f"{level}.png", "--png-level", level)[0] == 0
        assert (here / "0.png").stat().st_size > (here / "9.png").stat().st_size
        assert np.array_equal(*(np.asarray(Image.open(here / f"{level}.png")) for level in (0, 9)))
        assert sr("a.png", "-o", "x.png", "--png-level", 10)[0] == 2

    def test_names_that_scripts_trip_over(self, sr, here):
        odd = ["-rf.png", "new\nline.png", "[x].png", "🎈 [bold].png", "a'b\"c.png", "%s{stem}.png"]
        for name in odd:
            paint(here / name)
        code, out, _ = sr("--json", "--", *odd)
        assert code == 0
        assert [json.loads(line)["input"] for line in out[:-1]] == odd
        assert all((here / name.replace(".png", "_2x.png")).is_file() for name in odd)
        code, out, _ = sr("--if-exists", "overwrite", "--", *odd)
        assert len(out) == len(odd)  # a name is one line, whatever is in it

    def test_sizes(self, sr, here):
        paint(here / "a.png", (20, 10))
        for arguments, size in [
            (["--scale", "1.5"], (30, 15)), (["--scale", "4"], (80, 40)), (["--scale", "6"], (120, 60)),
            (["--size", "31x17"], (31, 17)), (["--width", "50"], (50, 25)),
            (["--height", "50"], (100, 50)), (["--max-pixels", "450"], (30, 15)),
        ]:  # fmt: skip
            code, out, _ = sr("a.png", *arguments, "--if-exists", "rename")
            assert code == 0
            assert Image.open(here / out[0]).size == size

    def test_a_list(self, sr, here):
        paint(here / "x" / "a.png")
        paint(here / "y" / "a.png")
        (here / "list").write_bytes(b"x/a.png\0y/a.png\0")
        assert sr("--from-file", "list", "-o", "out")[0] == 0
        assert files(here / "out") == ["x/a_2x.png", "y/a_2x.png"]

    def test_shards_and_torchrun(self, sr, here, monkeypatch):
        for i in range(5):
            paint(here / "p" / f"{i}.png")
        assert sr("p", "-o", "out", "--shard", "2/2")[0] == 0
        assert files(here / "out") == ["1_2x.png", "3_2x.png"]
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert sr("p", "-o", "out")[0] == 0
        assert len(files(here / "out")) == 5

    def test_a_dry_run(self, sr, here):
        paint(here / "p" / "a.png", (40, 30))
        code, out, err = sr("p", "-o", "out", "--dry-run")
        assert code == 0
        assert "40×30 → 80×60" in out[0]
        assert "nothing was written" in err[-1]
        assert files(here) == ["p/a.png"]

    def test_metadata(self, sr, here):
        exif = Image.Exif()
        exif[0x010F] = "Maker"
        Image.new("RGB", (8, 6)).save(here / "a.jpg", exif=exif)
        sr("a.jpg")
        assert Image.open(here / "a_2x.jpg").getexif()[0x010F] == "Maker"
        sr("a.jpg", "--metadata", "strip", "--if-exists", "overwrite")
        assert 0x010F not in Image.open(here / "a_2x.jpg").getexif()

    def test_a_comparison(self, sr, here):
        paint(here / "a.png", (60, 50))
        code, _, err = sr("a.png", "--compare", "sheet.png", "--preview")
        assert code == 0 and "--preview needs a color terminal" in err[0]
        sheet = Image.open(here / "sheet.png")
        assert sheet.width == 3 * 120 + 2 * 8  # the whole picture, as it is small, in three panels
        result = np.asarray(Image.open(here / "a_2x.png"))
        np.testing.assert_array_equal(np.asarray(sheet)[22:, 256:], result)

    @pytest.mark.parametrize(
        ("options", "subject"),
        [
            (["--compare", "sheet.png"], "--compare is"),
            (["-o", "x.png"], "-o x.png is a file,"),
        ],
    )
    def test_what_is_for_one_picture_refuses_two(self, sr, here, options, subject):
        for name in ("a.png", "b.png"):
            paint(here / "p" / name)
        code, _, err = sr("p", *options)
        assert code == 2 and err == [f"error: {subject} for one picture; there are 2"]

    def test_a_comparison_of_an_animation_shows_its_first_frame(self, sr, here):
        frames = [Image.new("RGB", (20, 10), color) for color in ("red", "blue")]
        frames[0].save(here / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
        assert sr("a.webp", "--animate", "--compare", "sheet.png")[0] == 0
        assert Image.open(here / "sheet.png").size == (3 * 40 + 2 * 8, 22 + 20)

    def test_every_default_is_in_the_help(self, sr):
        _, out, _ = sr("--help", model=False)
        text = re.sub(r"[\s│]+", " ", " ".join(out))
        for default in ("auto: what suits", "the network's", "268M", "95; AVIF", "beside the input", "else skip"):
            assert f"[default: ({default}" in text or default in text, default


class TestMachines:
    def test_json(self, sr, here):
        paint(here / "a.png")
        (here / "b.png").write_text("no picture")
        code, out, err = sr("a.png", "b.png", "--json")
        first, second, summary = map(json.loads, out)
        assert code == summary["exit_code"] == 1
        assert (first["status"], first["output_size"], first["scale"], first["error"]) == ("done", [16, 12], 2, None)
        assert {"seconds", "megapixels_per_second", "peak_memory", "tile", "model", "warnings"} <= set(first)
        assert (second["status"], summary["done"], summary["failed"]) == ("failed", 1, 1)
        assert summary["failures"][0]["input"] == "b.png"
        assert err[-1].startswith("error: b.png")

    def test_quiet_and_verbose(self, sr, here):
        paint(here / "a.png")
        assert sr("a.png", "--quiet") == (0, [], [])
        code, out, err = sr("a.png", "--verbose", "--if-exists", "overwrite")
        assert (code, out) == (0, ["a_2x.png"])
        assert "8×6 → 16×12" in err[0]
        assert sr("a.png", "-q", "-v")[0] == 2

    def test_one_bad_file_among_many(self, sr, here):
        for i in range(20):
            paint(here / "p" / f"{i:02}.png")
        (here / "p" / "07.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
        code, out, err = sr("p", "-o", "out")
        assert (code, len(out), len(files(here / "out"))) == (1, 19, 19)
        assert "19 done, 1 failed" in err[-2]
        assert "07.png" in err[-1]


def broken(here):
    (here / "text.png").write_text("hello")
    whole = paint(here / "whole.jpg", (64, 64)).read_bytes()
    (here / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (here / "zero.png").write_bytes(b"")
    (here / "folder").mkdir()
    (here / "no-weights.safetensors").write_text("hello")
    return paint(here / "a.png")


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["text.png"], 3, "text.png"),
        (["cut.jpg"], 3, "cut.jpg"),
        (["zero.png"], 3, "zero.png"),
        (["missing.png"], 3, "missing.png"),
        (["folder"], 3, "folder"),
        (["nothing/*.png"], 3, "nothing/*.png"),
        (["a.png", "--model", "unheard-of"], 4, "unheard-of"),
        (["a.png", "--model", "missing.safetensors"], 4, "missing.safetensors"),
        (["a.png", "--model", "no-weights.safetensors"], 4, "no-weights.safetensors"),
        (["a.png", "--model", "a.png"], 4, "a.png"),
        (["a.png", "--scale", "0"], 2, "scale"),
        (["a.png", "--scale", "-2"], 2, "scale"),
        (["a.png", "--scale", "2", "--width", "7"], 2, "exclude"),
        (["a.png", "--size", "huge"], 2, "huge"),
        (["a.png", "--tile", "0"], 2, "--tile"),
        (["a.png", "--format", "docx"], 2, "docx"),
        (["a.png", "--filename", "{who}.png"], 2, "{who}"),
        (["a.png", "--shard", "4/3"], 2, "4/3"),
        (["a.png", "--device", "abacus"], 6, "abacus"),
        (["a.png", "-o", "a.png"], 2, "a.png"),
        (["a.png", "whole.jpg", "-o", "one.png"], 2, "one.png"),
        (["a.png", "-o", "a.png/b"], 7, "a.png"),
        (["a.png", "--max-input", "10"], 3, "--max-input"),
        ([], 2, "nothing to upscale"),
        (["-"], 2, "-o"),
        (["-", "a.png", "-o", "-"], 2, "one picture"),
        (["--from-file", "missing.txt"], 3, "missing.txt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.slow
def test_bad_input_is_one_line_and_writes_nothing(sr, here, arguments, code, named):
    broken(here)
    before = {name: (here / name).stat().st_mtime_ns for name in files(here)}
    got, out, err = sr(*arguments)
    assert (got, out, len(err)) == (code, [], 1), err
    assert err[0].startswith("error: ")
    assert named in err[0]
    assert {name: (here / name).stat().st_mtime_ns for name in files(here)} == before


class TestProcesses:
    @pytest.mark.slow
    def test_pipes(self, weights):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 6), (10, 200, 30)).save(buffer, "PNG")
        done = subprocess.run(
            [*command(), "-", "-o", "-", "--model", weights], input=buffer.getvalue(), capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")
        large = Image.open(io.BytesIO(done.stdout))
        assert (large.format, large.size) == ("PNG", (16, 12))
        bad = subprocess.run([*command(), "-", "-o", "-", "--model", weights], input=b"hello", capture_output=True)
        assert (bad.returncode, bad.stdout, len(bad.stderr.splitlines())) == (3, b"", 1)
        assert bad.stderr.startswith(b"error: stdin: ")

    @pytest.mark.slow
    def test_torchrun_goes_on_when_one_process_has_failures(self, here, weights):
        """It would end the others as soon as one ends with an error."""
        for i in range(40):
            paint(here / "p" / f"{i:02}.png", (60, 60))
        (here / "p" / "01.png").write_text("no picture")
        torchrun = [python(), "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
        command = [*torchrun, "-m", "sr_cli", "upscale", "p", "-o", "out", "--model", weights, "--device", "cpu"]
        environment = os.environ | {"PYTHON_EXEC": python()}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode != 0
        assert len(files(here / "out")) == 39, done.stderr

    @pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    @pytest.mark.slow
    def test_being_stopped_leaves_whole_files_only(self, here, weights_of, kill):
        slow = weights_of(name="compact", scale=4, width=64, depth=8)
        for i in range(60):
            paint(here / "p" / f"{i:02}.png", (150, 120))
        process = subprocess.Popen(
            [*command(), "p", "-o", "out", "--model", slow, "--dtype", "float32"],  # slow on every CPU
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        process.stdout.readline()
        process.send_signal(kill)
        _, err = process.communicate()
        assert process.returncode == (-signal.SIGKILL if kill == signal.SIGKILL else 130)
        written = files(here / "out")
        assert 1 <= len(written) < 60
        for name in written:
            assert Image.open(here / "out" / name).convert("RGB").size == (600, 480)
        if kill != signal.SIGKILL:
            assert err.splitlines()[-1].startswith(f"interrupted: {len(written)} done, {60 - len(written)} not done")

    def test_a_full_disk_is_named_and_leaves_nothing(self, here, weights):
        paint(here / "a.png", (300, 300))
        program = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
            "from sr_cli.__main__ import main; main()"
        )
        done = subprocess.run(
            [python(), "-c", program, "upscale", "a.png", "--model", weights], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (7, "")
        assert "no space left on the disk" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert files(here) == ["a.png"]

    def test_off_a_terminal_there_are_plain_lines(self, here, weights):
        for i in range(3):
            paint(here / "p" / f"{i}.png")
        done = subprocess.run([*command(), "p", "--model", weights], capture_output=True, text=True)
        assert "\033" not in done.stdout + done.stderr
        assert done.stderr.startswith("3 done")


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize("options", [[], ["--json"], ["--preview"]])
@pytest.mark.parametrize("piped", [True, False])
@pytest.mark.slow
def test_bars_on_a_terminal_leave_results_whole(here, weights, options, piped):
    for i in range(3):
        paint(here / "p" / f"{i}.png")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [*command(), "p", "--model", weights, *options],
        stdin=theirs,
        stdout=subprocess.PIPE if piped else theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # so a pseudo-terminal ends
        while read := os.read(ours, 4096):
            shown += read.decode(errors="replace")
    os.close(ours)
    expected = ['{"input": "p/', '{"summary"'] if "--json" in options else ["p/0_2x.png"]
    if process.stdout:
        results = process.stdout.read().decode()
        assert len(results.splitlines()) == (4 if "--json" in options else 3)
        assert not any(start in shown for start in expected)
    else:
        assert all(re.search(rf"(?:^|\n|\x1b\[2K){re.escape(start)}", shown) for start in expected)
    assert ("▀" in shown) == ("--preview" in options)
    assert process.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.slow
def test_a_preview_without_colors_is_a_plain_line(here, weights, variable):
    paint(here / "a.png")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*command(), "a.png", "--model", weights, "--preview"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", **variable},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while read := os.read(ours, 4096):
            shown += read
    os.close(ours)
    assert process.communicate()[0] == b"a_2x.png\n"
    assert b"--preview needs a color terminal" in shown
    assert "▀".encode() not in shown


def test_a_batch_of_small_pictures_tells_of_pictures_and_not_of_tiles(monkeypatch, capsys):
    monkeypatch.setattr(upscaling, "_INTERVAL", -1.0)
    with upscaling.upscaling_progress(2, upscaling.OutputOptions()) as progress:
        progress.on_tile(1, 1)
        progress.show(Result(input="a.png", output="a_2x.png", status="skipped"))
    assert capsys.readouterr().err.splitlines() == ["1 of 2 pictures"]


@pytest.mark.slow
def test_a_broken_pipe_is_no_traceback(here, weights):
    paint(here / "a.png", (400, 400))
    process = subprocess.Popen(
        [*command(), "a.png", "-o", "-", "--model", weights], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    err = process.stderr.read()
    process.wait()
    assert process.returncode == 7
    assert len(err.splitlines()) == 1
    assert files(here) == ["a.png"]
