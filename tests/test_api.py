"""What a notebook does with `sr_cli`: upscale, evaluate and train by names and folders, and look at the results."""

import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import sr_cli
from sr_cli import SrError, TrainingRun, Upscaler
from sr_cli.cli import app
from sr_cli.errors import DeviceError, ImageError, TrainingError, UsageError, WeightsError
from support.evaluations import folder_of_photos, weights_file

TINY = {"scale": 2, "width": 8, "depth": 1, "crop_size": 32, "batch_size": 2, "validation_photos": 1, "samples": 1,
        "device": "cpu"}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"scale": 2}])
@pytest.mark.slow
def test_a_bare_upscaler_does_what_the_command_does(options, tmp_path):
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((40, 32), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "clean.png")
    smooth.save(tmp_path / "photo.jpg", quality=30)
    upscaler = Upscaler()
    for name in ("clean.png", "photo.jpg"):
        path, large = tmp_path / name, tmp_path / f"large-{name}.png"
        command = ["upscale", str(path), "-o", str(large), *(f"--{key}={value}" for key, value in options.items())]
        assert CliRunner().invoke(app, command).exit_code == 0
        assert np.array_equal(np.asarray(upscaler(path, **options)), np.asarray(Image.open(large)))
    assert repr(upscaler).startswith("Upscaler('auto', x4, ")


def test_pillow_images_of_rare_modes_are_what_they_show():
    upscaler = Upscaler.from_pretrained()
    for mode, color in (("I", 40000), ("RGBa", (10, 20, 30, 40)), ("La", (10, 40))):
        large = upscaler.upscale(Image.new(mode, (8, 6), color))
        assert large.mode == {"I": "I;16", "RGBa": "RGBA", "La": "LA"}[mode]
        assert mode != "I" or abs(int(np.asarray(large)[0, 0]) - 40000) < 400


def test_what_is_not_there_is_an_sr_error(tmp_path):
    with pytest.raises(WeightsError, match="nothing-x4"):
        Upscaler("nothing-x4")
    with pytest.raises(DeviceError, match="cuda:99"):
        Upscaler(device="cuda:99")
    with pytest.raises(DeviceError, match="cuda:99"):
        sr_cli.evaluate(tmp_path, device="cuda:99")
    with pytest.raises(ImageError, match="nowhere"):
        sr_cli.evaluate(tmp_path / "nowhere", models=["compact-x4"])
    with pytest.raises(ImageError, match="nowhere"):
        sr_cli.train(tmp_path / "nowhere", run=tmp_path / "run")
    with pytest.raises(TrainingError, match="not the folder of a run"):
        TrainingRun.read(tmp_path)
    with pytest.raises(UsageError, match="'stepz'; did you mean steps"):
        sr_cli.train(tmp_path, run=tmp_path / "run", stepz=3)
    with pytest.raises(UsageError, match="'soon' is not a duration"):
        sr_cli.train(tmp_path, time="soon")


def test_a_folder_is_evaluated_and_shown(tmp_path):
    weights = weights_file(tmp_path / "<m>.safetensors")
    report = sr_cli.evaluate(folder_of_photos(tmp_path / "HR"), models=[weights], measures=("psnr", "ssim"))
    assert sr_cli.evaluate(tmp_path / "HR", metrics="psnr", scale=2).measures == ("psnr",)
    assert str(report).count("\n") == 3 and "PSNR" in str(report)
    shown = report._repr_html_()
    assert "&lt;m&gt;" in shown and "<m>" not in shown and "<b>" in shown
    table = report.to_dataframe()
    assert list(table.columns) == ["image", "method", "psnr", "ssim"] and len(table) == 3 * 2
    assert table[table.method == "bicubic"].psnr.mean() == pytest.approx(report.value("bicubic", "psnr"))


def test_a_folder_is_trained_on_and_the_run_goes_on(photo_folder, tmp_path):
    seen = []
    run = sr_cli.train(photo_folder, run=tmp_path / "run", steps=2, on_step=seen.append, **TINY)
    assert run.settings["arch"] == "compact" and run.steps == len(seen) == 2 and run.best == run.last
    upscaler = Upscaler(run.folder, device="cpu")
    assert upscaler.upscale(Image.new("RGB", (8, 6))).size == (16, 12)
    assert upscaler.upscale([np.zeros((6, 8, 3))], width=20)[0].shape == (15, 20, 3)
    assert "\nended:" in str(run) and str(run).startswith(str(run.folder))
    more = sr_cli.train(run=tmp_path / "run", resume=True, steps=3, time="2h", device="cpu")
    assert more.settings["hours"] == 2
    assert more.steps == 3 and more.end().startswith("by --steps 3 at step 3")
    again = sr_cli.train(run=tmp_path / "run", resume=True, steps=3, device="cpu")
    assert again.end() == more.end()
    assert set(more.bicubic) == {"psnr", "ssim"} and "PSNR" in more._repr_html_()
    with pytest.raises(TrainingError, match="already exists"):
        sr_cli.train(photo_folder, run=tmp_path / "run", steps=2, **TINY)


def test_a_loss_network_is_named_by_its_file_in_the_data_folder(photo_folder, tmp_path, monkeypatch, vgg_state):
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    save_file(vgg_state, tmp_path / "data" / "mine.safetensors")
    options = {"loss": "feature:relu1_1=1", "loss_weights": "mine", "steps": 1, **TINY}
    run = sr_cli.train(photo_folder, run=tmp_path / "run", **options)
    assert run.config["loss_network"] == "mine.safetensors" and list(run.metrics)[3] == "feature"


def test_an_interrupted_training_is_saved(photo_folder, tmp_path):
    def interrupt(step):
        if step.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    run = sr_cli.train(photo_folder, run=tmp_path / "run", steps=9, on_step=interrupt, **TINY)
    assert run.end().startswith("stopped by hand after step 2") and run.weights.is_file()
    assert signal.getsignal(signal.SIGINT) is before


def test_tables_need_pandas_only_when_they_are_made(photo_folder, monkeypatch):
    report = sr_cli.evaluate(photo_folder, measures=("psnr",), scale=2)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SrError, match="pip install pandas"):
        report.to_dataframe()
