"""Many pictures, many workers, one store: a simulation of what limits them, and real runs on Ray beside it.

    python benchmarks/scale.py                  # a million photos of 12 megapixels, by the figures below; seconds
    python benchmarks/scale.py --photo a.jpg    # CPU seconds to decode it and to encode its result; a minute
    python benchmarks/scale.py --names 100000   # memory while so many pictures of a store are listed and planned
    python benchmarks/scale.py --names 100000 --upscale   # and while they are upscaled; an hour
    python benchmarks/scale.py --check          # runs with 1, 2 and 4 Ray workers on this machine; minutes

A worker is a process as `--cluster` starts them: threads that fetch and decode, one that runs the network, threads that
encode and deliver, eight pictures at a time. CPUs, GPUs and the link to the store are shared equally by what uses them.

`--check` measures what a picture costs one thread here, then compares two cases: small pictures from a server that
takes its time, so that waiting is the limit, and larger ones without waiting, so that the CPUs are. There the
simulation gets as many CPUs as the runs got: other programs may take their share.
"""

import argparse
import io
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sr_cli.system.cpu_tuning import limit_openmp_spin

limit_openmp_spin()  # before torch, as `sr upscale` does

import fsspec
import numpy as np
import psutil
import torch
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from commands import make_pictures
from sr_cli import images
from sr_cli.config import UpscaleConfig
from sr_cli.upscaling.batch.run import BatchRequest, plan_batch
from sr_cli.upscaling.upscaler import Upscaler

TOGETHER = 8  # pictures that a worker gets at a time


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of one picture: seconds of waiting, CPU and GPU, and bytes."""

    wait: float = 0.0
    fetched: float = 0.0
    decode: float
    network: float
    encode: float
    delivered: float = 0.0
    after: float = 0.0  # seconds of CPU in the network's thread: copies, colors
    on_gpu: bool = False


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What all workers share. Bytes a second; ``stream`` is the most of one connection."""

    workers: int
    cpus: float
    gpus: int = 0
    link: float = float("inf")
    stream: float = float("inf")
    jobs: int = 2
    threads: float = 1


class Simulation:
    """Each step goes to the next moment at which something is done. Resources are shared equally."""

    def __init__(self, costs: Costs, machines: Machines, pictures: int) -> None:
        self.machines, self.left, self.time = machines, pictures, 0.0
        network = [("gpu" if costs.on_gpu else "network", costs.network), ("cpu", costs.after)]
        self.stages = [
            [("wait", costs.wait), ("link", costs.fetched), ("cpu", costs.decode)],
            network,
            [("cpu", costs.encode), ("wait", costs.wait), ("link", costs.delivered)],
        ]
        self.limits = (machines.jobs, 1, machines.jobs)
        self.queues = [[0, 0, 0] for _ in range(machines.workers)]
        self.busy = [[0, 0, 0] for _ in range(machines.workers)]
        self.tasks: list[list] = []  # worker, stage, step, what is left of it
        self.used = {"cpu": 0.0, "gpu": 0.0, "link": 0.0}

    def run(self) -> float:
        """Pictures a second."""
        total = self.left
        for worker in range(self.machines.workers):
            self._feed(worker)
        while self.tasks:
            rates = self._rates()
            step = min(task[3] / rate if task[3] else 0.0 for task, rate in zip(self.tasks, rates, strict=True))
            self.time += step
            for task, rate in zip(list(self.tasks), rates, strict=True):
                kind = self._kind(task)
                if kind != "wait":
                    self.used["cpu" if kind == "network" else kind] += rate * step
                task[3] -= rate * step
                if task[3] <= 1e-9 * max(1.0, rate):
                    self._finish(task)
        return total / self.time

    def _kind(self, task: list) -> str:
        return self.stages[task[1]][task[2]][0]

    def _rates(self) -> list[float]:
        kinds = [self._kind(task) for task in self.tasks]
        most = {"wait": 1.0, "cpu": 1.0, "network": self.machines.threads, "gpu": 1.0, "link": self.machines.stream}
        wanted = sum(most[kind] for kind in kinds if kind in ("cpu", "network"))
        share = min(1.0, self.machines.cpus / wanted) if wanted else 1.0
        counts = {kind: kinds.count(kind) for kind in ("gpu", "link")}
        given = {
            "wait": 1.0,
            "cpu": share,
            "network": share * self.machines.threads,
            "gpu": min(1.0, self.machines.gpus / max(1, counts["gpu"])),
            "link": min(self.machines.stream, self.machines.link / max(1, counts["link"])),
        }
        return [min(given[kind], 1e15) for kind in kinds]

    def _finish(self, task: list) -> None:
        worker, stage, step, _ = task
        if step + 1 < len(self.stages[stage]):
            task[2:] = [step + 1, self.stages[stage][step + 1][1]]
            return
        self.tasks.remove(task)
        self.busy[worker][stage] -= 1
        if stage < 2:
            self.queues[worker][stage + 1] += 1
        self._feed(worker)

    def _feed(self, worker: int) -> None:
        queue, busy = self.queues[worker], self.busy[worker]
        if not any(queue) and not any(busy):
            queue[0] = min(TOGETHER, self.left)
            self.left -= queue[0]
        for stage, limit in enumerate(self.limits):
            full = stage == 0 and queue[1] > self.machines.jobs
            while queue[stage] and busy[stage] < limit and not full:
                queue[stage] -= 1
                busy[stage] += 1
                self.tasks.append([worker, stage, 0, self.stages[stage][0][1]])


