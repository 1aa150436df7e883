from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from sr_cli.cli import app
from sr_cli.errors import UsageError
from sr_cli.training.loop import make_batches
from sr_cli.training.validation import draw_pairs, validation_count
from support.trainings import OPTIONS, TINY, photos_in


def pixels(image):
    return (255 * image).round().byte().permute(1, 2, 0).numpy()


def contains(sheet, picture, *, left):
    """Whether a column of the sheet that begins at ``left`` shows the picture."""
    height, width = picture.shape[:2]
    rows = range(len(sheet) - height + 1)
    return any(np.array_equal(sheet[top : top + height, left : left + width], picture) for top in rows)


def sr(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_first_batch_is_drawn_and_nothing_is_trained(photo_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [*OPTIONS, "--seed", 3, "--degradation", "real", "--show-pairs", "pairs.png"]
    done = sr("train", photo_folder, *options)
    assert (done.exit_code, done.stdout) == (0, "pairs.png\n")
    assert not (tmp_path / "runs").exists()

    config = replace(TINY, degradation="real")
    photos, _ = photos_in(photo_folder).split(validation_count(config, 6), seed=3)
    sheet = np.array(Image.open("pairs.png"))
    for pair in make_batches(config, photos).pairs_of(0):
        assert pair.steps
        assert contains(sheet, pixels(pair.lr).repeat(2, 0).repeat(2, 1), left=0)
        assert contains(sheet, pixels(pair.hr), left=36)


def test_a_target_has_a_column_and_a_pair_without_hr_a_gap(photo_folder):
    config = replace(TINY, teacher="any", teacher_only_share=0.5)
    batches = make_batches(config, photos_in(photo_folder))
    pairs = batches.pairs_of(0)
    whole, lr_only = pairs
    assert torch.equal(batches[0].hr[0], whole.hr) and len(batches[0].hr) == 1
    assert lr_only.hr.numel() == 0
    without = draw_pairs(pairs, 2, degradation="bicubic")
    sheet = draw_pairs(pairs, 2, degradation="bicubic", teacher=lambda _: torch.zeros(1, 3, 32, 32))
    assert (without.shape[1], sheet.shape[1]) == (68, 104)
    assert contains(sheet, np.zeros((32, 32, 3), np.uint8), left=72)
    assert contains(sheet[-36:], np.full((32, 32, 3), 255, np.uint8), left=36)


def test_only_png_is_drawn(photo_folder, tmp_path):
    done = sr("train", photo_folder, *OPTIONS, "--show-pairs", tmp_path / "pairs.jpg")
    assert isinstance(done.exception, UsageError) and "end with .png" in str(done.exception)
