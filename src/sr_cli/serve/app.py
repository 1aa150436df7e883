"""The routes: the page and what it asks for, ``POST /upscale`` for scripts, and their description."""

import asyncio
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive

from sr_cli import __version__, html
from sr_cli.config import ServeConfig
from sr_cli.errors import DeviceError, ImageError, OutputError, SrError, UsageError, one_line
from sr_cli.images import FORMATS
from sr_cli.serve.parameters import describe, models, read_parameters
from sr_cli.serve.work import FACTS, VIDEO, BusyError, Work, Worker
from sr_cli.upscaling.batch.results import Result

_STATUS = {UsageError.exit_code: 400, ImageError.exit_code: 422, DeviceError.exit_code: 503, OutputError.exit_code: 507}
_HEARTBEAT = 10  # seconds between signs of life
_INTERVAL = 0.1  # seconds between two reports of progress


class _Page:
    """An open page: its pictures end with it."""

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(12)
        self.works: list[Work] = []
        self.changed = asyncio.Event()


class Site:
    """The pages and their pictures.

    Args:
        folder: for uploads and results; private.
        tell: called with the outcome of each picture.
    """

    def __init__(self, config: ServeConfig, folder: Path, tell: Callable[[Result], None] = lambda _: None) -> None:
        self._config, self._tell = config, tell
        self.worker = Worker(config, folder)
        self._pages: dict[str, _Page] = {}
        self._stopped = False
        routes = [
            Route("/", self._show_page),
            Route("/api", self._show_description),
            Route("/openapi.json", self._openapi),
            Route("/events", self._events),
            Route("/upscale", self._upscale, methods=["POST"]),
            Route("/pictures", self._add, methods=["POST"]),
            Route("/pictures/{id}", self._remove, methods=["DELETE"]),
            Route("/pictures/{id}/{name}", self._file),
        ]
        handlers: dict[Any, Any] = dict.fromkeys(
            (HTTPException, SrError, BusyError, ClientDisconnect, Exception), _error
        )
        self.app = Starlette(routes=routes, exception_handlers=handlers)

    def stop(self) -> None:
        """End all pages and requests."""
        self._stopped = True
        for work in list(self.worker.works.values()):
            self.worker.discard(work)
        for page in self._pages.values():
            page.changed.set()

    async def _show_page(self, request: Request) -> Response:
        known = await run_in_threadpool(models)
        text = html.template("sr_cli.serve", "page.html").render(
            nonce=request.scope["nonce"], version=__version__, models=known, limit=self._config.max_upload * 10**6,
            video=VIDEO,
            formats={name: each.suffixes[0] for name, each in FORMATS.items() if each.still is None},
        )  # fmt: skip
        return HTMLResponse(text)

    async def _show_description(self, request: Request) -> Response:
        template = html.template("sr_cli.serve", "description.html")
        found = await run_in_threadpool(describe, request.scope["address"], self._config)
        return HTMLResponse(template.render(nonce=request.scope["nonce"], about=found))

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(describe, request.scope["address"], self._config))

    async def _upscale(self, request: Request) -> Response:
        """Answer with the result; if nobody waits for it anymore, drop it."""
        name, work = await self._receive(request)
        gone = asyncio.create_task(_disconnection(request))
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        work.on_change = lambda: loop.call_soon_threadsafe(done.set) if work.is_over else None
        try:
            self.worker.begin(work)
            await asyncio.wait([gone, waiting := asyncio.create_task(done.wait())], return_when="FIRST_COMPLETED")
            waiting.cancel()
            if self._stopped or work.future is None or not work.future.done():
                raise HTTPException(503, "the server is being stopped")
            result = work.future.result()
            self._tell(result)
            if result.status != "done":
                raise HTTPException(_STATUS.get(result.exit_code, 500), result.error)
        except BaseException:
            self.worker.discard(work)
            raise
        finally:
            gone.cancel()
        facts = json.dumps({fact: getattr(result, fact) for fact in FACTS})
        width, height = result.output_size or (0, 0)
        return FileResponse(
            work.output,
            filename=f"{name}_{width}x{height}{work.output.suffix}",
            headers={"SR-Result": facts},
            background=BackgroundTask(self.worker.discard, work),
        )

    async def _add(self, request: Request) -> Response:
        """Queue a picture for a page."""
        page = self._pages.get(request.query_params.get("page", ""))
        if page is None:
            raise HTTPException(404, "no such page; its connection has ended")
        _, work = await self._receive(request, preview=True)
        loop = asyncio.get_running_loop()
        work.on_change = lambda: loop.call_soon_threadsafe(self._note_change, page, work)
        page.works.append(work)
        if page.id in self._pages:
            self.worker.begin(work)
        else:  # it has gone away during the upload
            self.worker.discard(work)
        page.changed.set()
        return JSONResponse({"id": work.id}, status_code=202)

    async def _remove(self, request: Request) -> Response:
        self.worker.discard(self._work(request))
        return Response(status_code=204)

    async def _file(self, request: Request) -> Response:
        """The result of a page's picture, or what its slider shows."""
        work, name = self._work(request), request.path_params["name"]
        files = {"result": work.output, "before": work.folder / "before.png", "after": work.folder / "after.png"}
        if name not in files or work.future is None or not work.future.done() or not files[name].is_file():
            raise HTTPException(404, "no such file")
        return FileResponse(files[name])

    def _work(self, request: Request) -> Work:
        try:
            return self.worker.works[request.path_params["id"]]
        except KeyError:
            raise HTTPException(404, "no such picture") from None

    async def _events(self, _: Request) -> Response:
        """Tell a page, as long as it is open, what becomes of its pictures."""
        page = _Page()
        self._pages[page.id] = page
        return StreamingResponse(
            self._changes(page), media_type="text/event-stream", background=BackgroundTask(self._close, page)
        )

    async def _changes(self, page: _Page) -> AsyncIterator[str]:
        yield f"event: page\ndata: {page.id}\n\n"
        while not self._stopped:
            try:
                await asyncio.wait_for(page.changed.wait(), _HEARTBEAT)
            except (TimeoutError, asyncio.TimeoutError):  # which differ before Python 3.11
                yield ":\n\n"
                continue
            page.changed.clear()
            waiting = [work for work in self.worker.works.values() if not work.is_over]
            shown = {
                work.id: work.as_json() | {"before": waiting.index(work) if work in waiting else 0}
                for work in page.works
                if work.id in self.worker.works
            }
            yield f"data: {json.dumps(shown)}\n\n"
            await asyncio.sleep(_INTERVAL)

    def _note_change(self, page: _Page, work: Work) -> None:
        if work.future and work.future.done() and not work.cancelled.is_set():
            self._tell(work.future.result())
        for each in self._pages.values() if work.is_over else [page]:  # those behind it move up
            each.changed.set()

    async def _close(self, page: _Page) -> None:
        """Drop the pictures of a page that has gone away."""
        self._pages.pop(page.id, None)
        for work in page.works:
            self.worker.discard(work)

    async def _receive(self, request: Request, *, preview: bool = False) -> tuple[str, Work]:
        """Take in the picture of a request: its name without the suffix, for display only, and where it is.

        Raises:
            HTTPException, SrError, BusyError: the request cannot be served.
        """
        query = {name: text for name, text in request.query_params.items() if name != "page"}
        config = await run_in_threadpool(read_parameters, query)
        limit = self._config.max_upload * 10**6
        if int(request.headers.get("content-length", 0)) > limit:
            raise HTTPException(413, f"the upload is larger than {limit // 10**6} MB (sr serve --max-upload)")
        work = self.worker.admit(config, preview=preview)
        try:
            name = await _save(Request(request.scope, _bounded(request.receive, limit)), work.source)
            try:
                await run_in_threadpool(work.look_at_header)
            except (ImageError, ValueError) as error:
                raise HTTPException(415 if isinstance(error, ImageError) else 413, str(error)) from error
        except BaseException:
            self.worker.discard(work)
            raise
        return name, work


