"""`evaluate` and ``sr evaluate``: rows and means, files matched, failures named, thresholds kept."""

import importlib
import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from sr_cli import console, images
from sr_cli.config import EvaluateConfig
from sr_cli.console import evaluation as view
from sr_cli.errors import ImageError, UsageError, WeightsError
from sr_cli.evaluation.cost import multiply_adds
from sr_cli.evaluation.evaluate import Comparison, evaluate
from sr_cli.evaluation.match_files import match
from sr_cli.evaluation.measures import COSTS, MEASURES, NO_REFERENCE, QUICK, parse_measures, without_reference
from sr_cli.evaluation.report import as_json
from sr_cli.evaluation.result import EvaluationProtocol, ImageResult, NothingMeasuredError, as_dict, from_dict
from sr_cli.evaluation.thresholds import compare, failed_thresholds, parse_threshold, uncompared
from sr_cli.imageops.color import luma
from sr_cli.imageops.resize import resize
from sr_cli.metrics import psnr, ssim
from sr_cli.metrics.fidelity import eight_bit
from sr_cli.networks.checkpoint import load_network
from sr_cli.upscaling.upscaler import Upscaler
from support.evaluations import folder_of_photos, photo, report, save, weights_file
from support.fast_python import python

FAST = EvaluateConfig(measures=("psnr", "ssim"))

PUBLISHED = {"Set5": (28.42, 0.8104), "Set14": (26.00, 0.7027)}
"""Bicubic at x4 by the standard protocol, from MATLAB's LR [RCAN]."""


@pytest.mark.parametrize(
    ("name", "lr"),
    [("Set5", "LRbicx4"), ("Set14", "LRbicx4"), ("Set5", None), ("Set14", None)],
)
@pytest.mark.slow
def test_bicubic_is_what_was_published(benchmarks, name, lr):
    psnr, ssim = PUBLISHED[name]
    found = evaluate(benchmarks / name / "HR", lr=lr and benchmarks / name / lr, config=FAST)
    assert len(found.images) == len(list((benchmarks / name / "HR").iterdir()))
    assert found.value("bicubic", "psnr") == pytest.approx(psnr, abs=0.02 if lr else 0.05)
    assert found.value("bicubic", "ssim") == pytest.approx(ssim, abs=0.001)


