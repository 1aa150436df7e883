"""``sr`` and ``python -m sr_cli``: the one place where errors become a line on stderr and an exit code."""

import _imp
import _signal  # type: ignore[import-not-found]  # `signal` takes longer to import than Python to start
import os


def _end(*_: object) -> None:
    try:
        os.write(2, b"error: interrupted\n")
    finally:
        os._exit(130)


for _number in (_signal.SIGINT, _signal.SIGTERM):  # until `signals` is imported
    if _signal.getsignal(_number) != _signal.SIG_IGN:
        _signal.signal(_number, _end)

try:
    # Ctrl-C while Python starts can come where it forgets the exception and keeps a lock: the next thread that imports
    # something would wait forever.
    _imp.release_lock()
except RuntimeError:
    pass  # as it should be: the lock isn't this thread's
else:
    _end()

from sr_cli import signals  # noqa: E402

signals.install()  # before what takes time to import

import io  # noqa: E402
import logging  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
import warnings  # noqa: E402

from sr_cli.errors import DeviceError, OutputError, SrError, UsageError, is_out_of_memory  # noqa: E402
from sr_cli.system.address_space import check_before_imports  # noqa: E402
from sr_cli.system.cpu_tuning import limit_openmp_spin, limit_openmp_threads  # noqa: E402

_WORDS = {
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
    "Input should be a valid number, unable to parse string as a number": "not a number",
    "Input should be greater than or equal to": "must be at least",
    "Input should be less than or equal to": "must be at most",
}
"""What Typer says about values, and what we say."""


def main() -> None:
    """Run the command line and exit."""
    try:
        unwatch = signals.watch()
        try:
            sys.exit(run())
        finally:
            unwatch()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Memory may still be too short for anything but this.
    sys.stderr.write("error: out of memory: close other programs, or raise the limit (ulimit -v, the container's)\n")
    sys.exit(DeviceError.exit_code)


def run() -> int:
    """Run the command line; the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names or stdout may not be UTF-8
    if not sys.warnoptions:  # -W or PYTHONWARNINGS
        logging.getLogger().addHandler(logging.NullHandler())
        warnings.simplefilter("ignore")  # what libraries tell programmers; ours are lines of the console
    check_before_imports()
    limit_openmp_spin(training=sys.argv[1:2] == ["train"])
    limit_openmp_threads()
    from sr_cli import console
    from sr_cli.cli import app
    from sr_cli.cli.app import CommandLineError

    try:
        return app(prog_name="sr", standalone_mode=False) or 0
    except CommandLineError as error:
        command = error.ctx.command_path if error.ctx else "sr"
        message = " ".join(error.format_message().split())
        for said, better in _WORDS.items():
            message = message.replace(said, better)
        message = re.sub(r"^No such command ('.*?')", r"no command, file or folder is called \1", message)
        message = re.sub(r" \(Possible options: (.*)\)$", r"; similar are \1", message)
        _say(f"{message.removesuffix('.')} (see {command} --help){_about_dashes()}")
        return int(error.exit_code)
    except SrError as error:
        _say(f"{error}{_about_dashes() if isinstance(error, UsageError) else ''}")
        return error.exit_code
    except OSError as error:  # such as a full disk behind stdout; our own output files raise an SrError
        if is_out_of_memory(error):
            raise
        console.error(f"{error.filename or 'the output'}: {error.strerror or error}")
        return OutputError.exit_code


def _say(message: str) -> None:
    """Print an error, unless another process of ``torchrun`` has printed the same."""
    from sr_cli import console

    if "RANK" in os.environ:
        from sr_cli.system.distributed import is_first_to_say

        if not is_first_to_say(message):
            return
    console.error(message)


def _about_dashes() -> str:
    """A hint, if an input was taken for options."""
    if "--" in sys.argv:
        return ""
    names = (each for each in sys.argv[1:] if each.startswith("-") and os.path.lexists(each))
    return "".join(f"; for the file write ./{name}" for name in names)


if __name__ == "__main__":
    main()
