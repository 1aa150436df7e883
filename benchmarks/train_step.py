"""What a training step of `johnson` x4 costs: ours beside a plain one, memory, and two processes against one.

    python benchmarks/train_step.py [--photos FOLDER] [--loss-weights VGG16] [--rounds 5] [--memory-steps 500]

A step has 4 patches of 288×288, relu2_2 and Adam. Each contender runs in its own process; they take turns, and the best
of several rounds counts, so that other work on the machine affects all alike. Compare only ratios within one run.

- ours: what `sr train` does.
- naive: the same in plain PyTorch: contiguous tensors, photos decoded for every patch, the loss network run with
  gradients for both images.
- naive, unfrozen: the weights of the loss network take gradients too, as they do unless told not to.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPE = {"scale": 4, "crop_size": 288, "batch_size": 4, "degradation": "paper"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of photos; synthetic ones by default")
    parser.add_argument("--loss-weights", type=Path, help="VGG-16 weights; random ones by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory-steps", type=int, default=0, metavar="N", help="watch memory over N steps of ours")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.photos, options.loss_weights, options.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.photos = options.photos or made_up_photos(Path(folder))
        compare(options)
        scale_out(options)
        if options.memory_steps:
            watch_memory(options)


def compare(options: argparse.Namespace) -> None:
    """Ours and the naive ones, in turns."""
    contenders = {name: Worker(name, options) for name in ("ours", "naive", "naive, unfrozen")}
    best = dict.fromkeys(contenders, float("inf"))
    cpu = dict.fromkeys(contenders, float("inf"))
    gemm = 0.0
    for _ in range(options.rounds):
        for name, worker in contenders.items():
            answer = worker.ask("step")
            best[name], cpu[name] = min(best[name], answer["seconds"]), min(cpu[name], answer["cpu_seconds"])
        gemm = max(gemm, contenders["ours"].ask("gemm")["flops"])
    flop = contenders["ours"].ask("flop")["flop"]
    print(f"{'step of':18}{'seconds':>9}{'images/s':>10}{'CPU s':>8}{'peak MiB':>10}{'ours is':>10}")
    for name, worker in contenders.items():
        peak = worker.ask("memory")["peak"]
        ratio = f"{best[name] / best['ours']:.2f} ×" if name != "ours" else ""
        print(f"{name:18}{best[name]:9.2f}{4 / best[name]:10.2f}{cpu[name]:8.2f}{peak:10.0f}{ratio:>10}")
        worker.end()
    rate = flop / best["ours"]
    print(f"arithmetic of a step: {flop / 1e9:.0f} GFLOP; this machine's float32 GEMM: {gemm / 1e9:.0f} GFLOP/s")
    print(f"ours reaches {rate / 1e9:.0f} GFLOP/s, {rate / gemm:.0%} of it", flush=True)


def scale_out(options: argparse.Namespace) -> None:
    """Two processes with a thread each against one with two."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    pair = [Worker("ours", options, threads=1, **meeting, RANK=str(i), LOCAL_RANK=str(i)) for i in range(2)]
    one = Worker("ours", options, threads=2)
    best = {"pair": float("inf"), "one": float("inf")}
    for _ in range(options.rounds):
        best["one"] = min(best["one"], one.ask("step")["seconds"])
        for worker in pair:
            worker.tell("step")
        best["pair"] = min(best["pair"], max(worker.hear()["seconds"] for worker in pair))
    print(f"1 process × 2 threads: {4 / best['one']:.2f} images/s; 2 processes × 1 thread: {4 / best['pair']:.2f}, "
          f"{best['one'] / best['pair']:.2f} times as many", flush=True)  # fmt: skip
    for worker in (one, *pair):
        worker.tell("end")
    for worker in (one, *pair):
        worker.process.wait()


def watch_memory(options: argparse.Namespace) -> None:
    """Resident memory over many steps: its peak, and the slope of a line through it."""
    worker = Worker("ours", options)
    points = [(step, worker.ask("step")["resident"]) for step in range(options.memory_steps)]
    epoch = len(list(options.photos.iterdir())) // SHAPE["batch_size"]  # type: ignore[operator]
    points = points[
        max(len(points) // 10, min(epoch, len(points) // 2)) :
    ]  # decoded photos are kept: one epoch fills up
    mean_step, mean = (sum(column) / len(points) for column in zip(*points, strict=True))
    slope = sum((s - mean_step) * (m - mean) for s, m in points) / sum((s - mean_step) ** 2 for s, _ in points)
    peak = worker.ask("memory")["peak"]
    print(
        f"{options.memory_steps} steps: peak {peak:.0f} MiB, mean {mean:.0f} MiB, slope {1024 * slope:.2f} KiB a step"
    )
    worker.end()


class Worker:
    """A contender in its own process, which answers requests."""

    def __init__(
        self, name: str, options: argparse.Namespace, *, threads: int | None = None, **environment: str
    ) -> None:
        command = [sys.executable, __file__, "--worker", name, "--photos", str(options.photos)]
        command += ["--threads", str(threads or options.threads)]
        command += ["--loss-weights", str(options.loss_weights)] if options.loss_weights else []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        self._warm = not environment
        if self._warm:
            self.ask("step")

    def tell(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, float]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())  # type: ignore[no-any-return]

    def ask(self, what: str) -> dict[str, float]:
        self.tell(what)
        return self.hear()

    def end(self) -> None:
        self.tell("end")
        self.process.wait()


