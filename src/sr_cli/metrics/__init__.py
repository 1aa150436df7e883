"""How near an SR picture comes to its HR. Every metric takes tensors and returns a number for each picture.

`sr_cli.metrics.perceptual` and `sr_cli.metrics.learned` need piq, which takes a while to import: they are not here.
"""

from sr_cli.metrics.color_difference import color_error, color_shift
from sr_cli.metrics.fidelity import Channel, psnr, ssim
from sr_cli.metrics.texture import checkerboard, sharpness

__all__ = ["Channel", "checkerboard", "color_error", "color_shift", "psnr", "sharpness", "ssim"]
