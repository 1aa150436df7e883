"""What people type from habit: short options, pictures in place of commands, TAB; and the form of help and errors."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sr_cli import console
from sr_cli.__main__ import main
from sr_cli.cli import completion
from sr_cli.cli.completion import completer
from sr_cli.config import parse_scale, parse_whole_scale
from sr_cli.images import FORMATS
from sr_cli.losses.parse import PRESETS
from support.evaluations import folder_of_photos
from support.fast_python import python

COMMANDS = ("upscale", "train", "evaluate", "download-weights", "serve", "export", "runs", "models", "info")


@pytest.fixture
def sr(monkeypatch, capsys, tmp_path):
    """Runs ``sr`` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sr", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        captured = capsys.readouterr()
        return done.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def model(weights_of):
    return weights_of(name="compact", scale=2, width=8, depth=1)


def paint(path):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6), (10, 200, 30)).save(path)


def test_a_picture_in_place_of_a_command_is_upscaled(sr, tmp_path, model):
    paint(tmp_path / "a.png")
    assert sr("a.png", "-m", model, "-s", "2x", "-f", "webp")[:2] == (0, "a_2x.webp\n")
    assert sr("b.png")[2] == "error: b.png: no such file\n"
    assert (
        "no command, file or folder is called 'upscle'. Did you mean 'upscale'? (see sr --help)"
        in sr("upscle", "a.png")[2]
    )


def test_what_would_be_an_output_elsewhere_is_refused_before_any_work(sr, tmp_path, model):
    paint(tmp_path / "a.png")
    paint(tmp_path / "photos" / "a.png")
    (tmp_path / "empty").mkdir()
    for inputs in (
        ("a.png", "b.png"),
        ("a.png", "new"),
        ("a.png", "empty"),
        ("photos", "out"),
        ("a.png", "a.png", "new"),
    ):
        code, out, err = sr("upscale", "-m", model, *inputs)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {inputs[-1]}: ") and err.endswith(f"-o {inputs[-1]}\n")
    for name in ("a.jpgg", "a.tga", "a.jp2", "a.psd"):
        code, _, err = sr("upscale", "a.png", "-o", name)
        assert code == 2 and "unknown format" in err
    assert "unknown format" in sr("upscale", "a.png", "b.png", "-o", "both.jp2")[2]
    assert "is there and not a folder" in sr("upscale", "a.png", "-o", "/dev/null", "--overwrite")[2]
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["a.png", "a.png"]
    assert sr("upscale", "-m", model, "a.png", "-o", "a.jpgg/")[1] == "a.jpgg/a_2x.png\n"


def test_hints_at_what_was_meant(sr, tmp_path, model):
    paint(tmp_path / "-dash.png")
    assert sr("upscale", "-dash.png")[2].endswith("; for the file write ./-dash.png\n")
    assert sr("upscale", "-m", model, "--size", "9x9", "./-dash.png", "-o", "b.png")[2].count("proportions") == 1
    assert "proportions" not in sr("upscale", "-m", model, "--size", "16x12", "./-dash.png", "-o", "c.png")[2]
    assert "-m compact-x4 -m photo-x4" in sr("evaluate", ".", "-m", "compact-x4,photo-x4")[2]


def test_existing_results_are_kept_or_replaced(sr, tmp_path, model):
    paint(tmp_path / "a.png")
    (tmp_path / "a_2x.png").write_text("mine")
    assert sr("a.png", "-m", model)[0] == 7
    assert sr("a.png", "-m", model, "--skip-existing")[:2] == (0, "")
    assert (tmp_path / "a_2x.png").read_text() == "mine"
    assert sr("a.png", "-m", model, "--overwrite")[:2] == (0, "a_2x.png\n")
    assert sr("a.png", "--overwrite", "--if-exists", "skip")[0] == 2


