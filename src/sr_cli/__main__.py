"""``sr`` and ``python -m sr_cli``: the one place where errors become a line on stderr and an exit code."""

import io
import os
import sys

from sr_cli import console
from sr_cli.cli import app
from sr_cli.errors import EXIT_INTERRUPTED, OutputError, SrError


def main() -> None:
    """Run the command line and exit."""
    try:
        _run()
    except SystemExit as exit_:
        _leave_torchrun(exit_.code)
        raise


def _leave_torchrun(code: int | str | None) -> None:
    """Under ``torchrun``, end this process at once; all files are closed by then.

    ``DistributedDataParallel`` keeps gloo's threads alive even after ``destroy_process_group`` (PyTorch 2.14), and the
    interpreter may abort when it shuts down under them: a training that was saved would count as failed.
    """
    if "torch.distributed" in sys.modules:
        from sr_cli.system import distributed

        if distributed.under_torchrun():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else int(code is not None))


def _run() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names or stdout may not be UTF-8
    try:
        app(standalone_mode=True)
    except SrError as error:
        console.error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:  # such as a full disk behind stdout; our own output files raise an SrError
        console.error(f"{error.filename or 'the output'}: {error.strerror or error}")
        sys.exit(OutputError.exit_code)
    except KeyboardInterrupt:
        console.error("interrupted")
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
