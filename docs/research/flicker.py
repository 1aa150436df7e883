"""How much frames of an upscaled video differ where they shouldn't, and what a recursive average changes.

    python docs/research/flicker.py photo.png …

Each photo becomes two clips of LR, downscaled by 4: a still one, and one that pans by half a pixel of LR a frame; both
with noise of 4 (of 255) or compressed by H.264 at CRF 28. Flicker is the mean difference, in 8-bit values, between the
errors of two frames in a row, each against its own HR: what is seen to change though the scene doesn't. The average is
``a·SR + (1 − a)·before`` where LR, smoothed, stays within 3 of 255 from one frame to the next.
"""

import sys
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from sr_cli import Upscaler
from sr_cli.imageops.resize import resize

FRAMES, SIDE, SCALE, SHARE, LIMIT = 10, 256, 4, 0.4, 3 / 255


def clips(photo: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """HR and LR of each clip, ``(N, 3, H, W)`` in [0, 1]."""
    made = {}
    for motion, step in (("still", 0), ("pan", SCALE // 2)):
        hr = torch.cat([photo[..., :SIDE, i * step : i * step + SIDE] for i in range(FRAMES)])
        lr = resize(hr, (SIDE // SCALE, SIDE // SCALE)).clamp(0, 1)
        noise = torch.randn(lr.shape, generator=torch.Generator().manual_seed(0))
        made[f"{motion}, noise"] = hr, (lr + noise * 4 / 255).clamp(0, 1)
        made[f"{motion}, H.264"] = hr, compressed(lr)
    return made


def compressed(lr: torch.Tensor) -> torch.Tensor:
    """What H.264 makes of the frames."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=24, options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = lr.shape[3], lr.shape[2], "yuv420p"
        for index, values in enumerate((lr * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()):
            frame = av.VideoFrame.from_ndarray(values, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 24)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as source:
        frames = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255


def averaged(sr: torch.Tensor, lr: torch.Tensor) -> torch.Tensor:
    """The recursive average, frame by frame."""
    smooth = F.avg_pool2d(F.pad(lr, (2, 2, 2, 2), mode="replicate"), 5, 1)
    result = [sr[:1]]
    for index in range(1, len(sr)):
        moved = (smooth[index : index + 1] - smooth[index - 1 : index]).abs().amax(1, keepdim=True) > LIMIT
        share = F.interpolate(torch.where(moved, 1.0, SHARE), scale_factor=SCALE)
        result.append(share * sr[index : index + 1] + (1 - share) * result[-1])
    return torch.cat(result)


def figures(sr: torch.Tensor, hr: torch.Tensor) -> tuple[float, float]:
    """PSNR in dB, and flicker."""
    error = sr - hr
    return float(-10 * error.square().mean().log10()), float(255 * (error[1:] - error[:-1]).abs().mean())


def main(paths: list[str]) -> None:
    """Print a row for each kind of clip and each way to upscale it: the mean over the photos."""
    ways = {name: Upscaler.from_pretrained(name, device="cpu") for name in ("compact-x4", "photo-x4")}
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for path in paths:
        values = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float() / 255
        for clip, (hr, lr) in clips(values).items():
            results = {"bicubic": resize(lr, (SIDE, SIDE)).clamp(0, 1)}
            for name, upscaler in ways.items():
                results[name] = upscaler.upscale_tensor(lr)
                results[f"{name}, averaged"] = averaged(results[name], lr)
            for name, sr in results.items():
                rows.setdefault((clip, name), []).append(figures(sr, hr))
    print("| clip | upscaled by | PSNR | flicker |\n| --- | --- | --- | --- |")
    for (clip, name), values_of in rows.items():
        psnr, flicker = np.mean(values_of, axis=0)
        print(f"| {clip} | {name} | {psnr:.2f} | {flicker:.2f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