@pytest.mark.parametrize("text", ["4", "4x", "x4", "4X", "×4", "4.0"])
def test_factors_have_many_spellings(text):
    assert parse_scale(text) == parse_whole_scale(text) == 4


@pytest.mark.parametrize("text", ["", "x", "-4", "4x4", "four", "."])
def test_what_is_not_a_factor(text):
    with pytest.raises(ValueError, match="is not a factor"):
        parse_scale(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_empty_types_and_breaks_no_word(sr, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = sr(command, "--help")
    assert code == 0 and "<bool>" not in out and "<list" not in out
    assert sr("help", command)[1] == out
    assert sr("version") == sr("--version")
    assert "Examples" in out and not re.search(r"[\w.]…", out.replace("PATTERN…", ""))  # nothing is cut
    shown = set(re.findall(r"[\w-]+", out))
    if command == "upscale":
        assert {"low-frequency", "bfloat16", "overwrite", "rename"} <= shown


@pytest.mark.parametrize(
    "arguments",
    [("models", "--colour"), ("nonsense",), ("evaluate",), ("upscale", "--jobs", "0"), ("upscale", "--dtype", "int8")],
)
def test_a_wrong_command_line_is_one_error_line(sr, arguments):
    code, out, err = sr(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.fullmatch(r"error: .+ \(see sr( \w+)? --help\)\n", err)


def test_without_a_command_there_is_help(sr):
    code, out, err = sr()
    assert (code, err) == (0, "") and "Usage: sr" in out
    assert sr("-V") == sr("-v") == sr("--version")


def test_completed_names_are_those_that_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tuple(each.suffixes[0][1:] for each in FORMATS.values()) == completion.FORMATS
    assert tuple(PRESETS) == completion.LOSSES
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "config.json").write_text(json.dumps({}))
    assert completer("model")("ph") == ["photo-x2", "photo-x4"]
    assert completer("model")("ru") == ["runs/mine"]
    assert completer("resume")("") == ["mine"]
    assert completer("metrics")("psnr,ss") == ["psnr,ssim"]
    assert completer("tile") is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.slow
def test_shells_are_told(shell):
    words = "sr upscale --model phot"
    asked = {
        "COMP_WORDS": words,
        "COMP_CWORD": "3",
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = "import sys; sys.argv[0] = 'sr'; from sr_cli.__main__ import main; main()"
    done = subprocess.run(
        [python(), "-c", program], env={**os.environ, **asked, "_SR_COMPLETE": f"complete_{shell}"}, capture_output=True
    )
    assert b"photo-x4" in done.stdout, done.stderr


def test_zsh_takes_our_completion_not_the_one_of_surfraw(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    completion.prefer_to_surfraw()  # where another shell's was installed
    assert not list(tmp_path.iterdir())
    (tmp_path / ".zfunc").mkdir()
    (tmp_path / ".zfunc" / "_sr").touch()
    (tmp_path / ".zshrc").write_text("autoload -Uz compinit; compinit\n")
    completion.prefer_to_surfraw()
    completion.prefer_to_surfraw()
    assert (tmp_path / ".zshrc").read_text() == "autoload -Uz compinit; compinit\nsource ~/.zfunc/_sr\n"


def test_one_picture_is_told_in_a_line(sr, tmp_path, model):
    paint(tmp_path / "a.png")
    assert re.fullmatch(r"8×6 → 16×12, compact-x2, 0\.\d s\n", sr("a.png", "-m", model)[2])
    assert sr("a.png", "-m", model, "--overwrite", "-q")[2] == ""


def test_what_is_left_out_is_said_once(sr, tmp_path, model):
    paint(tmp_path / "photos" / "a.png")
    paint(tmp_path / "photos" / "b.png")
    (tmp_path / "photos" / "more").mkdir()
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    err = sr("upscale", "-m", model, "photos", "-o", "out", "--quality", 50)[2]
    assert err.count("--quality has no effect on PNG") == 1
    assert err.count("photos: 1 subfolder not searched; -r includes them") == 1
    assert "subfolder" not in sr("upscale", "-m", model, "photos", "-o", "all", "-r")[2]
    assert "only the first of 2 frames" in sr("a.gif", "-m", model)[2]
    assert "frames" not in sr("a.gif", "-m", model, "--animate", "-f", "gif")[2]
    assert "--quality" not in sr("a.gif", "-m", model, "-f", "jpg", "--quality", 50)[2]


def test_the_folder_of_a_run_is_a_model(sr, tmp_path, model, monkeypatch):
    paint(tmp_path / "a.png")
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    assert "is it a finished run" in sr("a.png", "-m", "runs/mine")[2]
    shutil.copy(model, run / "model.safetensors")
    (run / "last.pt").write_bytes(b"state")
    assert sr("a.png", "-m", "runs/mine", "--filename", "{model}.{ext}")[1] == "mine.png\n"
    code, _, err = sr("a.png", "-m", "runs/mine/last.pt")
    assert code == 4 and "last.pt is a training state; use runs/mine/model.safetensors" in err
    assert "no upscaler called 'mine'; did you mean runs/mine?" in sr("a.png", "-m", "mine")[2]
    monkeypatch.chdir(tmp_path / "runs")
    assert sr("../a.png", "-m", "mine", "--filename", "{model}-again.{ext}")[1] == "../mine-again.png\n"


@pytest.mark.slow
def test_the_model_is_chosen_by_the_picture(sr, tmp_path):
    smooth = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    smooth.save(tmp_path / "a.png")
    smooth.save(tmp_path / "b.jpg", quality=80)
    assert "compact-x4 (clean, " in sr("a.png")[2]
    assert "photo-x4 (photo, JPEG of quality 80)" in sr("b.jpg", "-o", "b.png")[2]
    assert "24×16 → 48×32, compact-x2 (clean, " in sr("a.png", "-s", "2")[2]
    assert "24×16 → 48×32, photo-x2 (photo, " in sr("b.jpg", "-s", "2")[2]
    assert "24×16 → 192×128, compact-x8, " in sr("b.jpg", "-s", "8")[2]
    smooth.save(tmp_path / "c.jpg", quality=90)
    assert "24×16 → 48×32, compact-x2 (photo, JPEG of quality 90)" in sr("c.jpg", "-s", "2")[2]
    assert "compact-x4 for 1, photo-x4 for 1; --model or --for" in sr("upscale", "a.png", "b.jpg", "-o", "out")[2]
    assert "photo-x4, " in sr("a.png", "--for", "photo", "-o", "photo.png")[2]
    assert "photo-x2, " in sr("a.png", "--for", "photo", "-s", "2", "-o", "twice.png")[2]
    assert sr("b.jpg", "-m", "photo-x4", "-o", "named.png")[0] == 0
    assert (tmp_path / "named.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sr("a.png", "--for", "photo", "-m", "photo-x4")[0] == 2
    reasons = [
        json.loads(line).get("reason") for line in sr("upscale", "b.jpg", "-o", "c.png", "--json")[1].splitlines()
    ]
    assert reasons == ["photo, JPEG of quality 80", None]


def test_the_line_for_cron_mails_only_failures(sr, tmp_path):
    page = Path(__file__).parents[2] / "docs" / "how-to" / "batches.md"
    (line,) = re.findall(
        r"\*/15 \* \* \* \* cd /srv/photos && flock -n .lock sr (.*)", page.read_text(encoding="utf-8")
    )
    arguments, log = line.split(), tmp_path / "upscale.log"
    (tmp_path / "inbox").mkdir()
    assert sr(*arguments) == (0, "", "")
    assert "inbox: no images" in log.read_text(encoding="utf-8")
    paint(tmp_path / "inbox" / "a.png")
    assert sr(*arguments) == (0, "", "")
    assert re.search(
        r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d inbox/a.png → large/a_4x.png: 8×6 → 32×24", log.read_text(), re.M
    )
    (tmp_path / "inbox" / "b.png").write_text("no picture")
    code, out, err = sr(*arguments)
    assert (code, out) == (1, "") and "inbox/b.png" in err and "inbox/b.png" in log.read_text()


def test_an_empty_folder_is_an_error_unless_it_may_be(sr, tmp_path, model):
    (tmp_path / "empty").mkdir()
    paint(tmp_path / "a.png")
    assert sr("upscale", "empty")[0] == 3
    code, out, _ = sr("upscale", "empty", "--empty-ok", "--json")
    assert (code, json.loads(out)["total"]) == (0, 0)
    assert sr("upscale", "missing", "--empty-ok")[0] == 3
    assert sr("upscale", "empty", "a.png", "-m", model, "-o", "out", "--empty-ok")[:2] == (0, "out/a_2x.png\n")
    assert sr("upscale", "a.png", "--log-file", "no/such/folder.log")[0] == 7


def test_a_failure_is_an_error_in_the_log_and_in_a_dry_run(sr, tmp_path, model):
    paint(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no picture")
    code, out, err = sr("upscale", "in", "-o", "out", "-m", model, "--dry-run")
    assert (code, out) == (1, "in/a.png → out/a_2x.png: 8×6 → 16×12\n")
    assert err.splitlines()[-1].startswith("error: in/b.png: is not an image")
    assert sr("upscale", "in", "-o", "out", "-m", model, "--json", "-q", "--log-file", "log")[0] == 1
    lines = [line[20:] for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert lines[0].startswith("sr ") and lines[0].endswith("--json -q --log-file log")
    assert lines[1].startswith("in/a.png → out/a_2x.png: 8×6 → 16×12, ")
    assert [line.startswith("error: in/b.png: ") for line in lines[2:]] == [True, False]


def test_an_evaluation_can_be_quiet_and_says_what_flatters_a_run(sr, tmp_path, model):
    folder_of_photos(tmp_path / "photos", "a")
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    shutil.copy(model, run / "model.safetensors")
    config = {"settings": {"arch": "compact"}, "data": {"folder": str(tmp_path / "photos")}}
    (run / "config.json").write_text(json.dumps(config))
    code, _, err = sr("evaluate", "photos", "-m", "runs/mine", "--metrics", "psnr", "-q")
    assert (code, err) == (0, "warning: runs/mine: was trained on these photos, so its figures flatter it\n")


def test_results_of_an_earlier_run_are_named(sr, tmp_path, model):
    for name in ("a.png", "a_4x.png"):
        paint(tmp_path / "in" / name)
    err = sr("upscale", "in", "-o", "out", "-m", model)[2]
    assert "left out, as a result of an earlier run: in/a_4x.png; to upscale such a file, name it\n" in err


def test_a_full_disk_ends_the_batch(sr, tmp_path, model, small_disk):
    for i in range(9):
        paint(tmp_path / "in" / f"{i}.png")
    (small_disk / "full").write_bytes(bytes(204_800))
    code, out, err = sr("upscale", "in", "-o", str(small_disk), "-m", model)
    assert (code, out) == (1, "") and "error: the disk is full or read-only: stopped" in err
    assert err.count("no space left on the disk") == 3 and [each.name for each in small_disk.iterdir()] == ["full"]


def test_a_folder_that_cannot_be_written_does_not_end_the_batch(sr, tmp_path, model):
    for name in ("a/0", "a/1", "a/2", "a/3", "b/4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        paint(tmp_path / "in" / f"{name}.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("in the way of the folder")
    code, _, err = sr("upscale", "in", "-r", "-o", "out", "-m", model)
    assert code == 1 and err.count("out/a is not a folder") == 4
    assert (tmp_path / "out" / "b" / "4_2x.png").exists()


@pytest.fixture(autouse=True)
def no_log(monkeypatch):
    monkeypatch.setattr(console, "_log", None)
