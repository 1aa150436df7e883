"""What does a network make of faint noise on a smooth background: keep it, remove it, or turn it into a pattern?

    python docs/research/faint_noise.py [WEIGHTS …] [--noise 0.3 0.7 1.5 3]

Upscales a gray picture with white noise of several levels, rounded to 8 bits as in a file. Prints the standard
deviation of the result over that of the input, and the largest gain among its frequencies, in eight bands down and
eight across. A kernel has about 1; a gain of several at the highest frequencies is a checkerboard with the period of
two LR pixels. Without arguments: bicubic interpolation and our shipped models.
"""

import argparse

import torch
from torch import Tensor

from sr_cli import Upscaler
from sr_cli.imageops.resize import resize

SIDE = 128
BANDS = 8
MODELS = ("compact-x2", "compact-x4", "compact-x8", "photo-x4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", default=MODELS, help="names or files")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.3, 0.7, 1.5, 3.0], help="of 255 levels")
    options = parser.parse_args()

    torch.manual_seed(0)
    grounds = [
        ((128 + level * torch.randn(1, 1, SIDE, SIDE)).round() / 255).expand(-1, 3, -1, -1) for level in options.noise
    ]
    print("".join(f"{name:>24}" for name in ("", *(f"noise of {level:g} levels" for level in options.noise))))
    for name in ("bicubic", *options.weights):
        cells = []
        for lr in grounds:
            if name == "bicubic":
                sr = resize(lr, (4 * SIDE, 4 * SIDE))
            else:
                sr = Upscaler.from_pretrained(name, dtype="float32").upscale_tensor(lr)
            gain, down, across = largest_gain(sr, lr)
            cells.append(f"{float(sr.std() / lr.std()):.2f}, {gain:.2f} at {down:.2f} {across:.2f}")
        print("".join(f"{cell:>24}" for cell in (name, *cells)), flush=True)
    print("\nDeviation over that of LR, largest gain, and where: cycles per LR pixel, down and across.")


def largest_gain(sr: Tensor, lr: Tensor) -> tuple[float, float, float]:
    """The largest gain of a band of LR's frequencies, and the band's middle, in cycles per LR pixel down and across."""
    scale = sr.shape[-1] // lr.shape[-1]
    before, after = spectrum(lr), spectrum(sr)[: SIDE // 2, : SIDE // 2] / scale**4
    side = SIDE // 2 // BANDS
    gains = (power_of(after, side) / power_of(before[: SIDE // 2, : SIDE // 2], side)).sqrt()
    index = int(gains.argmax())
    down, across = (2 * band + 1 for band in divmod(index, BANDS))
    return float(gains.flatten()[index]), down / (4 * BANDS), across / (4 * BANDS)


def spectrum(image: Tensor) -> Tensor:
    """Power spectrum of the green channel, windowed."""
    green = image[0, 1] - image[0, 1].mean()
    window = torch.hann_window(len(green), periodic=False)
    return torch.fft.fft2(green * window * window[:, None]).abs().square()


def power_of(power: Tensor, side: int) -> Tensor:
    return power.unfold(0, side, side).unfold(1, side, side).mean((2, 3))


if __name__ == "__main__":
    main()
