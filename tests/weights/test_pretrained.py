"""The weights that ship, each one of them."""

import shlex

import numpy as np
import pytest
import torch
from PIL import Image

from sr_cli import Upscaler, weights
from sr_cli.config import DEFAULT_MODEL, JPEG_MODEL, PERCEPTUAL_MODEL, EvaluateConfig
from sr_cli.imageops.resize import resize
from sr_cli.networks.checkpoint import read_header
from sr_cli.weights.registry import PRETRAINED

SHIPPED = sorted(path.stem for path in PRETRAINED.glob("*.safetensors"))


def test_what_is_taken_without_a_name_ships():
    assert {DEFAULT_MODEL, PERCEPTUAL_MODEL, JPEG_MODEL} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
class TestShipped:
    @pytest.mark.slow
    def test_it_says_what_it_is(self, name):
        header = read_header(PRETRAINED / f"{name}.safetensors")
        assert {"architecture", "command", "training", "training_data", "loss_network", "metrics", "note",
                "weaknesses"} <= header.keys()  # fmt: skip
        assert header.keys() & {"license", "licence"}, "version 0.1 wrote licence"
        assert header["command"].startswith("sr train ")
        assert weights.entries()[name].scale == header["architecture"]["scale"]
        assert not any(part.startswith("/") for part in shlex.split(header["command"]))

    def test_it_is_small(self, name):
        assert (PRETRAINED / f"{name}.safetensors").stat().st_size < 2.5e6

    @pytest.mark.slow
    def test_tiles_leave_no_seam(self, name, photo):
        photo = photo[..., :40, :40]
        whole, tiled = (
            Upscaler.from_pretrained(name, tile=tile, dtype="float32").upscale_tensor(photo) for tile in (None, 17)
        )
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)

    @pytest.mark.slow
    def test_it_keeps_colors(self, name, photo):
        """Reduced again, the result is the input; a flat picture stays flat, but for the mesh of the report's own."""
        upscaler = Upscaler.from_pretrained(name, dtype="float32")
        sr = upscaler.upscale_tensor(photo)
        off = (resize(sr, (60, 84)) - photo).abs().mean()
        assert off < (0.05 if name.startswith("johnson") else 0.02)  # a tensor's colors are not corrected
        for value in (0, 51, 128, 204, 255):
            flat = np.asarray(upscaler.upscale(Image.new("RGB", (40, 40), (value,) * 3)), float)
            error = flat.mean((0, 1)) - value if name.startswith("johnson") else flat - value
            assert np.abs(error).max() <= 5

    @pytest.mark.slow
    def test_it_makes_no_pattern_of_faint_noise(self, name):
        """A third of a level, on gray: what rounding leaves. The report's own paint their mesh there."""
        if name.startswith("johnson"):
            pytest.skip("its loss is the report's, which rewards a mesh")
        torch.manual_seed(0)
        lr = ((128 + 0.3 * torch.randn(1, 1, 96, 96)).round() / 255).expand(-1, 3, -1, -1)
        assert Upscaler.from_pretrained(name, dtype="float32").upscale_tensor(lr).std() < 1.2 * lr.std()


@pytest.mark.parametrize(("ensemble", "least"), [(False, 31.7), (True, 31.8)])
@pytest.mark.slow
def test_the_default_reaches_its_quality(benchmarks, ensemble, least):
    from sr_cli.evaluation.evaluate import evaluate

    folder = benchmarks / "Set5"
    config = EvaluateConfig(measures=("psnr", "ssim"), ensemble=ensemble)
    report = evaluate(folder / "HR", lr=folder / "LRbicx4", models=[DEFAULT_MODEL], config=config)
    value = report.value(report.methods[-1].name, "psnr")
    assert value is not None and value >= least


@pytest.mark.slow
def test_the_perceptual_model_is_the_better_one_for_jpeg_files(benchmarks, tmp_path):
    from sr_cli.evaluation.evaluate import evaluate

    for path in (benchmarks / "Set5" / "LRbicx4").iterdir():
        Image.open(path).convert("RGB").save(tmp_path / f"{path.stem}.jpg", quality=75)
    config = EvaluateConfig(measures=("psnr", "dss", "checkerboard", "color_error"))
    models = [DEFAULT_MODEL, PERCEPTUAL_MODEL]
    report = evaluate(benchmarks / "Set5" / "HR", lr=tmp_path, models=models, config=config)
    value = {model: report.value(model, "dss") for model in ("bicubic", *models)}
    assert value[PERCEPTUAL_MODEL] > value[DEFAULT_MODEL] > value["bicubic"]
    assert report.value(PERCEPTUAL_MODEL, "psnr") > report.value("bicubic", "psnr")
    assert report.value(PERCEPTUAL_MODEL, "color_error") < report.value("bicubic", "color_error")
    assert report.value(PERCEPTUAL_MODEL, "checkerboard") < 1


@pytest.mark.slow
def test_the_reports_network_keeps_colors_without_correction(benchmarks):
    from sr_cli.evaluation.evaluate import evaluate

    config = EvaluateConfig(measures=("color_shift", "dss"), degradation="paper", color_match="none")
    report = evaluate(benchmarks / "Set5" / "HR", models=["johnson-x4"], config=config)
    assert report.value("johnson-x4", "color_shift") <= 2
    assert report.value("johnson-x4", "dss") > report.value("bicubic", "dss")
