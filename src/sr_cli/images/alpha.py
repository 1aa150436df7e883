"""What to show a network where a picture shows nothing."""

import numpy as np

from sr_cli.images.picture import Pixels


def bleed(color: Pixels, alpha: Pixels) -> Pixels:
    """Fill the color under fully transparent pixels from the visible ones around them.

    What lies there is arbitrary, mostly black or white, and a network's receptive field carries it over the edge into
    visible pixels, as a fringe. Here the visible colors continue smoothly instead. Visible pixels are left as they are.

    Args:
        color: ``(H, W, C)``.
        alpha: ``(H, W)``, straight.

    Returns:
        Like ``color``; itself where there is nothing to fill, or nothing to fill it from.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return color
    from sr_cli.images.pull_push import filling  # here, because torch takes a second to import

    weight = alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    filled: Pixels = color.copy()
    for channel in range(color.shape[2]):
        filled[hidden, channel] = filling(color[..., channel].astype(np.float32), weight)[hidden] + np.float32(0.5)
    return filled
