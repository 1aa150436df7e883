import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from sr_cli.errors import TrainingError
from sr_cli.system.telemetry import EnergyReport
from sr_cli.training.report import MOST_POINTS, MOST_SAMPLES, flatten, read_table, thin_out, write_report


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "<b>night & day"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"settings": {"lr": 1e-3, "clip": None}, "data": {"photos": 800}}))
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
    assert "settings.lr" in page and "0.001" in page and "data.photos" in page
    assert "unavailable" in page and "126" in page
    assert "&lt;b&gt;night &amp; day" in page and "<b>night" not in page
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert "http" not in page


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
