"""An evaluation on a GPU gives the CPU's figures, in its default dtype."""

import pytest

from sr_cli.config import EvaluateConfig
from sr_cli.evaluation.evaluate import evaluate
from support.evaluations import folder_of_photos

MODELS = ("compact-x4", "johnson-x4")


@pytest.mark.gpu
def test_the_figures_are_those_of_the_cpu(tmp_path, gpu):
    photos, config = folder_of_photos(tmp_path), EvaluateConfig(measures=("psnr", "ssim"))
    on_cpu, on_gpu = (evaluate(photos, models=MODELS, config=config, device=device) for device in ("cpu", gpu))
    for model in MODELS:
        assert on_gpu.value(model, "psnr") == pytest.approx(on_cpu.value(model, "psnr"), abs=1e-3)
        assert on_gpu.value(model, "ssim") == pytest.approx(on_cpu.value(model, "ssim"), abs=1e-5)
