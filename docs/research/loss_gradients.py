"""How hard does each loss term pull? Gradients with respect to the pixels of SR, for the terms of a loss.

    python docs/research/loss_gradients.py PHOTOS --vgg FILE --loss johnson+pixel

With bicubic interpolation as SR, as after a little training, and with the gray output of an untrained network: the
value of every term, the root mean square of its gradient, and its ratio to the first term's. Mean over 16 patches of
288×288 pixels, LR made as in the paper.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from sr_cli.data import Photos, TrainingPairs
from sr_cli.imageops.resize import resize
from sr_cli.losses.parse import WeightedSum, parse_loss
from sr_cli.networks.vgg import VGG_LAYERS, VGGFeatures, load_vgg_state

PATCHES = 16


def gradients(loss: WeightedSum, sr: Tensor, hr: Tensor) -> dict[str, tuple[float, float]]:
    """Value and gradient RMS of every term."""
    found = {}
    for name in loss.terms:
        leaf = sr.clone().requires_grad_()
        value = loss(leaf, hr)[name]
        (gradient,) = torch.autograd.grad(value, leaf)
        found[name] = float(value.detach()), float(gradient.square().mean().sqrt()) * gradient.numel()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--vgg", type=Path, required=True)
    parser.add_argument("--loss", default="johnson+pixel")
    parser.add_argument("--scale", type=int, default=4)
    options = parser.parse_args()

    photos = Photos.below(options.photos, min_side=288, cache_bytes=1 << 30)
    pairs = TrainingPairs(photos, scale=options.scale, crop_size=288, degradation="paper")
    state = load_vgg_state(options.vgg)
    loss = WeightedSum(parse_loss(options.loss), scale=options.scale, vgg_state=state)
    totals: dict[tuple[str, str], list[tuple[float, float]]] = {}
    active: list[float] = []
    tapped = VGGFeatures(state, ["relu2_2"])
    for i in range(PATCHES):
        pair = pairs[i]
        hr, lr = pair.hr[None], pair.lr[None]
        active.append(float((tapped(hr)["relu2_2"] > 0).float().mean()))
        for start, sr in (("bicubic", resize(lr, (288, 288)).clamp(0, 1)), ("gray", torch.full_like(hr, 0.5))):
            for term, values in gradients(loss, sr, hr).items():
                totals.setdefault((start, term), []).append(values)
    print(f"{options.vgg.name}: {sum(active) / PATCHES:.1%} of relu2_2 is active; {len(VGG_LAYERS) // 2} convolutions")
    print(f"{'SR':>8} {'term':>10} {'value':>10} {'gradient':>10} {'ratio':>7}")
    first = next(iter(loss.terms))
    for (start, term), values in totals.items():
        value, gradient = (sum(column) / PATCHES for column in zip(*values, strict=True))
        ratio = gradient / (sum(g for _, g in totals[start, first]) / PATCHES)
        print(f"{start:>8} {term:>10} {value:>10.5f} {gradient:>10.5f} {ratio:>7.3f}")


if __name__ == "__main__":
    main()
