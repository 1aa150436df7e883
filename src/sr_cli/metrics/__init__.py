"""How close an SR picture comes to its HR: functions of tensors that return a number for each picture.

`sr_cli.metrics.perceptual` and `sr_cli.metrics.learned` are not imported here: they need piq, which takes seconds.
"""

from sr_cli.metrics.color_difference import color_error, color_shift
from sr_cli.metrics.fidelity import Channel, lr_psnr, psnr, ssim
from sr_cli.metrics.texture import checkerboard, sharpness
