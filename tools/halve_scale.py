"""A `compact` network of half the scale, whose results are those of the original reduced by means of 2×2 pixels.

    python tools/halve_scale.py photo-x4.safetensors start-x2.safetensors

Only the last layer changes: its filters of 2×2 neighboring sub-pixels are averaged. The bicubic skip is not: each scale
has its own. ``sr train --init`` goes on from it.
"""

import argparse
from pathlib import Path

from torch import Tensor

from sr_cli.networks.checkpoint import load_network, save_network
from sr_cli.networks.compact import Compact


def halve(parameter: Tensor, scale: int) -> Tensor:
    """``(3·scale², …)`` → ``(3·(scale/2)², …)``."""
    blocks = parameter.reshape(3, scale // 2, 2, scale // 2, 2, *parameter.shape[1:])
    return blocks.mean(dim=(2, 4)).flatten(0, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    original, header = load_network(options.original)
    if not isinstance(original, Compact) or original.scale not in (4, 8):
        parser.error(f"{options.original} is not a compact network of scale 4 or 8")
    state = {
        name: halve(value, original.scale) if name.startswith("tail.") else value
        for name, value in original.state_dict().items()
    }
    network = Compact(scale=original.scale // 2, width=original.width, depth=original.depth)
    network.load_state_dict(state)
    kept = {key: value for key, value in header.items() if key not in ("format", "version", "architecture")}
    save_network(options.output, network, about=kept)


if __name__ == "__main__":
    main()
