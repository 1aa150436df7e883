"""Fit the model of sharp photos that NIQE compares with, ``src/sr_cli/metrics/niqe.safetensors``.

    python tools/fit_niqe.py FOLDER… [--without NAME,NAME…]

Takes the 36 features of every block of 96×96 pixels that is at least 0.75 times as sharp as the sharpest block of its
photo, and keeps their mean and covariance. Photos whose file names contain a NAME are left out. The model in the
package comes from the freely licensed photos of the training set, without the six that are held out to judge models:

    python tools/fit_niqe.py photos-large photos800 \\
        --without bsds,dragonfly,casa-mila,picosdeeuropa,wine,garden,jad-limcaco
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from sr_cli import images
from sr_cli.metrics.niqe import block_statistics

OUTPUT = Path(__file__).parents[1] / "src" / "sr_cli" / "metrics" / "niqe.safetensors"
SHARPNESS = 0.75
SOURCE = "Desktop photographs under CC0, CC BY, CC BY-SA or the Unsplash license; tools/fit_niqe.py made it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--without", default="", metavar="NAME,NAME…")
    options = parser.parse_args()
    left_out = [name for name in options.without.split(",") if name]
    paths = [path for folder in options.folders for path in images.find_images(folder, recursive=False)]
    paths = [path for path in paths if not any(name in path.name for name in left_out)]
    sharp_blocks = []
    for path in paths:
        features, sharpness = block_statistics(images.to_tensor(images.read(path)))
        if len(features):
            sharp = (sharpness >= SHARPNESS * sharpness.max()) & features.isfinite().all(dim=1)
            sharp_blocks.append(features[sharp])
    found = torch.cat(sharp_blocks)
    about = {"source": SOURCE, "license": "MIT", "photos": str(len(paths)), "blocks": str(len(found))}
    save_file({"mean": found.mean(dim=0), "covariance": found.T.cov()}, OUTPUT, metadata=about)
    print(f"{OUTPUT}: {len(found)} blocks of {len(paths)} photos, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
