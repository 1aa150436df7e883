"""A batch on a Ray cluster: Ray Data hands out the pictures, watches over the workers and replaces those that die."""

import copy
import logging
import os
import pickle
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from sr_cli.config import AUTO, UpscaleConfig
from sr_cli.errors import DeviceError, UsageError, first_line
from sr_cli.networks.base import Network
from sr_cli.signals import NUMBERS
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.upscaling.batch.pipeline import run
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.upscaler import Upscaler

_WINDOW = 20_000  # pictures that are handed to Ray together: a longer list is never in memory as a whole
_TOGETHER = 8  # pictures that a worker gets at a time, and does again if it dies


def run_on_cluster(jobs: Iterable[Job], upscaler: Upscaler, config: UpscaleConfig) -> Iterator[Result]:
    """Upscale pictures on every node of a cluster, whose workers read, compute and write as `pipeline.run` does.

    All of it is repeatable, so a worker that dies costs time alone: its pictures are done again by another one.

    Args:
        upscaler: its network is sent to the workers, which make upscalers of their own of it.
        config: its ``cluster`` is ``auto`` or the address.

    Yields:
        A result for each job, as it is done. Those that are skipped come when they are found.

    Raises:
        UsageError: Ray is missing, or there is no cluster at that address.
        DeviceError: no worker can run.
    """
    pending, room = iter(jobs), None
    network = None if upscaler.is_auto else copy.deepcopy(upscaler.network).cpu()
    with ExitStack() as stack:
        while window := list(islice(pending, _WINDOW)):
            yield from (_skipped(job) for job in window if job.skip)
            wanted = [job for job in window if not job.skip]
            if wanted:
                workers, gpus = room = room or stack.enter_context(_connected(config))
                there = replace(config, cluster=None, shard=None, gpus_per_worker=gpus)
                yield from _run_window(wanted, (network, upscaler.name, upscaler.header, there), workers)


def _run_window(jobs: list[Job], arguments: tuple[Any, ...], workers: int) -> Iterator[Result]:
    import ray.data

    config: UpscaleConfig = arguments[-1]
    rows = [{"index": index, "job": pickle.dumps(_absolute(job))} for index, job in enumerate(jobs)]
    blocks = -(-len(rows) // _TOGETHER)
    results = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        _Worker,
        fn_constructor_args=arguments,
        batch_size=_TOGETHER,
        compute=ray.data.ActorPoolStrategy(min_size=1, initial_size=min(workers, blocks)),
        num_gpus=config.gpus_per_worker or None,
        num_cpus=config.cpus_per_worker,
    )
    try:
        for row in results.iter_rows():
            yield _renamed(pickle.loads(row["result"]), jobs[row["index"]])
    except ray.exceptions.RayError as error:
        raise DeviceError(f"--cluster: {first_line(error)}") from error


class _Worker:
    """An actor: it holds the network."""

    def __init__(self, network: Network | None, name: str, header: dict[str, Any], config: UpscaleConfig) -> None:
        torch.set_num_threads(max(1, int(config.cpus_per_worker)))
        keep_freed_memory()
        self._config = config
        self._upscaler = Upscaler(network or AUTO, config, name=name, header=header)

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        jobs = [pickle.loads(job) for job in batch["job"]]
        for index, result in zip(batch["index"], run(jobs, self._upscaler, self._config), strict=True):
            yield {"index": [index], "result": [pickle.dumps(result)]}


@contextmanager
def _connected(config: UpscaleConfig) -> Iterator[tuple[int, float]]:
    """Join the cluster, or start one on this machine; yields how many workers it has room for, and the GPUs of each."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of the processes behind it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("--cluster needs a package: python -m pip install 'ray[data]'") from error
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in NUMBERS} if is_main else {}
    try:
        address = None if config.cluster == "auto" else config.cluster
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    except SystemExit as error:  # Ray's way to end at SIGTERM
        raise KeyboardInterrupt from error
    except Exception as error:  # Ray raises whatever it meets
        raise UsageError(f"--cluster {config.cluster}: cannot be reached ({first_line(error)})") from error
    finally:
        for number, handler in handlers.items():  # Ray has set its own, which abort
            signal.signal(number, handler)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        there = ray.cluster_resources()  # type: ignore[no-untyped-call,unused-ignore]
        cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
        share = config.gpus_per_worker if config.gpus_per_worker is not None else float(gpus > 0)
        workers = int(min(cpus / config.cpus_per_worker, gpus / share if share else cpus / config.cpus_per_worker))
        if not workers:
            raise DeviceError(
                f"--cluster {config.cluster}: has {cpus:g} CPUs and {gpus:g} GPUs, too few for a worker of "
                f"{config.cpus_per_worker:g} and {share:g}"
            )
        yield workers, share
    finally:
        ray.shutdown()


def _absolute(job: Job) -> Job:
    """The job as another process may do it, and again if that one dies."""
    source, output = (path.absolute() if isinstance(path, Path) else path for path in (job.source, job.output))
    return replace(job, source=source, output=output, overwrite=job.overwrite or job.keep, keep=job.ask)


def _renamed(result: Result, job: Job) -> Result:
    """The result with the names of its job."""
    error = result.error and result.error.replace(result.input, str(job.source)).replace(result.output, str(job.output))
    return replace(result, input=str(job.source), output=str(job.output), error=error)


def _skipped(job: Job) -> Result:
    return Result(input=str(job.source), output=str(job.output), status="skipped")