def measure(folder: Path, upscaler: Upscaler) -> Costs:
    """CPU seconds of one thread for a picture of the folder."""
    spent = [0.0, 0.0, 0.0]
    paths = sorted(folder.iterdir())[:20]
    with tempfile.TemporaryDirectory() as results:
        for index, path in enumerate([paths[0], *paths]):
            clock = [time.process_time()]
            picture = images.read(path)
            clock.append(time.process_time())
            suited, _ = upscaler.suited_to(picture, path)
            large = suited.upscale_picture(picture, size=(picture.width * 4, picture.height * 4))
            clock.append(time.process_time())
            images.write(large, Path(results) / path.name)
            clock.append(time.process_time())
            if index:  # the first is slower
                spent = [s + b - a for s, a, b in zip(spent, clock, clock[1:], strict=False)]
    decode, network, encode = (seconds / len(paths) for seconds in spent)
    return Costs(decode=decode, network=network, encode=encode)


def measure_files(photo: Path) -> None:
    """CPU seconds to decode a photo, and to encode it four times as large; for the latter its content is bicubic."""
    clock = [time.process_time()]
    picture = images.read(photo)
    clock.append(time.process_time())
    size = (4 * picture.width, 4 * picture.height)
    large = images.Picture(color=np.asarray(Image.fromarray(picture.color).resize(size)), format="PNG")
    print(f"{picture.width} × {picture.height}: decoding {clock[1] - clock[0]:.2f} s of CPU")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".jpg"):
            path, began = Path(folder, f"large{suffix}"), time.process_time()
            images.write(large, path)
            spent = time.process_time() - began
            print(f"{size[0]} × {size[1]}: encoding as {suffix[1:]} {spent:.2f} s, {path.stat().st_size / 1e6:.0f} MB")


@dataclass(frozen=True)
class Measured:
    """A real run between its first and its last result."""

    rate: float
    cpus: float


def real(inputs: list[str], upscaler: Upscaler, config: UpscaleConfig) -> Measured:
    """Pictures a second, and how many CPUs the processes got."""
    with tempfile.TemporaryDirectory() as results:
        batch = plan_batch(BatchRequest(inputs=inputs, output=results), config, lambda: upscaler)
        skip = TOGETHER * 4  # until each worker has begun
        moments = []
        for result in batch.run():
            assert result.status == "done", result.error
            moments.append((time.perf_counter(), cpu_seconds()) if len(moments) in (skip, len(inputs) - 1) else None)
    (begin, before), (end, after) = moments[skip], moments[-1]
    seconds = end - begin
    return Measured((len(inputs) - 1 - skip) / seconds, (after - before) / seconds)


