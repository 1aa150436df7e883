"""``sr runs``: what there is, and how two runs differ."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sr_cli import console
from sr_cli.cli import app
from sr_cli.errors import TrainingError, UsageError


def begin(folder, lr, psnr):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"settings": {"arch": "compact", "scale": 4, "lr": lr, "best": "psnr"}})
    )
    (folder / "metrics.csv").write_text("step,loss\n20,0.5\n40,0.4\n")
    (folder / "validation.csv").write_text("step,psnr\n" + "".join(f"{20 * i + 20},{v}\n" for i, v in enumerate(psnr)))


def lines(*arguments):
    done = CliRunner().invoke(app, ["runs", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output.splitlines()


@pytest.fixture(autouse=True)
def two_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    begin(tmp_path / "runs" / "a", 0.001, [27.5, 28.25])
    begin(tmp_path / "runs" / "b", 0.002, [29.5, 28.0])


def test_all_runs_are_listed_with_their_best_validation():
    heading, first, second = lines()
    assert heading.split()[:2] == ["run", "arch"]
    assert first.split()[0] == "a" and "PSNR 28.25 dB" in first and first.split()[-1] == "40"
    assert "PSNR 29.50 dB" in second and second.split()[-1] == "20"


def test_a_comparison_shows_only_what_differs():
    rows = {row.split("  ")[0]: row.split("  ")[1:] for row in lines("a", "runs/b")}
    assert list(rows) == ["run", "lr", "steps", "best", "at step"]
    assert lines("a", "b")[1].split() == ["lr", "0.001", "0.002"]
    config = Path("runs/a/config.json")
    config.write_text(json.dumps({"settings": {**json.loads(config.read_text())["settings"], "hours": 35 / 3600}}))
    assert ["time", "35s", "–"] in [row.split() for row in lines("a", "b")]


def test_a_narrow_terminal_shows_fewer_settings_and_whole_names(monkeypatch, tmp_path):
    name = "a-run-with-a-rather-long-name"
    begin(tmp_path / "runs" / name, 0.001, [27.5])
    terminal = Console(force_terminal=True, width=80, height=50, color_system=None, highlight=False)
    monkeypatch.setattr(console, "out", terminal)
    heading, *rows = lines()
    assert name in [row.split()[0] for row in rows] and max(map(len, rows)) <= 80
    assert heading.split()[-4:] == ["steps", "best", "at", "step"] and "arch" in heading


def test_json_and_what_is_no_run(tmp_path):
    found = json.loads("\n".join(lines("--json")))
    assert [run["best"] for run in found] == [{"psnr": 28.25}, {"psnr": 29.5}]
    assert [run["folder"] for run in found] == ["runs/a", "runs/b"]
    with pytest.raises(TrainingError, match="not the folder of a run"):
        lines("c")
    begin(tmp_path / "others" / "new", 0.1, [])
    assert lines("--runs-dir", "others")[1].split()[-1] == "–"
    assert lines("--runs-dir", "nowhere") == ["nowhere: no runs yet; sr train PHOTOS begins one"]


def test_a_page_compares_runs():
    lines("a", "b", "--report", "both.html")
    text = Path("both.html").read_text()
    assert "a and b" in text and text.count("<polyline") == 2 * 2  # the loss, PSNR
    with pytest.raises(UsageError, match=r"has to end with \.html"):
        lines("a", "b", "--report", "both")
