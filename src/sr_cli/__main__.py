"""``sr`` and ``python -m sr_cli``: the one place where errors become a line on stderr and an exit code."""

import io
import sys
import warnings

from sr_cli import console
from sr_cli.cli import app
from sr_cli.cli.app import CommandLineError
from sr_cli.errors import EXIT_INTERRUPTED, OutputError, SrError


def main() -> None:
    """Run the command line and exit."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names or stdout may not be UTF-8
    if not sys.warnoptions:  # -W or PYTHONWARNINGS
        warnings.simplefilter("ignore")  # what libraries tell programmers; ours are lines of the console
    try:
        sys.exit(app(prog_name="sr", standalone_mode=False) or 0)
    except CommandLineError as error:
        command = error.ctx.command_path if error.ctx else "sr"
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        console.error(f"{message.removesuffix('.')} (see {command} --help)")
        sys.exit(error.exit_code)
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