def cpu_seconds() -> float:
    """Of this process and those it started, workers included."""
    total = 0.0
    for each in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            used = each.cpu_times()
        except psutil.Error:
            continue
        total += used.user + used.system
    return total


@contextmanager
def slow_server(folder: Path, wait: float) -> Iterator[str]:
    """The files of a folder by HTTP on loopback, each after a wait."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(wait)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: Handler(*rest, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def check(arguments: argparse.Namespace) -> None:
    """Real runs beside the simulation."""
    logging.disable(logging.WARNING)
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # it may share the machine
    threads = torch.get_num_threads()
    config = UpscaleConfig(model="compact-x4", device="cpu", dtype="float32", if_exists="overwrite")
    cores = psutil.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        for name, side, wait in (("waiting", 16, arguments.wait), ("computing", arguments.side, 0.0)):
            if name not in arguments.cases:
                continue
            pictures = Path(folder) / name
            make_pictures(pictures, arguments.count, side)
            torch.set_num_threads(1)
            upscaler = Upscaler("compact-x4", config)
            costs = replace(measure(pictures, upscaler), wait=wait)
            print(
                f"{name}: {arguments.count} pictures of {side} × {side}, {wait:g} s before each, one thread: ", end=""
            )
            parts = (("decode", costs.decode), ("network", costs.network), ("encode", costs.encode))
            print(", ".join(f"{what} {seconds * 1e3:.1f} ms" for what, seconds in parts))
            with slow_server(pictures, wait) as url:
                names = [f"{url}/{path.name}" if wait else str(path) for path in sorted(pictures.iterdir())]
                if not wait:
                    torch.set_num_threads(threads)
                    local = real(names, upscaler, config)
                    print(f"  one process without Ray: {local.rate:.2f} pictures/s, {local.cpus:.2f} CPUs: ", end="")
                    print(f"{local.rate / local.cpus:.2f} pictures a CPU second")
                for workers in arguments.workers:
                    each = cores / workers
                    found = real(names, upscaler, replace(config, cluster="auto", cpus_per_worker=each))
                    # Waiting for the result's delivery is no part of this: it goes into a folder.
                    cpus = cores if wait else found.cpus
                    machines = Machines(workers=workers, cpus=cpus, threads=max(1, int(each)))
                    simulation = Simulation(costs, machines, arguments.count)
                    simulation.stages[2] = [("cpu", costs.encode)]
                    expected = simulation.run()
                    print(f"  {workers} workers: {found.rate:.2f} pictures/s with {found.cpus:.2f} CPUs, ", end="")
                    print(f"simulated {expected:.2f} ({found.rate / expected - 1:+.0%}), ", end="")
                    print(f"{found.rate / found.cpus:.2f} pictures a CPU second", flush=True)


class Memory(MemoryFileSystem):
    """fsspec's store in memory, which looks at all names to find one, with a look-up in its place."""

    def isfile(self, path: str) -> bool:
        return self._strip_protocol(path) in self.store

    def info(self, path: str, **options: object) -> dict[str, object]:
        found = self.store.get(self._strip_protocol(path))
        return {"name": path, "size": found.size, "type": "file"} if found else super().info(path, **options)


