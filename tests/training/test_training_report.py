import contextlib
import json
import re
import shutil
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from sr_cli.errors import TrainingError
from sr_cli.html import Axis
from sr_cli.system.telemetry import EnergyReport
from sr_cli.training.report import MOST_POINTS, MOST_SAMPLES, charts, flatten, page, thin_out, write_report
from sr_cli.training.runs import TrainingRun, read_table
from support.chromium import PROGRAM, chromium


def write_config(folder, **changes):
    settings = {"arch": "compact", "lr": 1e-3, "clip": None, "steps": 1500}
    config = {"settings": settings, "data": {"photos": 800}, "bicubic": {"psnr": 26.5}}
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "<b>night & day"
    (folder / "samples").mkdir(parents=True)
    write_config(folder)
    rows = ["step,epoch,seconds,pixel_l1,checkerboard,lr,images_per_second,loading,device_power"]
    rows += [f"{i},{i / 200},0.3,{1 / i},{0.5 / i if i > 5 else ''},0.001,12.5,0.01," for i in range(1, 1501)]
    (folder / "metrics.csv").write_text("\n".join(rows))
    (folder / "validation.csv").write_text("step,psnr,ssim\n500,27.5,0.8\n1000,28.5,0.81\n1500,nan,0.82\n")
    for step in range(0, 3000, 100):
        Image.fromarray(np.full((4, 16, 3), step % 256, np.uint8)).save(folder / "samples" / f"step-{step}.png")
    return folder


def test_the_page_has_all_and_loads_nothing(run):
    (run / "energy.json").write_text(json.dumps(asdict(EnergyReport(device="GPU", seconds=9, mean_watts=126.0))))
    page = write_report(run).read_text()
    assert page.count("<polyline") == 2 + 1 + 1 + 1 + 1
    assert "validation, PSNR" in page and ">checkerboard: " in page and "28.5" in page
    assert page.count('class="reference"') == 1 and "bicubic: 26.5" in page
    assert "<th>lr</th>" in page and "0.001" in page and "data.photos" in page
    assert "126" in page and page.count("unavailable") == 1  # the energy, as nothing counted it
    assert "&lt;b&gt;night &amp; day" in page and "<b>night" not in page
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert "http" not in page


@pytest.mark.parametrize("strange", [None, -1, 1e308, "", [], {"a": None}, "\x1b[2J"])
def test_strange_settings_are_shown_or_refused(run, strange):
    for name in ("arch", "scale", "loss", "degradation", "best", "steps"):
        write_config(run, settings={"arch": "compact", name: strange}, ended={"seconds": 1, "step": 1, "by": ["steps"]})
        with contextlib.suppress(TrainingError):
            assert page([read := TrainingRun.read(run)]) and read.best == (28.5, 1000)


def test_long_runs_stay_readable(run):
    page = write_report(run).read_text()
    longest = max(len(points.split()) for points in re.findall(r'points="([^"]*)"', page))
    assert 100 < longest <= MOST_POINTS
    steps = [int(step) for step in re.findall(r"\[(\d+), \"data:", page)]
    assert len(steps) == MOST_SAMPLES and steps[0] == 0 and steps[-1] == 2900 and steps == sorted(steps)


def test_a_run_that_has_just_begun_has_a_page(run):
    for path in (run / "metrics.csv", run / "validation.csv", *(run / "samples").iterdir()):
        path.unlink()
    assert "No step has been recorded yet" in write_report(run).read_text()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="not the folder of a run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_averaging_keeps_the_mean():
    points = [(float(i), float(i % 7)) for i in range(10_000)]
    few = thin_out(points, most=100)
    assert len(few) == 100
    assert np.mean([value for _, value in few]) == pytest.approx(np.mean([value for _, value in points]))
    assert thin_out(points[:5]) == points[:5]


def test_tables_and_settings(run):
    assert read_table(run / "missing.csv") == {}
    assert "device_power" not in read_table(run / "metrics.csv")
    assert flatten({"a": {"b": None, "c": 0.5}, "d": [1, 2]}) == [("a.b", "–"), ("a.c", "0.5"), ("d", "[1, 2]")]


def test_the_header_says_what_was_trained_and_how_it_ended(run):
    facts = dict(TrainingRun.read(run).facts())
    assert facts["best"] == "PSNR 28.50 dB at step 1000" and facts["bicubic"] == "PSNR 26.50 dB"
    assert facts["ended"].startswith("not yet, or it broke off")
    ends = {"by --steps 1500 at step 1500, in 0:01:05": ["steps"], "stopped by hand after step 1500, in 0:01:05": []}
    for text, by in ends.items():
        write_config(run, ended={"step": 1500, "seconds": 65.2, "by": by})
        assert dict(TrainingRun.read(run).facts())["ended"] == text
        assert text in write_report(run).read_text()


def test_ticks_are_round_few_and_on_the_axis():
    for low, high in ((26.53, 28.9), (0, 1e6), (-3e-5, 2e-5), (0.999, 1.001)):
        ticks = Axis(low, high).ticks()
        assert 3 <= len(ticks) <= 7 and all(low <= tick <= high for tick in ticks)
        assert all(float(f"{tick:.5g}") == pytest.approx(tick, abs=1e-9) for tick in ticks)
    assert Axis(1e-5, 1, logarithmic=True).ticks() == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1])
    assert Axis(0.02, 0.5, logarithmic=True).ticks() == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5])
    assert 3 <= len(Axis(0.9, 0.95, logarithmic=True).ticks()) <= 7
    assert Axis(3.0, 3.0).ticks() == [3.0]


def test_runs_are_drawn_over_each_other_and_told_apart(run, tmp_path):
    other = tmp_path / "runs" / "other"
    shutil.copytree(run, other)
    write_config(other, settings={"arch": "compact", "lr": 2e-3, "clip": None, "steps": 1500})
    text = page([TrainingRun.read(run), TrainingRun.read(other)])
    assert all(len(chart.curves) == 2 for chart in charts([TrainingRun.read(run), TrainingRun.read(other)]))
    differing = text[text.index("Settings that differ") : text.index("<summary>Settings</summary>")]
    assert re.findall(r"<tr><th>(\w+)</th>", differing) == ["lr"]


def test_a_notebook_shows_a_run_and_tables_it(run):
    read = TrainingRun.read(run)
    shown = read._repr_html_()
    assert shown.count("<polyline") == 4 and "PSNR 28.50 dB" in shown and "<b>night" not in shown
    table = read.to_dataframe()
    assert len(table) == 1500 and table.set_index("step")["psnr"].dropna().to_dict() == {500: 27.5, 1000: 28.5}


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
def test_values_appear_under_the_pointer(run):
    with chromium() as tab:
        tab.window(1200, 900)
        tab.open(write_report(run))
        box = tab.run(
            "(b => [b.left, b.top, b.width, b.height])(document.querySelector('svg').getBoundingClientRect())"
        )
        key = "document.querySelector('.key').innerText"
        assert "psnr: 28.5" in tab.run(key) and "at the end" in tab.run(key)
        tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + box[2] * 200 / 480, y=box[1] + box[3] / 2)
        assert "psnr: 27.5" in tab.run(key) and "step 500" in tab.run(key)
        assert tab.problems == []
