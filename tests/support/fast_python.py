"""A Python that starts in milliseconds: a server that has imported PyTorch forks a process for every command.

``[python(), "-m", "sr_cli", "info"]`` does what ``[sys.executable, "-m", "sr_cli", "info"]`` does, with its signals,
terminal and exit code, without the three seconds that importing PyTorch takes. What is about importing, threads or
memory needs ``sys.executable``.

A small client passes its arguments, folder, environment, and the files behind stdin, stdout and stderr to the server,
which forks the command and tells the client how it ends.
"""

import atexit
import contextlib
import functools
import gc
import marshal
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

CLIENT = Path(__file__).with_name("fast_python_client.py")
LONGEST = 1 << 17  # bytes of a request


@functools.cache
def python() -> str:
    """The path of the interpreter; its server lives as long as the process that called this first, or its parent."""
    if sys.platform != "linux":
        return sys.executable
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    client = folder / "python"
    client.write_text(f"#!/bin/sh\nexec '{sys.executable}' -IS '{CLIENT}' '{folder}/socket' \"$@\"\n")
    client.chmod(0o755)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}  # several threads couldn't be forked
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        command = [sys.executable, __file__, "--serve", str(listener.fileno())]
        files: dict[str, Any] = {"stdin": subprocess.PIPE, "pass_fds": [listener.fileno()]}
        _servers.append(subprocess.Popen(command, **files, env=environment, start_new_session=True))
    return str(client)


VARIABLE = "SR_FAST_PYTHON"
"""Names the interpreter, for processes that share a server."""

_servers: list[subprocess.Popen[bytes]] = []  # a server lives until the pipe to its stdin is closed


def serve(listener: socket.socket) -> None:
    """The server; it runs until its stdin is closed, and imports nothing before the first command."""
    from multiprocessing.connection import wait

    if sys.stdin not in wait([sys.stdin, listener]):
        import jinja2  # noqa: F401
        import numpy.ma  # noqa: F401
        import piq  # noqa: F401
        import requests  # noqa: F401
        import rich.progress
        import rich.prompt  # noqa: F401
        import spandrel  # noqa: F401
        import torch  # noqa: F401
        import typer.rich_utils  # noqa: F401
        from PIL import Image

        import sr_cli.evaluation.evaluate
        import sr_cli.evaluation.report.text
        import sr_cli.evaluation.thresholds
        import sr_cli.networks.fast.inference_form
        import sr_cli.training.loop
        import sr_cli.upscaling.batch.run
        import sr_cli.upscaling.load  # noqa: F401

        Image.preinit()
        with contextlib.suppress(ImportError):  # of the extra "heif"
            import pillow_heif  # noqa: F401
        with contextlib.suppress(ImportError):  # which newer Typers use
            import pydantic.fields
            import pydantic.types

            pydantic.TypeAdapter(int)

    gc.freeze()  # what is never collected is never copied
    commands: dict[socket.socket, BaseProcess] = {}  # by client
    while True:
        ready = wait([sys.stdin, listener, *commands, *(command.sentinel for command in commands.values())])
        if sys.stdin in ready:
            break
        if listener in ready:
            client, _ = listener.accept()
            if (command := _start(client)) is not None:
                commands[client] = command
        for client, command in [*commands.items()]:
            if client in ready:  # it has been killed
                command.kill()
            if command.exitcode is not None:
                del commands[client]
                with client, contextlib.suppress(OSError):
                    client.send(str(command.exitcode).encode())
    shutil.rmtree(Path(listener.getsockname()).parent)


def _start(client: socket.socket) -> "BaseProcess | None":
    """Start a client's command; ``None`` if the client was killed before it said which."""
    from multiprocessing import get_context

    request, files, _, _ = socket.recv_fds(client, LONGEST, 3)
    if not request:
        client.close()
        return None
    command = get_context("fork").Process(target=_run, args=(files, *marshal.loads(request)))
    command.start()
    with contextlib.suppress(OSError):
        client.send(str(command.pid).encode())
    for file in files:
        os.close(file)
    return command


def _run(files: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    import runpy

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, errors="backslashreplace", buffering=1)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [os.path.abspath(each) for each in environment.get("PYTHONPATH", "").split(":") if each]  # noqa: PTH100
    if arguments[0] == "-u":
        del arguments[0]
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        elif arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            exec(arguments[1], {"__name__": "__main__"})
        else:
            sys.argv = arguments
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which `multiprocessing` leaves out


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[2])))