def measure_memory(count: int, *, upscale: bool) -> None:
    """Resident memory during a run over pictures of a store in memory, a thousand in a folder.

    Args:
        upscale: whether this is more than a dry run; results are taken out of the store as they come.
    """
    fsspec.register_implementation("memory", Memory, clobber=True)
    store, file = fsspec.filesystem("memory"), io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    for number in range(count):
        store.pipe(f"/in/{number // 1000:04}/{number:07}.png", file.getvalue())
    config = UpscaleConfig(model="compact-x4", device="cpu", recursive=True)
    request = BatchRequest(inputs=["memory://in"], output="memory://out")
    batch = plan_batch(request, config, lambda: Upscaler("compact-x4", config))
    for number, result in enumerate(batch.run() if upscale else batch.dry_run(), 1):
        assert result.status == ("done" if upscale else "planned"), result.error
        if upscale:
            store.rm_file(result.output)
        if number in (1, count // 100, count // 10, count // 2, count):
            print(f"{number} pictures: {psutil.Process().memory_info().rss / 1e6:.0f} MB")


def million() -> None:
    """A million photos of 12 megapixels, by measured costs and assumed links; see docs/explanation/scale.md."""
    photo = Costs(wait=0.05, fetched=5e6, decode=0.2, network=72, encode=1.7, delivered=210e6)
    gpu = replace(photo, network=0.11, after=3.6, encode=6, on_gpu=True)
    jpeg = replace(gpu, delivered=54e6)
    link = {"link": 1.25e9, "stream": 80e6}
    wide = {"link": 12.5e9, "stream": 80e6}
    rows = [
        ("2 CPUs", photo, Machines(workers=1, cpus=2, threads=2, **link)),
        ("50 machines of 2 CPUs", photo, Machines(workers=50, cpus=100, threads=2, **wide)),
        ("1 GPU and 16 CPUs, 1 worker", gpu, Machines(workers=1, cpus=16, gpus=1, **link)),
        ("4 workers", gpu, Machines(workers=4, cpus=16, gpus=1, **link)),
        ("8 workers", gpu, Machines(workers=8, cpus=16, gpus=1, **link)),
        ("8 workers, `--jobs 4`", gpu, Machines(workers=8, cpus=16, gpus=1, jobs=4, **link)),
        ("8 workers, `--format jpg`", jpeg, Machines(workers=8, cpus=16, gpus=1, **link)),
        ("64 CPUs, 32 workers", gpu, Machines(workers=32, cpus=64, gpus=1, **link)),
        ("64 CPUs, 32 workers, 100 Gbit/s", gpu, Machines(workers=32, cpus=64, gpus=1, **wide)),
    ]
    print("| | photos/s | a million takes | CPUs busy | GPU busy | link busy |\n| --- | --- | --- | --- | --- | --- |")
    for name, costs, machines in rows:
        simulation = Simulation(costs, machines, 40 * machines.workers)
        rate = simulation.run()
        cpu, card, sent = (simulation.used[each] / simulation.time for each in ("cpu", "gpu", "link"))
        shares = (cpu / machines.cpus, card / max(1, machines.gpus), sent / machines.link)
        print(f"| {name} | {rate:.3f} | {1e6 / rate / 86400:.1f} days | {' | '.join(f'{s:.0%}' for s in shares)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="real runs on Ray, beside the simulation")
    parser.add_argument("--names", type=int, help="measure the memory of a dry run over so many pictures")
    parser.add_argument("--upscale", action="store_true", help="with --names: a real run")
    parser.add_argument("--photo", type=Path, help="measure how long its files take to decode and encode")
    parser.add_argument("--cases", nargs="+", default=["waiting", "computing"], help="which of the two to check")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4], help="how many, one run each (1 2 4)")
    parser.add_argument("--count", type=int, default=200, help="of pictures in a real run (200)")
    parser.add_argument("--side", type=int, default=96, help="of those that keep the CPUs busy, in pixels (96)")
    parser.add_argument("--wait", type=float, default=0.5, help="seconds before the server sends (0.5)")
    arguments = parser.parse_args()
    if arguments.names:
        measure_memory(arguments.names, upscale=arguments.upscale)
    elif arguments.photo:
        measure_files(arguments.photo)
    elif arguments.check:
        check(arguments)
    else:
        million()


if __name__ == "__main__":
    main()
