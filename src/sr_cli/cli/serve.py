"""``sr serve``."""

import secrets
from typing import TYPE_CHECKING, Any

import typer

from sr_cli import console, signals
from sr_cli.cli.options import options
from sr_cli.config import ServeConfig
from sr_cli.console.upscaling import outcome
from sr_cli.errors import EXIT_INTERRUPTED, UsageError, as_usage_error
from sr_cli.system.atomic_files import temporary_folder
from sr_cli.system.cpu_tuning import keep_freed_memory

if TYPE_CHECKING:
    from sr_cli.upscaling.batch.results import Result


@options(ServeConfig)
def serve(*, given: dict[str, Any]) -> None:
    """Upscale in the browser, by a page on this machine.

    Scripts use POST /upscale.

    Prints the page's address, which is secret, and serves until Ctrl-C.

    Needs: python -m pip install starlette uvicorn python-multipart
    """
    with as_usage_error():
        config = ServeConfig(**given)
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        package = str(error.name).replace("_", "-")
        raise UsageError(
            f"sr serve needs {package}: python -m pip install starlette uvicorn python-multipart"
        ) from None

    from sr_cli.serve.app import Site
    from sr_cli.serve.server import Server, address, is_loopback, listen
    from sr_cli.system.device import choose

    choose(config.device)  # an absent one is an error now, not at the first picture
    keep_freed_memory()
    token = secrets.token_urlsafe(24)
    with listen(config) as listener, temporary_folder() as folder:
        server = Server(Site(config, folder, _tell), token=token, host=config.host)
        if not is_loopback(listener):
            console.warning("other machines can reach this page, unencrypted; anyone who has its address can use it")
        typer.echo(address(config, listener, token))
        console.note("open this address in a browser; Ctrl-C ends the server, and results that were not saved are lost")

        with signals.on_signals(lambda _: server.end(), signals.end):
            server.serve_on(listener)
    console.note("stopped")
    raise typer.Exit(EXIT_INTERRUPTED)


def _tell(result: "Result") -> None:
    if result.status == "done":
        console.note(outcome(result))
    else:
        console.error(result.error or "failed")
