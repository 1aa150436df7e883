"""``sr upscale`` of videos, as users see it."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("av", reason="PyAV isn't installed")

from sr_cli.__main__ import main
from sr_cli.console import upscaling
from support.clips import frames_of, make_clip, packets_of, times_of
from support.fast_python import python


@pytest.fixture
def weights(weights_of):
    return weights_of(name="compact", scale=2, width=8, depth=1)


@pytest.fixture
def sr(monkeypatch, capsys, tmp_path, weights):
    """Runs the command in this process: exit code, lines of stdout, lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        command = ["sr", "upscale", "--model", str(weights), "--preset", "ultrafast", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as done:
            main()
        captured = capsys.readouterr()
        return done.value.code or 0, captured.out.splitlines(), captured.err.splitlines()

    return run


def test_a_video_beside_a_picture_gives_a_result_each(sr, tmp_path):
    source = make_clip(tmp_path / "a.mp4", times=(0, 100, 250), audio="aac")
    frames_of(source)[0].to_image().save(tmp_path / "b.png")
    code, out, _ = sr("a.mp4", "b.png", "-o", "large", "--json")
    film, picture, summary = map(json.loads, out)
    assert code == 0
    assert (film["output"], film["status"], film["frames"], film["frames_before"]) == ("large/a_2x.mp4", "done", 3, 0)
    assert (film["input_size"], film["output_size"], film["model"]) == ([32, 24], [64, 48], "compact-x2")
    assert picture["output"] == "large/b_2x.png"
    assert summary["done"] == 2
    assert times_of(tmp_path / "large/a_2x.mp4") == [0, 0.1, 0.25]
    assert sr("a.mp4", "-o", "large", "--skip-existing")[0] == 0


def test_sizes_names_and_patterns(sr, tmp_path):
    for name in ("a.avi", "b.mp4"):
        make_clip(tmp_path / name, times=(0,))
    code, out, errors = sr("*.mp4", "a.avi", "--width", 51, "--dry-run")
    assert code == 0
    assert errors[0].startswith("2 of 2 pictures, ")
    assert [line.partition(":")[0] for line in out] == ["b.mp4 → b_50x38.mp4", "a.avi → a_50x38.mkv"]
    code, out, _ = sr("a.avi", "--width", 50, "-o", "c.mkv")
    assert (code, out) == (0, ["c.mkv"])
    assert (frames_of(tmp_path / "c.mkv")[0].width, frames_of(tmp_path / "c.mkv")[0].height) == (50, 38)


def test_progress_is_in_frames_with_their_rate(sr, tmp_path, monkeypatch):
    monkeypatch.setattr(upscaling, "_INTERVAL", 0)
    make_clip(tmp_path / "a.mp4", times=(0, 100, 200))
    errors = sr("a.mp4", "-o", "b.mp4")[2]
    assert errors[0] == "a.mp4: frame 1 of 3"
    assert re.fullmatch(r"a\.mp4: frame 2 of 3, [\d.]+ fps, [\d.]+ s left", errors[1])


def test_a_folder_gives_its_pictures_only(sr, tmp_path):
    source = make_clip(tmp_path / "films" / "a.mp4", times=(0,))
    code, _, errors = sr("films")
    assert code == 3
    assert "films" in errors[-1]
    frames_of(source)[0].to_image().save(tmp_path / "films" / "b.png")
    assert sr("films", "-o", "large")[:2] == (0, ["large/b_2x.png"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.mp4", "-o", "-"], 2, "a video needs -o FILE"),
        (["a.mp4", "-o", "b.png"], 7, "a video is written to .mp4"),
        (["a.mp4", "--max-input", "100"], 3, "more than"),
        (["cut.mp4"], 3, "cut.mp4: is cut off"),
    ],
)
def test_what_cannot_be_done_is_a_line(sr, tmp_path, arguments, code, words):
    source = make_clip(tmp_path / "a.mp4", times=(0, 100), container_options={"movflags": "faststart"})
    (tmp_path / "cut.mp4").write_bytes(source.read_bytes()[:-50])
    found, _, errors = sr(*arguments)
    assert found == code
    assert words in errors[-1]
    assert len([line for line in errors if line.startswith("error:")]) == 1


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_gives_the_same_file(tmp_path, weights):
    source = make_clip(tmp_path / "a.mp4", size=(64, 48), times=range(0, 1200, 100), audio="aac")
    stopping = (
        "import sys, time\nfrom sr_cli.__main__ import main\nfrom sr_cli.upscaling.upscaler import Upscaler\n"
        "from sr_cli.video import encoding\n"
        "left, encoding.SEGMENT_FRAMES, original = [0] * int(sys.argv.pop(1)), 4, Upscaler.upscale_picture\n"
        "def upscale(*values, **options):\n"
        "    while not left:  # one long sleep could begin just after the signal came\n        time.sleep(0.01)\n"
        "    left.pop()\n    return original(*values, **options)\n"
        "Upscaler.upscale_picture = upscale\nmain()\n"
    )

    def start(frames, output):
        command = [python(), "-c", stopping, str(frames), "upscale", str(source), "-o", output, "--model", str(weights)]
        return subprocess.Popen([*command, "--device", "cpu"], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert start(99, "whole.mp4").wait(300) == 0
    for number, segments, code in ((signal.SIGKILL, 1, -signal.SIGKILL), (signal.SIGINT, 2, 130)):
        process, deadline = start(6, "b.mp4"), time.monotonic() + 300
        while len(list(tmp_path.glob(".b.mp4.sr-work/*.mkv"))) < segments and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(300) == code
        assert not (tmp_path / "b.mp4").exists()
    assert start(99, "b.mp4").wait(300) == 0
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert packets_of(tmp_path / "b.mp4", "audio") == packets_of(source, "audio")
    assert not (tmp_path / ".b.mp4.sr-work").exists()