def work(name: str, photos: Path, loss_weights: Path | None, threads: int) -> None:
    """Answer the requests on stdin."""
    import torch

    from sr_cli.system import distributed

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with distributed.join_group(torch.device("cpu")) as group:
        contender = Ours(photos, vgg_weights(loss_weights), group) if name == "ours" else Naive(
            photos, vgg_weights(loss_weights), unfrozen="unfrozen" in name)  # fmt: skip
        for line in sys.stdin:
            if line.strip() == "end":
                break
            print(json.dumps(answer(line.strip(), contender)), flush=True)


def answer(what: str, contender: "Ours | Naive") -> dict[str, float]:
    """Serve one request; figures in seconds, MiB, FLOP."""
    if what == "gemm":
        return {"flops": gemm_rate()}
    if what == "flop":
        return {"flop": necessary_flop()}
    if what == "memory":
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    began, cpu = time.perf_counter(), time.process_time()
    contender.step()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "resident": resident}


class Ours:
    """A step as `sr train` takes it."""

    def __init__(self, photos, state, group) -> None:  # type: ignore[no-untyped-def]
        import torch

        from sr_cli.config import TrainConfig
        from sr_cli.data import Batches, Loader, Photos, TrainingPairs
        from sr_cli.training.loop import configure_process
        from sr_cli.training.trainer import Trainer

        # Several processes on CPUs cannot share the statistics of their batches.
        config = TrainConfig(arch="johnson", batch_norm="frozen" if group.size > 1 else "batch", **SHAPE)
        configure_process(config)
        self.trainer = Trainer(config, torch.device("cpu"), vgg_state=state, group=group)
        pairs = TrainingPairs(Photos.below(photos, min_side=288, cache_bytes=1 << 30), scale=4, crop_size=288,
                              degradation="paper")  # fmt: skip
        batches = Batches(pairs, batch_size=4, part=group.rank, parts=group.size)
        self.loader = Loader(batches)
        self.loader.start(0)

    def step(self) -> None:
        self.trainer.learn(next(self.loader))
        self.trainer.update(1e-3)


class Naive:
    """A step in plain PyTorch."""

    def __init__(self, photos, state, *, unfrozen: bool) -> None:  # type: ignore[no-untyped-def]
        import torch

        from sr_cli.data import Photos, TrainingPairs

        self.pairs = TrainingPairs(Photos.below(photos, min_side=288, cache_bytes=0), scale=4, crop_size=288,
                                   degradation="paper")  # fmt: skip
        self.network, self.vgg = plain_johnson(), plain_vgg()
        self.vgg.load_state_dict({key.removeprefix("features."): state[key] for key in state
                                  if int(key.split(".")[1]) < 9}, strict=True)  # fmt: skip
        self.vgg.requires_grad_(unfrozen)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.taken = 0

    def step(self) -> None:
        import torch
        from torch.nn import functional as F

        pairs = [self.pairs[self.taken + i] for i in range(4)]
        self.taken += 4
        hr, lr = torch.stack([pair.hr for pair in pairs]).requires_grad_(), torch.stack([pair.lr for pair in pairs])
        self.optimizer.zero_grad()
        F.mse_loss(self.features(self.network(lr)), self.features(hr)).backward()
        self.optimizer.step()

    def features(self, image):  # type: ignore[no-untyped-def]
        mean, std = (
            image.new_tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        return self.vgg((image - mean) / std)


def plain_johnson():  # type: ignore[no-untyped-def]
    """`johnson` x4 from PyTorch's own layers."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                                        nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64))  # fmt: skip

        def forward(self, features):  # type: ignore[no-untyped-def]
            return features + self.branch(features)

    class Range(nn.Module):
        def forward(self, features):  # type: ignore[no-untyped-def]
            return (features.tanh() + 1) / 2

    def up() -> list[nn.Module]:
        return [nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]

    head = [nn.Conv2d(3, 64, 9, padding=4, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*head, *(Block() for _ in range(4)), *up(), *up(), nn.Conv2d(64, 3, 9, padding=4), Range())


def plain_vgg():  # type: ignore[no-untyped-def]
    """VGG-16 up to relu2_2, like torchvision."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def necessary_flop() -> float:
    """The convolutions of a step, as their formulas have it: HR goes through the loss network forward only."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network, vgg = plain_johnson(), plain_vgg().requires_grad_(False)
        with torch.no_grad():
            target = vgg(torch.empty(4, 3, 288, 288))
        (vgg(network(torch.empty(4, 3, 72, 72))) - target).square().mean().backward()
    return counter.get_total_flops()


def gemm_rate() -> float:
    """FLOP/s of a large float32 matrix product, the best of several."""
    import torch

    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def vgg_weights(path: Path | None):  # type: ignore[no-untyped-def]
    """Weights in torchvision's layout; random ones of a sensible size without a file."""
    import torch

    from sr_cli.networks.vgg import load_vgg_state

    if path:
        return load_vgg_state(path)
    state = plain_vgg().state_dict()
    random = {key: torch.randn_like(value) * (2 / value[0].numel()) ** 0.5 for key, value in state.items()}
    return {f"features.{key}": value if value.ndim > 1 else value * 0 for key, value in random.items()}


def made_up_photos(folder: Path) -> Path:
    """Sixteen smooth pictures with grain, 480×320, JPEG."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(16):
        small = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
        large = np.asarray(small.resize((480, 320), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (large + rng.integers(-8, 9, large.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
