"""The routes: the page and what it asks for, ``POST /upscale`` for scripts, and their description."""

import asyncio
import functools
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from sr_cli.config import AUTO, ServeConfig, UpscaleConfig
from sr_cli.errors import DeviceError, ImageError, OutputError, SrError, UsageError, one_line
from sr_cli.images import FORMATS
from sr_cli.serve.parameters import describe, models, read_parameters
from sr_cli.serve.work import FACTS, VIDEO, Work
from sr_cli.system.quantities import pictures
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.batch.target_size import default_model
from sr_cli.upscaling.upscaler import Upscaler

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
    """The pages and their pictures, which are upscaled one at a time in the order in which they came.

    Args:
        folder: for uploads and results; private.
        tell: called with the outcome of each picture.

    Attributes:
        thread: upscales; to be shut down.
    """

    def __init__(self, config: ServeConfig, folder: Path, tell: Callable[[Result], None] = lambda _: None) -> None:
        self._config, self._folder, self._tell = config, folder, tell
        self.thread = ThreadPoolExecutor(1)
        self._load = functools.lru_cache(maxsize=4)(Upscaler)
        self._works: dict[str, Work] = {}  # by their ids; not those that were discarded
        self._pages: dict[str, _Page] = {}
        self._stopped = False
        routes = [
            Route("/", self._show_page),
            Route("/api", self._show_description),
            Route("/docs", self._show_description),
            Route("/openapi.json", self._openapi),
            Route("/events", self._events),
            Route("/upscale", self._upscale, methods=["POST"]),
            Route("/pictures", self._add, methods=["POST"]),
            Route("/pictures/{id}", self._remove, methods=["DELETE"]),
            Route("/pictures/{id}/{name}", self._file),
        ]
        handlers: dict[Any, Any] = dict.fromkeys((HTTPException, SrError, ClientDisconnect, Exception), _error)
        self.app = Starlette(routes=routes, exception_handlers=handlers)

    def stop(self) -> None:
        """End all pages and requests."""
        self._stopped = True
        for work in list(self._works.values()):
            self._discard(work)
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
            self._begin(work)
            await asyncio.wait([gone, waiting := asyncio.create_task(done.wait())], return_when="FIRST_COMPLETED")
            waiting.cancel()
            result = work.result
            if self._stopped or result is None:
                raise HTTPException(503, "the server is being stopped")
            self._tell(result)
            if result.status != "done":
                raise HTTPException(_STATUS.get(result.exit_code, 500), result.error)
        except BaseException:
            self._discard(work)
            raise
        finally:
            gone.cancel()
        facts = json.dumps({fact: getattr(result, fact) for fact in FACTS})
        width, height = result.output_size or (0, 0)
        return FileResponse(
            work.output,
            filename=f"{name}_{width}x{height}{work.output.suffix}",
            headers={"SR-Result": facts},
            background=BackgroundTask(self._discard, work),
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
            self._begin(work)
        else:  # it has gone away during the upload
            self._discard(work)
        page.changed.set()
        return JSONResponse({"id": work.id}, status_code=202)

    async def _remove(self, request: Request) -> Response:
        self._discard(self._work(request))
        return Response(status_code=204)

    async def _file(self, request: Request) -> Response:
        """The result of a page's picture, or what its slider shows."""
        work, name = self._work(request), request.path_params["name"]
        files = {"result": work.output, "before": work.folder / "before.png", "after": work.folder / "after.png"}
        if name not in files or work.result is None or not files[name].is_file():
            raise HTTPException(404, "no such file")
        return FileResponse(files[name])

    def _work(self, request: Request) -> Work:
        try:
            return self._works[request.path_params["id"]]
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
            waiting = [work for work in self._works.values() if not work.is_over]
            shown = {
                work.id: work.as_json() | {"before": waiting.index(work) if work in waiting else 0}
                for work in page.works
                if work.id in self._works
            }
            yield f"data: {json.dumps(shown)}\n\n"
            await asyncio.sleep(_INTERVAL)

    def _note_change(self, page: _Page, work: Work) -> None:
        if work.result and not work.cancelled.is_set():
            self._tell(work.result)
        for each in self._pages.values() if work.is_over else [page]:  # those behind it move up
            each.changed.set()

    async def _close(self, page: _Page) -> None:
        """Drop the pictures of a page that has gone away."""
        self._pages.pop(page.id, None)
        for work in page.works:
            self._discard(work)

    async def _receive(self, request: Request, *, preview: bool = False) -> tuple[str, Work]:
        """Take in the picture of a request: its name without the suffix, for display only, and where it is."""
        query = {name: text for name, text in request.query_params.items() if name != "page"}
        config = await run_in_threadpool(read_parameters, query)
        limit = self._config.max_upload * 10**6
        if int(request.headers.get("content-length", 0)) > limit:
            raise HTTPException(413, f"the upload is larger than {limit // 10**6} MB (sr serve --max-upload)")
        if sum(not work.is_over for work in self._works.values()) > self._config.waiting:
            busy = f"{pictures(self._config.waiting)} are waiting already; try again later"
            raise HTTPException(429, busy, {"Retry-After": "1"})
        config = replace(config, max_input=self._config.max_input, device=self._config.device)
        work = Work(config, self._folder, max_output=self._config.max_output, preview=preview)
        self._works[work.id] = work
        try:
            name = await _save(Request(request.scope, _bounded(request.receive, limit)), work.source)
            await run_in_threadpool(work.look_at_header)
        except BaseException:
            self._discard(work)
            raise
        return name, work

    def _begin(self, work: Work) -> None:
        """Queue a picture whose upload is complete."""
        work.future = self.thread.submit(work.upscale, self._upscaler)
        work.future.add_done_callback(lambda _: work.on_change())

    def _discard(self, work: Work) -> None:
        """Forget a picture: it leaves the queue, or ends at its next tile; then its files are removed."""
        self._works.pop(work.id, None)
        work.cancelled.set()
        work.on_change()
        work.on_change = lambda: None  # the event loop may end before the picture does
        if work.future is None:
            shutil.rmtree(work.folder, ignore_errors=True)
            return
        work.future.cancel()
        work.future.add_done_callback(lambda _: shutil.rmtree(work.folder, ignore_errors=True))

    def _upscaler(self, config: UpscaleConfig) -> Upscaler:
        same = {name: getattr(config, name) for name in ("device", "strength", "ensemble", "color_match")}
        named = None if config.model == AUTO else config.model
        model = named or default_model(config)
        return self._load(model, UpscaleConfig(**same, scale=config.scale if model == AUTO else None))


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
    if isinstance(error, SrError):
        error = HTTPException(_STATUS.get(error.exit_code, 500), str(error))
    elif not isinstance(error, HTTPException):
        error = HTTPException(500, "the server failed unexpectedly")
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
