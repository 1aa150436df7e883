"""A network of every architecture in the catalog, built at random: odd sizes, tiles, both dtypes."""

import importlib

import pytest
import torch

from sr_cli.config import UpscaleConfig
from sr_cli.upscaling.load import load_weights
from sr_cli.upscaling.upscaler import Upscaler
from sr_cli.weights import catalog

SMALL = {
    "atd": ("ATD.ATD", {
        "embed_dim": 12, "depths": (2,), "num_heads": (2,), "window_size": 8, "category_size": 16,
        "num_tokens": 8, "reducted_dim": 4, "upscale": 2, "upsampler": "pixelshuffledirect",
    }),
    "compact": ("Compact.Compact", {"num_feat": 8, "num_conv": 2, "upscale": 2}),
    "dat": ("DAT.DAT", {
        "img_size": 16, "embed_dim": 32, "split_size": [4, 4], "depth": [2], "num_heads": [2], "upscale": 2,
    }),
    "ditn": ("DITN.DITN", {"dim": 8, "ITL_blocks": 1, "SAL_blocks": 1, "upscale": 2}),
    "drct": ("DRCT.DRCT", {
        "img_size": 16, "embed_dim": 36, "depths": (2,), "num_heads": (2,), "window_size": 4, "gc": 4, "upscale": 2,
        "upsampler": "pixelshuffle",
    }),
    "esrgan": ("ESRGAN.ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 2}),
    "grl": ("GRL.GRL", {
        "img_size": 16, "embed_dim": 12, "depths": [1], "num_heads_window": [2], "num_heads_stripe": [2], "upscale": 2,
        "upsampler": "pixelshuffledirect",
    }),
    "hat": ("HAT.HAT", {
        "img_size": 16, "embed_dim": 12, "depths": (1,), "num_heads": (2,), "window_size": 8, "upscale": 2,
        "upsampler": "pixelshuffle", "conv_scale": 0.01, "squeeze_factor": 6,
    }),
    "mosr": ("MoSR.MoSR", {"n_block": 2, "dim": 16, "upscale": 2}),
    "omnisr": ("OmniSR.OmniSR", {"num_feat": 16, "res_num": 1, "up_scale": 2, "pe": True}),
    "rcan": ("RCAN.RCAN", {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}),
    "realplksr": ("PLKSR.RealPLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "realplksr-dysample": ("PLKSR.RealPLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2, "dysample": True}),
    "rgt": ("RGT.RGT", {
        "img_size": 16, "embed_dim": 12, "depth": [2], "num_heads": [2], "split_size": [8, 8], "upscale": 2,
    }),
    "span": ("SPAN.SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}),
    "swinir": ("SwinIR.SwinIR", {
        "img_size": 16, "embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 8, "upscale": 2,
        "upsampler": "pixelshuffle",
    }),
}  # fmt: skip
"""The class in spandrel, and the arguments of a small network, all of scale 2."""


def test_every_architecture_in_the_catalog_is_known():
    assert {table["architecture"] for table in catalog.tables().values()} == SMALL.keys()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", SMALL)
def test_it_runs_at_odd_sizes_in_tiles_and_in_both_dtypes(architecture, tmp_path):
    name, arguments = SMALL[architecture]
    module, _, kind = name.partition(".")
    torch.manual_seed(0)
    network = getattr(importlib.import_module(f"spandrel.architectures.{module}"), kind)(**arguments)
    torch.save({"params_ema": network.state_dict()}, tmp_path / "random.pth")
    loaded, _ = load_weights(tmp_path / "random.pth")

    def upscale(lr, **settings):
        return Upscaler(loaded, UpscaleConfig(device="cpu", **settings), name="random").upscale_tensor(lr)

    for shape in ((1, 1), (1, 37), (19, 33)):
        sr = upscale(torch.rand(1, 3, *shape))
        assert sr.shape == (1, 3, 2 * shape[0], 2 * shape[1])
        assert sr.isfinite().all() and 0 <= sr.min() <= sr.max() <= 1
    lr = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 9), (21, 43), mode="bicubic").clamp(0, 1)
    whole, tiled, coarse = upscale(lr, tile=None), upscale(lr, tile=32), upscale(lr, dtype="bfloat16")
    assert (tiled - whole).abs().mean() < 0.05  # random windows attend to all that they see
    assert (coarse - whole).abs().mean() < 0.02
