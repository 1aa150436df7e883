"""An S3 server on loopback that can be killed and started again: ``rclone serve s3`` over a folder."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAM = shutil.which("rclone") or shutil.which("rclone", path=str(Path(sys.prefix, "bin")))
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


class Server:
    """The server; each folder of its root is a bucket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What tells a client where the server is, and who asks."""
        return {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_EC2_METADATA_DISABLED": "true"}

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        assert PROGRAM
        keys = ",".join((KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]))
        self._process = subprocess.Popen(
            [PROGRAM, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--auth-key", keys, "--config", os.devnull,
             "--vfs-cache-mode", "off", *options, str(self.root)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError("rclone does not answer")

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def serving_s3(root: Path) -> Iterator[Server]:
    """Serve a folder until the block ends."""
    server = Server(root)
    server.start()
    try:
        yield server
    finally:
        server.kill()