async def _save(request: Request, path: Path) -> str:
    """Write the one file of a form, or a raw body, to ``path``; returns the name that the client gave it."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        with path.open("wb") as file:
            async for piece in request.stream():
                file.write(piece)
        return "picture"
    async with request.form(max_files=1, max_fields=100) as form:
        uploads = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(uploads) != 1 or len(form) != 1:
            raise HTTPException(400, "the form must have one file and nothing else; parameters belong into the query")
        with path.open("wb") as file:
            await run_in_threadpool(shutil.copyfileobj, uploads[0].file, file, 1 << 20)
        stem = PurePosixPath((uploads[0].filename or "").replace("\\", "/")).stem
        return one_line(stem)[:100] or "picture"


def _bounded(receive: Receive, limit: int) -> Receive:
    """``receive``, which refuses to take in more than ``limit`` bytes of a body."""
    left = limit

    async def receive_bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"the upload is larger than {limit // 10**6} MB (sr serve --max-upload)")
        return message

    return receive_bounded


async def _disconnection(request: Request) -> None:
    """Wait until the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _error(_: Request, error: Exception) -> Response:
    """An error as ``{"error": …}``."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    if isinstance(error, BusyError):
        return JSONResponse({"error": str(error)}, 429, {"Retry-After": "1"})
    if isinstance(error, SrError):
        return JSONResponse({"error": str(error)}, _STATUS.get(error.exit_code, 500))
    return JSONResponse({"error": "the server failed unexpectedly"}, 500)
