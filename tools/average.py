"""A weighted mean of weights that were trained from each other, or from the same ones.

    python tools/average.py OUTPUT.safetensors 0.62 runs/photo-x4/model.safetensors 0.38 runs/pairs/model.safetensors

The weights add up to 1. The header is that of the first file. Pictures by the mean of such networks are in between, as
with ``sr upscale --strength`` (Wang et al. 2018, ESRGAN, arXiv 1809.00219, section 3.4).
"""

import argparse
from pathlib import Path

from sr_cli.networks.checkpoint import load_network, save_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("parts", nargs="+", metavar="WEIGHT FILE")
    options = parser.parse_args()
    shares, files = [float(share) for share in options.parts[::2]], options.parts[1::2]
    if len(shares) != len(files) or abs(sum(shares) - 1) > 1e-9:
        parser.error("a weight for each file, which add up to 1")
    loaded = [load_network(Path(file)) for file in files]
    network, header = loaded[0]
    states = [each.state_dict() for each, _ in loaded]
    mean = {key: sum(share * state[key] for share, state in zip(shares, states, strict=True)) for key in states[0]}
    network.load_state_dict(mean)
    kept = {key: value for key, value in header.items() if key not in ("format", "version", "architecture")}
    save_network(options.output, network, about=kept)


if __name__ == "__main__":
    main()
