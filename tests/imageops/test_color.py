import pytest
import torch

from sr_cli.imageops.color import CHROMA, FULL_RANGE_LUMA, STUDIO_LUMA, full_range_luma, luma


def test_luma_of_white_and_black():
    assert luma(torch.ones(1, 3, 1, 1)).item() == pytest.approx(235 / 255, abs=1e-5)
    assert luma(torch.zeros(1, 3, 1, 1)).item() == pytest.approx(16 / 255)


def test_the_weights_are_those_of_one_standard():
    """Full-range luma is studio swing's, stretched; of gray, chroma is 0."""
    rgb = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close((luma(rgb) * 255 - 16) / 219, full_range_luma(rgb), rtol=0, atol=2e-6)
    assert sum(STUDIO_LUMA) == pytest.approx(219) and sum(FULL_RANGE_LUMA) == pytest.approx(1)
    assert [sum(row) for row in CHROMA] == pytest.approx([0, 0], abs=1e-9)
