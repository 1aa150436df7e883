"""A batch on a Ray cluster: Ray Data hands out the pictures, watches over the workers and replaces those that die."""

import copy
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from sr_cli import signals
from sr_cli.config import AUTO, UpscaleConfig
from sr_cli.errors import DeviceError, UsageError, first_line
from sr_cli.networks.base import Network
from sr_cli.signals import NUMBERS, end
from sr_cli.system.cpu_tuning import keep_freed_memory
from sr_cli.upscaling.batch.pipeline import run
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.upscaler import Upscaler

_WINDOW = 20_000  # pictures that are handed to Ray together: a longer list is never in memory as a whole
_WATCH_SECONDS, _MISSED = 5, 6  # between two looks whether the head of the cluster answers; in vain before it is gone
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
            for job in window:
                if job.skip:
                    yield Result(input=str(job.source), output=str(job.output), status="skipped")
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
    names = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
    has_token = any(name in os.environ for name in names) or Path("~/.ray/auth_token").expanduser().exists()
    if has_token and "ray" not in sys.modules:  # which reads this once
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # `ray start` asks for it then, and `ray.init` wouldn't send it
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("--cluster needs a package: python -m pip install 'ray[data]'") from error
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in NUMBERS} if is_main else {}
    name = f"--cluster {config.cluster}"
    with ExitStack() as stack:
        try:
            address = _running_cluster() if config.cluster == "auto" else config.cluster
            if address:
                _check_answers(address)
                stack.enter_context(_watched(address, name))
            stack.callback(ray.shutdown)
            with _silent_stderr():
                ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
        except SystemExit as error:  # Ray's way to end at SIGTERM
            raise KeyboardInterrupt from error
        except Exception as error:  # Ray raises whatever it meets
            raise UsageError(f"{name}: cannot be reached ({first_line(error)})") from error
        finally:
            for number, handler in handlers.items():  # Ray has set its own, which abort
                signal.signal(number, handler)
        if not address:
            stack.enter_context(_watched(ray.get_runtime_context().gcs_address, name))
        vars(ray._private.worker)["_worker_logs_enabled"] = False  # or stdout tells of nodes that die
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        there = ray.cluster_resources()  # type: ignore[no-untyped-call,unused-ignore]
        cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
        share = config.gpus_per_worker if config.gpus_per_worker is not None else float(gpus > 0)
        workers = int(min(cpus / config.cpus_per_worker, gpus / share if share else cpus / config.cpus_per_worker))
        if not workers:
            raise DeviceError(
                f"{name}: has {cpus:g} CPUs and {gpus:g} GPUs, too few for a worker of "
                f"{config.cpus_per_worker:g} and {share:g}"
            )
        yield workers, share


def _running_cluster() -> str | None:
    """The address of the cluster that this machine is in, if it answers; Ray's own search may wait for a dead one."""
    from ray._private.utils import read_ray_address

    address = os.environ.get("RAY_ADDRESS") or read_ray_address()
    with suppress(OSError, ValueError):
        if address:
            _check_answers(address)
            return str(address)
    return None


@contextmanager
def _watched(head: str, name: str) -> Iterator[None]:
    """End the process if the head of the cluster is gone: a minute later Ray would, and wouldn't say why."""
    over = threading.Event()

    def is_gone() -> bool:
        with suppress(OSError):
            _check_answers(head)
            return False
        return True

    def tell() -> None:
        end(f"{name}: the cluster is gone; the same command goes on when it is back", DeviceError.exit_code)

    def watch() -> None:
        missed = 0
        while missed < _MISSED:
            if over.wait(_WATCH_SECONDS):
                return
            missed = missed + 1 if is_gone() else 0
        tell()

    threading.Thread(target=watch, daemon=True, name="cluster").start()
    try:
        yield
    except DeviceError:
        if is_gone():
            tell()  # before Ray's own shutdown ends the process
        raise
    finally:
        over.set()


def _check_answers(address: str) -> None:
    """Raise an `OSError` or `ValueError` if nothing listens there: Ray would try for half a minute, line by line."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("an address is HOST:PORT, such as head:6379")
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep away what Ray's libraries print to the file descriptor, past Python and all settings."""
    with suppress(OSError):
        sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    signals.stderr = kept
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        signals.stderr = 2
        os.close(kept)


def _absolute(job: Job) -> Job:
    """The job as another process may do it, and again if that one dies."""
    source, output = (path.absolute() if isinstance(path, Path) else path for path in (job.source, job.output))
    return replace(job, source=source, output=output, overwrite=job.overwrite or job.keep, keep=job.ask)


def _renamed(result: Result, job: Job) -> Result:
    """The result with the names of its job."""
    error = result.error and result.error.replace(result.input, str(job.source)).replace(result.output, str(job.output))
    return replace(result, input=str(job.source), output=str(job.output), error=error)
