"""Have the server of `fast_python` run a command with this process's files, and end as it ends.

Every command starts this, so it imports little: the C parts of ``signal`` and ``socket``, which alone take 15 ms less.
"""

import _signal as signal
import _socket as socket
import marshal
import os
import sys

LONGEST = 1 << 17  # bytes of a message


def ask(path: str, arguments: list[str]) -> int:
    """Have it run; its exit code."""
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    forwarded = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)  # until there is a command to forward them to
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.connect(path)
    request = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))  # noqa: PTH109
    server.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    command = int(server.recv(LONGEST))

    def forward(number: int, _: object) -> None:
        try:  # noqa: SIM105
            os.kill(command, number)
        except ProcessLookupError:  # it has just ended
            pass

    for number in forwarded:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
    code = int(server.recv(LONGEST))
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1], sys.argv[2:]))