@pytest.mark.slow
def test_bicubic_is_published_to_the_last_digit_where_luma_alone_is_resized(benchmarks):
    scores = []
    for path in sorted((benchmarks / "Set5" / "HR").iterdir()):
        hr = eight_bit(luma(images.to_tensor(images.read(path)).double()))
        height, width = hr.shape[-2:]
        sr = resize(resize(hr, (height // 4, width // 4)), (height, width))
        three = [image.expand(1, 3, height, width) for image in (sr, hr)]
        scores.append([float(metric(*three, shave=4, channel="rgb")) for metric in (psnr, ssim)])
    assert np.mean(scores, axis=0).round(4) == pytest.approx(PUBLISHED["Set5"], abs=1e-4, rel=1e-4)


def test_every_method_has_a_row_and_bicubic_always(tmp_path):
    hr = folder_of_photos(tmp_path / "hr")
    first, second = weights_file(tmp_path / "one.safetensors"), weights_file(tmp_path / "two.safetensors", seed=1)
    found = evaluate(hr, models=[first, second], config=EvaluateConfig(measures=("psnr",), interpolations=("nearest",)))
    assert [method.name for method in found.methods] == ["bicubic", "nearest", "one", "two"]
    assert [image.name for image in found.images] == ["a", "b", "c"]
    assert all(len(found.values(method.name, "psnr")) == 3 for method in found.methods)
    assert found.value("bicubic", "psnr") > found.value("nearest", "psnr")
    costs = {method.name: method.cost for method in found.methods}
    assert costs["one"].parameters == sum(p.numel() for p in Upscaler.from_pretrained(first).network.parameters())
    assert costs["bicubic"].parameters is None
    assert all(cost.seconds > 0 for cost in costs.values())


def test_rows_of_the_same_name_stay_apart(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    models = [weights_file(tmp_path / run / "model.safetensors") for run in ("x", "y")] + [
        tmp_path / "x/model.safetensors"
    ]
    found = evaluate(hr, models=models, config=FAST)
    assert [method.name for method in found.methods] == ["bicubic", "x/model", "y/model", "x/model (2)"]


def test_a_folder_of_sr_scores_as_the_model_that_wrote_it(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", height=66, width=97)  # cropped to 64×96
    model = Upscaler.from_pretrained(weights_file(tmp_path / "m.safetensors"), dtype="float32")
    lr, sr = tmp_path / "lr", tmp_path / "sr"

    def keep(step):
        save(lr / f"{step.outcome.result.name}x4.png", step.outcome.lr)
        save(sr / f"{step.outcome.result.name}_4x.png", step.outcome.sr["m"])

    made = evaluate(hr, models=[model], config=FAST, on_step=keep)
    given = evaluate(hr, lr=lr, sr=[sr], config=FAST)
    assert given.protocol.scale == 4
    assert given.protocol.lr == "given"
    assert given.values("sr", "psnr") == made.values("m", "psnr")
    assert given.values("bicubic", "ssim") == made.values("bicubic", "ssim")


def test_hr_judged_against_itself_is_perfect(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a", height=160, width=160)
    found = evaluate(hr, sr=[hr], config=EvaluateConfig(measures=(*QUICK, "gmsd")))
    assert found.value("hr", "psnr") == math.inf
    for measure in ("ssim", "dss", "sharpness", "checkerboard"):
        assert found.value("hr", measure) == pytest.approx(1, abs=1e-4)
    assert found.value("hr", "color_error") == 0
    assert found.value("hr", "gmsd") == pytest.approx(0, abs=1e-6)
    assert found.value("hr", "lr_psnr") == math.inf


def test_a_gray_file_is_measured_on_its_own_values(tmp_path):
    gray = photo(64, 96)[..., 0]
    save(tmp_path / "gray" / "a.png", gray)
    save(tmp_path / "rgb" / "a.png", np.repeat(gray[..., None], 3, axis=2))
    own, mapped = (evaluate(tmp_path / kind, config=FAST).value("bicubic", "psnr") for kind in ("gray", "rgb"))
    assert mapped - own == pytest.approx(20 * math.log10(255 / 219), abs=1e-6)


def test_every_measure_has_a_value_or_a_reason(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a", height=192, width=200)
    save(hr / "small.png", photo(48, 48))
    found = evaluate(hr, config=EvaluateConfig(measures=tuple(MEASURES)))
    assert set(found.unavailable) <= {"lpips", "dists"}
    for measure in found.measures:
        if measure not in found.unavailable:
            assert bool(found.values("bicubic", measure)) == (measure != "niqe")
    assert any(note.startswith("NIQE has no value for 2 of the pictures") for note in found.notes)
    assert found.values("bicubic", "ms_ssim") == [found.images[0].scores["bicubic"]["ms_ssim"]]
    assert any("MS-SSIM" in note and "small" in note for note in found.notes)
    assert found.failures == ()


def test_lpips_without_weights_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "empty"))
    found = evaluate(folder_of_photos(tmp_path / "hr", "a"), config=EvaluateConfig(measures=("psnr", "lpips")))
    assert found.value("bicubic", "lpips") is None
    assert "sr download-weights vgg16" in found.unavailable["lpips"]


@pytest.mark.slow
def test_a_library_that_cannot_be_imported_makes_its_measures_unavailable(tmp_path, monkeypatch):
    """torch and torchvision of different builds let piq's import raise a RuntimeError."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "piq.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    program = (
        "import sys\n"
        "for name in [*sys.modules]:  # this Python has imported them already\n"
        "    if name.partition('.')[0] in ('piq', 'sr_cli'):\n"
        "        del sys.modules[name]\n"
        "from sr_cli.__main__ import main; main()"
    )
    command = [python(), "-c", program, "evaluate", folder_of_photos(tmp_path / "hr", "a")]
    done = subprocess.run([*command, "--metrics", "psnr,dss,lpips"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "dss is unavailable: a library cannot be imported (RuntimeError: operator torchvision::nms" in done.stdout
    assert "lpips is unavailable" in done.stdout
    assert done.stdout.count("unavailable  ") >= 1 and "bicubic" in done.stdout


@pytest.mark.parametrize("degradation", ["bicubic", "paper", "photo", "real"])
def test_lr_is_made_the_same_way_every_time(tmp_path, degradation):
    hr = folder_of_photos(tmp_path / "hr", "ab")
    config = EvaluateConfig(measures=("psnr", "lr_psnr"), degradation=degradation)
    first, second = evaluate(hr, config=config), evaluate(hr, config=config)
    assert first.images == second.images
    assert first.protocol.lr == degradation
    assert first.protocol.seed == (0 if degradation in ("photo", "real") else None)
    if degradation in ("photo", "real"):
        other = EvaluateConfig(measures=("psnr", "lr_psnr"), degradation=degradation, seed=1)
        assert evaluate(hr, config=other).images != first.images


@pytest.mark.parametrize("names", ["{}_4x", "{}x4", "{}", "{}_SRF_4_LR", "{}.lr"])
def test_lr_is_found_by_the_names_that_tools_give(tmp_path, names):
    hr = folder_of_photos(tmp_path / "hr", ["img_001", "img_002"])
    for path in images.find_images(hr):
        small = resize(images.to_tensor(images.read(path)), (16, 24)).clamp(0, 1)
        save(
            tmp_path / "lr" / f"{names.format(path.stem)}.png", (small[0].permute(1, 2, 0) * 255).round().byte().numpy()
        )
    found = evaluate(hr, lr=tmp_path / "lr", config=FAST)
    assert [image.name for image in found.images] == ["img_001", "img_002"]
    assert found.failures == ()


def test_results_are_matched_by_the_longest_name_they_begin_with(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", ["a", "a_b", "c", "d"])
    sr = folder_of_photos(
        tmp_path / "sr", ["a_SwinIR", "a_b_HAT_SRx4", "c.jpg", "c_001_HAT", "d_one", "d_upscayl_4x_MODEL"]
    )
    matched, failures = match(hr, lr=None, sr={"one": sr}, recursive=False)
    found = {files.name: files.sr["one"].stem for files in matched}
    assert found == {"a": "a_SwinIR", "a_b": "a_b_HAT_SRx4", "c": "c.jpg"}
    assert {Path(failure.file).stem for failure in failures} == {"d", "c_001_HAT"}


def test_what_cannot_be_measured_is_named_and_the_rest_is_measured(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "abcdefg")
    lr = tmp_path / "lr"
    for name in "abcde":
        save(lr / f"{name}.png", photo(16, 24))
    save(lr / "c.png", photo(16, 20))
    (lr / "d.png").write_bytes((lr / "a.png").read_bytes()[:200])
    save(lr / "stranger.png", photo(16, 24))
    save(lr / "fx4.png", photo(16, 24))
    save(lr / "f_4x.png", photo(16, 24))
    steps = []
    found = evaluate(hr, lr=lr, config=FAST, on_step=steps.append)
    assert [image.name for image in found.images] == ["a", "b", "e"]
    reasons = {Path(failure.file).relative_to(tmp_path).as_posix(): failure.reason for failure in found.failures}
    assert set(reasons) == {"lr/c.png", "lr/d.png", "hr/f.png", "hr/g.png", "lr/stranger.png"}
    assert "20×16 pixels times 4 are not the 96×64" in reasons["lr/c.png"]
    assert reasons["hr/f.png"].endswith("several partners in " + str(lr) + ": f_4x.png, fx4.png")
    assert [step.done for step in steps] == [1, 2, 3, 4, 5]
    assert sum(isinstance(step.outcome, Comparison) for step in steps) == 3


def test_a_picture_that_fails_for_one_method_counts_for_none(tmp_path):
    hr = folder_of_photos(tmp_path / "hr")
    sr = folder_of_photos(tmp_path / "sr")
    save(sr / "b.png", photo(64, 92))
    found = evaluate(hr, sr=[sr], config=FAST)
    assert len(found.values("bicubic", "psnr")) == len(found.values("sr", "psnr")) == 2
    assert found.failures[0].file == str(sr / "b.png")


def test_an_output_that_is_no_number_is_an_error_that_names_the_file(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    model = Upscaler.from_pretrained(weights_file(tmp_path / "broken.safetensors"))
    for parameter in model.network.parameters():
        parameter.data.fill_(math.nan)
    with pytest.raises(ImageError, match=r"a\.png: broken: .*not finite"):
        evaluate(hr, models=[model], config=FAST)


@pytest.mark.slow
def test_where_nothing_can_be_measured_every_reason_is_given(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "ab")
    (hr / "a.png").write_bytes(b"no picture")
    save(hr / "b.png", photo(8, 8))
    with pytest.raises(NothingMeasuredError, match=r"a\.png: is not an image") as caught:
        evaluate(hr, config=FAST)
    assert [Path(failure.file).name for failure in caught.value.failures] == ["a.png", "b.png"]
    done = sr(hr)
    assert done.returncode == 3
    assert f"warning: {hr / 'b.png'}: not measured, 8×8 pixels are too few" in done.stderr
    assert f"error: {hr / 'a.png'}: is not an image" in done.stderr


def test_one_file_may_stand_for_a_folder(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a") / "a.png"
    lr = save(tmp_path / "small.png", photo(16, 24))
    alone = evaluate(hr, config=FAST)
    assert [image.name for image in alone.images] == ["a"]
    assert alone.images == evaluate(hr.parent, config=FAST).images
    with pytest.raises(NothingMeasuredError, match="no partner"):
        evaluate(hr, lr=lr, config=FAST)


def test_a_picture_that_is_got_exactly_right_is_said_to_make_the_mean_infinite(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    save(hr / "flat.png", np.full((64, 96, 3), 120, np.uint8))
    found = evaluate(hr, config=FAST)
    assert math.isinf(found.value("bicubic", "psnr"))
    assert "PSNR is infinite for 1 of the pictures, such as flat, hence its mean" in found.notes


def test_folders_and_files_that_are_no_use_are_errors(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "ab")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty"):
        evaluate(tmp_path / "empty", config=FAST)
    with pytest.raises(ImageError, match="empty"):
        evaluate(hr, lr=tmp_path / "empty", config=FAST)
    with pytest.raises(ImageError, match="missing"):
        evaluate(tmp_path / "missing", config=FAST)
    with pytest.raises(ImageError, match="none could be matched"):
        evaluate(hr, lr=folder_of_photos(tmp_path / "other", "xy"), config=FAST)
    with pytest.raises(ImageError, match=r"x\.png"):
        evaluate(save(tmp_path / "x.png", photo(8, 8)), config=FAST)
    with pytest.raises(WeightsError, match="no-such-model"):
        evaluate(hr, models=["no-such-model"], config=FAST)


def test_one_table_has_one_scale(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    models = [weights_file(tmp_path / f"x{scale}.safetensors", scale=scale) for scale in (2, 4)]
    with pytest.raises(UsageError, match="x2 x2, x4 x4"):
        evaluate(hr, models=models, config=FAST)
    with pytest.raises(UsageError, match="--scale 4"):
        evaluate(hr, models=models[:1], config=EvaluateConfig(scale=4))
    assert evaluate(hr, models=models[:1], config=FAST).protocol.scale == 2


def test_pictures_without_hr_are_lr(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "ab")
    lr, sr = (
        folder_of_photos(tmp_path / name, "ab", height=h, width=w) for name, h, w in (("lr", 16, 24), ("sr", 64, 96))
    )
    model = weights_file(tmp_path / "m.safetensors")
    steps = []
    blind = evaluate(
        lr, sr=[sr], models=[model], config=EvaluateConfig(no_reference=True), on_step=lambda s: steps.append(s.outcome)
    )
    seeing = evaluate(hr, lr=lr, sr=[sr], models=[model], config=EvaluateConfig(measures=NO_REFERENCE))
    assert blind.measures == NO_REFERENCE and blind.protocol.lr == "pictures"
    assert [image.scores for image in blind.images] == [image.scores for image in seeing.images]
    assert {(image.width, image.height) for image in blind.images} == {(96, 64)}
    assert blind.value("sr", "niqe") is None and "NIQE has no value for 2 of the pictures" in blind.notes[0]
    assert from_dict(json.loads(as_json(blind))) == blind
    assert all(
        step.hr is None and np.array_equal(step.lr, Image.open(lr / f"{step.result.name}.png")) for step in steps
    )
    with pytest.raises(UsageError, match="another protocol"):
        compare(blind, seeing)


def test_what_needs_hr_is_refused_without(tmp_path):
    lr = folder_of_photos(tmp_path / "lr", "a")
    with pytest.raises(UsageError, match="psnr needs HR; without it, only niqe and lr_psnr"):
        evaluate(lr, config=EvaluateConfig(no_reference=True, measures=("niqe", "psnr")))
    with pytest.raises(UsageError, match="--lr belongs to HR"):
        evaluate(lr, lr=lr, config=EvaluateConfig(no_reference=True))
    for name, measure in MEASURES.items():
        module, function = measure.function.split(".")
        parameters = inspect.signature(
            getattr(importlib.import_module(f"sr_cli.metrics.{module}"), function)
        ).parameters
        assert ("hr" in parameters) == (name not in NO_REFERENCE)
    assert without_reference(("lr_psnr",)) == ("lr_psnr",)


def test_an_ensemble_scores_a_mirrored_picture_the_same(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    (tmp_path / "mirrored").mkdir()
    Image.open(hr / "a.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored" / "a.png")
    model = weights_file(tmp_path / "x4.safetensors", scale=4)
    scores = {}
    for ensemble in (False, True):
        config = EvaluateConfig(measures=("psnr", "ssim"), ensemble=ensemble)
        one, other = (evaluate(folder, models=[model], config=config) for folder in (hr, tmp_path / "mirrored"))
        scores[ensemble] = [found.value("x4", "psnr") for found in (one, other)]
        assert one.notes == (("x4: the mean over eight flips and rotations",) if ensemble else ())
        macs = one.methods[-1].cost.multiply_adds
        assert macs == pytest.approx((8 if ensemble else 1) * multiply_adds(load_network(model)[0], scale=4))
    assert scores[True][0] == pytest.approx(scores[True][1], abs=1e-3)
    assert scores[False][0] != pytest.approx(scores[False][1], abs=1e-3)


def test_what_models_compute_in_is_told_where_it_rounds(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    model = weights_file(tmp_path / "x4.safetensors", scale=4)
    exact, rounded = (
        evaluate(hr, models=[model], config=EvaluateConfig(measures=("psnr",), dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )
    assert (exact.notes, rounded.notes) == ((), ("x4: computed in bfloat16",))
    assert exact.value("x4", "psnr") != rounded.value("x4", "psnr")
    assert exact.value("x4", "psnr") == pytest.approx(rounded.value("x4", "psnr"), abs=0.05)


def test_multiply_adds_are_those_of_the_convolutions():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 48, 1), torch.nn.PixelShuffle(4)
    )
    per_lr_pixel = 3 * 8 * 9 + 8 * 48
    assert multiply_adds(network, scale=4) == pytest.approx(per_lr_pixel / 16 / 1000)


def test_metrics_are_chosen_by_name():
    assert parse_measures("PSNR, ms-ssim") == ("psnr", "ms_ssim")
    assert parse_measures("gmsd,quick") == ("gmsd", *QUICK)
    assert parse_measures("all") == tuple(MEASURES)
    with pytest.raises(UsageError, match="sism"):
        parse_measures("sism")
    with pytest.raises(ValueError, match="sism"):
        evaluate("nowhere", config=EvaluateConfig(measures=("sism",)))


def test_the_reference_lists_every_measure():
    text = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text("utf-8")
    rows = {line.split("|")[2].strip(): line for line in text.splitlines() if line.startswith("| ") and "`" in line}
    for measure in (*MEASURES.values(), *COSTS.values()):
        assert measure.label in rows[f"`{measure.name}`"]
    assert all(("| yes |" in rows[f"`{name}`"]) == (name in QUICK) for name in MEASURES)
    assert all(rows[f"`{m.name}`"].rstrip(" |").endswith(f"| {m.tolerance}") for m in MEASURES.values())


SCORES = {"bicubic": {"psnr": [20.0, 22.0], "gmsd": [0.2, None]}, "m": {"psnr": [24.0, math.inf], "gmsd": [0.1, 0.1]}}


def test_a_report_survives_json():
    found = report(SCORES, unavailable={"lpips": "no weights"}, notes=("a note",))
    assert from_dict(json.loads(as_json(found))) == found
    assert as_dict(found)["methods"][1]["mean"] == {"psnr": "inf", "gmsd": pytest.approx(0.1)}


def test_an_older_reports_measures_get_their_new_names():
    old = as_dict(report({"m": {"checkerboard": [0.9], "lr_psnr": [math.inf]}}, unavailable={"checkerboard": "why"}))
    text = json.dumps(old).replace('"checkerboard"', '"mesh"').replace('"lr_psnr"', '"consistency"')
    found = from_dict(json.loads(text))
    assert found.measures == ("checkerboard", "lr_psnr") and found.unavailable == {"checkerboard": "why"}
    assert found.values("m", "checkerboard") == [0.9] and found.value("m", "lr_psnr") == math.inf


def test_thresholds_hold_for_what_is_under_test_only():
    found = report({"bicubic": {"psnr": [20.0]}, "m": {"psnr": [30.0]}})
    assert failed_thresholds(found, [parse_threshold("psnr=30", "min")]) == []
    assert failed_thresholds(found, [parse_threshold("psnr=30.1", "min")]) == ["psnr of m is 30.00, below 30.1"]
    assert failed_thresholds(found, [parse_threshold("psnr=25", "max")]) == ["psnr of m is 30.00, above 25"]
    assert failed_thresholds(found, [parse_threshold("ssim=0.5", "min")]) == ["ssim of m could not be measured"]
    alone = report({"bicubic": {"psnr": [20.0]}})
    assert failed_thresholds(alone, [parse_threshold("psnr=25", "min")])


@pytest.mark.parametrize("text", ["psnr", "psnr=", "psnr=high", "sism=1", "psnr=nan", "=3"])
def test_thresholds_that_say_nothing_are_refused(text):
    with pytest.raises(UsageError):
        parse_threshold(text, "min")


def changed(psnr: float, gmsd: float, sharpness: float) -> list[str]:
    old = report({"m": {"psnr": [30.0], "gmsd": [0.1], "sharpness": [1.1]}})
    new = report({"m": {"psnr": [psnr], "gmsd": [gmsd], "sharpness": [sharpness]}})
    return [change.measure for change in compare(new, old, {"psnr": 0.1}) if change.worse]


def test_what_is_worse_depends_on_the_measure():
    assert changed(30, 0.1, 1.1) == []
    assert changed(29.91, 0.1005, 1.11) == []
    assert changed(31, 0.05, 0.95) == []
    assert changed(29.8, 0.11, 0.8) == ["psnr", "gmsd", "sharpness"]


def test_only_like_is_compared_with_like():
    old = report({"m": {"psnr": [30.0, 31.0]}})
    with pytest.raises(UsageError, match="other pictures"):
        compare(report({"m": {"psnr": [30.0]}}), old)
    with pytest.raises(UsageError, match="no row for n, o; it has m"):
        compare(report({"n": {"psnr": [30.0, 31.0]}, "o": {"psnr": [30.0, 31.0]}}), old)
    with pytest.raises(UsageError, match="none of the metrics ssim"):
        compare(report({"m": {"ssim": [0.8, 0.9]}}), old)
    rgb = report(
        {"m": {"psnr": [30.0, 31.0]}}, protocol=EvaluationProtocol(scale=4, channel="rgb", shave=4, lr="given")
    )
    with pytest.raises(UsageError, match="another protocol"):
        compare(rgb, old)


def test_a_model_in_a_new_file_is_held_against_the_old_one():
    old = report({"bicubic": {"psnr": [25.0]}, "a/best": {"psnr": [31.0]}})
    new = report({"bicubic": {"psnr": [25.0]}, "b/best": {"psnr": [30.0]}})
    found = [change for change in compare(new, old) if change.worse]
    assert [(change.method, change.old_name, change.measure) for change in found] == [("b/best", "a/best", "psnr")]
    assert uncompared(new, old) == []


def test_what_only_one_report_has_is_not_taken_for_unchanged():
    old = report({"m": {"psnr": [30.0], "dss": [0.5]}, "gone": {"psnr": [30.0], "dss": [0.5]}})
    new = report({"m": {"psnr": [30.0], "ssim": [0.8]}})
    assert uncompared(new, old) == [
        "gone: only in the baseline",
        "ssim: not measured in the baseline",
        "dss: measured only in the baseline",
    ]


def sr(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python(), "-m", "sr_cli", "evaluate", *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_prints_one_json_document_and_writes_its_files(tmp_path):
    hr = folder_of_photos(tmp_path / "hr")
    (hr / "broken.png").write_bytes(b"no picture")
    model = weights_file(tmp_path / "m.safetensors")
    done = sr(hr, "--model", model, "--metrics", "psnr", "--json", "--report", tmp_path / "r.html")
    assert done.returncode == 1, done.stderr
    found = from_dict(json.loads(done.stdout))
    assert found.measures == ("psnr",)
    assert [failure.file for failure in found.failures] == [str(hr / "broken.png")]
    assert f"warning: {hr / 'broken.png'}: not measured" in done.stderr
    assert "\x1b" not in done.stderr
    assert (tmp_path / "r.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.slow
def test_the_command_fails_where_quality_is_lost(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    done = sr(hr, "--metrics", "psnr,checkerboard", "--min", "psnr=99")
    assert done.returncode == 9
    assert "error: psnr of bicubic is" in done.stderr
    assert "bicubic" in done.stdout
    image = ImageResult(name="a", width=96, height=64, scores={"bicubic": {"psnr": 50.0}})
    old = report({"bicubic": {"psnr": [50.0]}}, images=(image,))
    (tmp_path / "old.json").write_text(as_json(old))
    done = sr(hr, "--metrics", "psnr", "--baseline", tmp_path / "old.json", "--csv")
    assert done.returncode == 9
    assert done.stdout.splitlines()[0].startswith("image,width,height,method,psnr,")
    assert len(done.stdout.splitlines()) == 2
    assert "worse" in done.stderr
    assert sr(hr, "--json", "--csv").returncode == 2


@pytest.mark.slow
def test_what_is_bounded_is_measured(tmp_path):
    hr = folder_of_photos(tmp_path / "hr", "a")
    done = sr(hr, "--metrics", "psnr", "--min", "ssim=0.01", "--max", "seconds=1000", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measures"] == ["psnr", "ssim"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--report", "page.txt"],
        ["--report", "folder.html"],
        ["--tolerance", "psnr=1"],
        ["--degradation", "photo", "--lr", "lr"],
        ["--degradation", "photo", "--no-reference"],
        ["--no-reference", "--metrics", "ssim"],
        ["--min", "psnr"],
        ["--metrics", "sism"],
    ],
)
@pytest.mark.slow
def test_options_that_make_no_sense_are_refused_before_the_work(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    done = sr("nowhere", *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_the_default_measures_fit_into_80_columns(tmp_path, monkeypatch, capsys):
    found = evaluate(folder_of_photos(tmp_path / "a-rather-long-name", ["another-long-name-of-a-picture"]))
    monkeypatch.setattr(console, "out", Console(force_terminal=True, width=80, color_system=None))
    view.show(found, per_image=True)
    headings = [line for line in capsys.readouterr().out.splitlines() if "PSNR" in line and "SSIM" in line]
    assert len(headings) == 2 and all("checker-" in line and len(line) <= 80 for line in headings)


@pytest.mark.parametrize("form", ["--per-image", "--csv", "--json", "--markdown"])
@pytest.mark.slow
def test_file_names_and_stdout_need_not_be_utf_8(tmp_path, monkeypatch, form):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    hr = folder_of_photos(tmp_path / "hr", "a")
    (hr / "a.png").rename(hr / os.fsdecode(b"\xff\n.png"))
    done = sr(hr, "--metrics", "psnr", form, "--report", tmp_path / "p.html")
    assert done.returncode == 0, done.stderr
    assert "\\udcff" in done.stdout or form == "--markdown"
    assert form != "--json" or json.loads(done.stdout)["images"][0]["name"] == "\udcff\n"
