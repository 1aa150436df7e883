"""``sr serve`` over loopback: who may ask, what is answered, what is bounded, and how it ends."""

import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

from sr_cli import images
from sr_cli.__main__ import main
from sr_cli.config import ServeConfig
from sr_cli.images.formats import holds_10_bit
from sr_cli.serve import app as site
from sr_cli.serve.app import Site
from sr_cli.serve.parameters import read_parameters
from sr_cli.serve.server import Server, address, listen
from support.chromium import PROGRAM, chromium
from support.fast_python import python
from support.pictures import gradient


@contextlib.contextmanager
def serving(folder, **settings):
    """A server in a thread of this process: its URL, which ends with a slash."""
    config = ServeConfig(device="cpu", **settings)
    with listen(config) as listener:
        server = Server(Site(config, folder), token="t0ken", host=config.host)
        thread = threading.Thread(target=server.serve_on, args=[listener])
        thread.start()
        try:
            yield address(config, listener, "t0ken")
        finally:
            server.end()
            thread.join(120)
            assert not thread.is_alive() and not list(folder.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def url(folder):
    """A server for the tests that need no settings of their own."""
    with serving(folder, max_upload=1, max_input=4000, max_output=40_000, waiting=1) as found:
        yield found


@pytest.fixture
def gate(monkeypatch):
    """Opens the way into the network: until it is set, the first picture runs and the others wait."""
    opened, choose = threading.Event(), site.default_model

    def choose_later(config):
        assert opened.wait(300)
        return choose(config)

    monkeypatch.setattr(site, "default_model", choose_later)
    yield opened
    opened.set()


def encoded(pixels=None, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(gradient(12, 16) if pixels is None else pixels).save(file, format, **options)
    return file.getvalue()


def data_of(events):
    """The data of a stream of server-sent events."""
    for line in events.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            yield line.decode().removeprefix("data: ")


def eventually(condition):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


def test_only_who_has_the_address_is_answered(url):
    root = url.removesuffix("t0ken/")
    assert requests.get(url).status_code == requests.get(url.rstrip("/")).status_code == 200
    assert requests.get(url, headers={"Host": "localhost:1"}).status_code == 200
    for path in ("", "t0ke", "wrong/", "%C3%A9/", "openapi.json", "upscale", "events"):
        refused = requests.get(root + path)
        assert refused.status_code == 403 and "token" in refused.json()["error"]
    for headers in (
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
        {"Host": "a@localhost"},
    ):
        assert requests.post(url + "upscale", encoded(), headers=headers).status_code == 403
    for origin in ("http://evil.example", "null"):
        assert requests.post(url + "upscale", encoded(), headers={"Origin": origin}).status_code == 403
    preflight = requests.options(
        url + "upscale", headers={"Origin": root.rstrip("/"), "Access-Control-Request-Method": "POST"}
    )
    assert not [name for name in preflight.headers if name.lower().startswith("access-control")]


def test_the_page_loads_nothing_from_elsewhere(url):
    for path in ("", "api"):
        page = requests.get(url + path)
        assert "://" not in page.text.replace(url.removesuffix("/"), "")
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        assert page.text.count(f'nonce="{nonce}"') == page.text.count("<script") + page.text.count("<style")


def test_scripts_get_what_sr_upscale_writes(url, tmp_path, monkeypatch, capsys):
    source = encoded()
    (tmp_path / "a.png").write_bytes(source)
    output = tmp_path / "b.png"
    monkeypatch.setattr(sys, "argv", ["sr", "upscale", str(tmp_path / "a.png"), "-o", str(output), "--device", "cpu"])
    with pytest.raises(SystemExit):
        main()
    raw = requests.post(url + "upscale", source)
    form = requests.post(url + "upscale", files={"anything": ("my photo.jpg", source)})
    assert raw.content == form.content == output.read_bytes(), capsys.readouterr().err
    assert raw.headers["Content-Type"] == "image/png" and "my%20photo_64x48.png" in form.headers["Content-Disposition"]
    facts = json.loads(raw.headers["SR-Result"])
    assert facts["model"] == "compact-x4" and facts["reason"] and facts["output_size"] == [64, 48]


def test_formats_in_and_out_keep_what_they_hold(url):
    file = io.BytesIO()
    images.write(images.Picture(color=gradient(12, 16, dtype=np.uint16)), file, format="TIFF")
    for format in ("png", "tif", "jxl", "jpg", "webp", "avif"):
        answer = requests.post(url + f"upscale?model=compact-x2&format={format}&width=20", file.getvalue())
        result = images.read(io.BytesIO(answer.content))
        assert (result.width, result.height) == (20, 15) and result.format == images.SUFFIXES[f".{format}"]
        is_8_bit = format in ("jpg", "webp") or (format == "avif" and not holds_10_bit("AVIF"))
        assert result.bits == (8 if is_8_bit else 16)
        assert bool(json.loads(answer.headers["SR-Result"])["warnings"]) == (format in ("jpg", "webp", "avif"))


def pieces():
    for _ in range(20):
        yield bytes(100_000)


@pytest.mark.parametrize(
    ("query", "upload", "status", "words"),
    [
        ("quality=many", b"x", 400, "quality: 'many' is not a whole number"),
        ("quality=0", b"x", 400, "quality must be at least 1"),
        ("model=/etc/passwd", b"x", 400, "is not a model here; choose from auto, "),
        ("model=https://example.com/a.pth", b"x", 400, "is not a model here"),
        ("scale=2&width=9", b"x", 400, "exclude each other"),
        ("format=exe", b"x", 400, "choose from png, jpg"),
        ("colour=red", b"x", 400, "'colour' is not a parameter; choose from model, for, "),
        ("", bytes(1_000_001), 413, "larger than 1 MB"),
        ("", pieces(), 413, "larger than 1 MB"),
        ("", encoded(np.zeros((80, 60), np.uint8)), 413, "60 × 80 pixels, more than 0.004 megapixels"),
        ("", b"GIF89", 415, "the picture: is not an image"),
        ("", b"", 415, "the picture: is empty"),
        ("", b"\0\0\0 ftypisom", 415, "is a video"),
        ("", encoded()[:-60], 422, "the picture: "),
        ("scale=64", encoded(), 422, "the result would have 1024 × 768 pixels, more than 0.04 megapixels"),
        ("size=9000x1", encoded(), 422, "more than 64 times"),
    ],
)
def test_what_cannot_be_served_is_said_as_json(url, folder, query, upload, status, words):
    answer = requests.post(f"{url}upscale?{query}", upload)
    assert answer.status_code == status and words in answer.json()["error"]
    assert str(folder) not in answer.text
    eventually(lambda: not list(folder.iterdir()))


def test_a_form_has_one_file_and_nothing_else(url):
    for form in ({"data": {"scale": "2"}, "files": {"a": encoded()}}, {"files": {"a": b"a", "b": b"b"}}):
        assert requests.post(url + "upscale", **form).status_code == 400
    assert requests.get(url + "upscale").status_code == 405 and "error" in requests.get(url + "no").json()


@pytest.mark.parametrize(
    "name", ["../../../tmp/pwned.png", "/etc/pwned.png", 'C:\\a\\"<b>\r\nX: y.png', "\0é.png", ".."]
)
def test_names_are_no_paths(url, folder, name):
    before = set(folder.parent.iterdir())
    sent = requests.Request("POST", url + "upscale", files={"picture": (name, encoded())}).prepare()
    answer = requests.Session().send(sent)
    assert answer.status_code == 200 and "X" not in answer.headers
    disposition = answer.headers["Content-Disposition"]
    assert not set(disposition) & set("<>\\/\r\n") and disposition.endswith("_64x48.png" + '"' * ('"' in disposition))
    assert set(folder.parent.iterdir()) == before
    eventually(lambda: not list(folder.iterdir()))


def test_the_queue_is_bounded_and_who_hangs_up_leaves_it(url, folder, gate):
    port, body = int(url.split(":")[2].split("/")[0]), encoded()
    head = f"POST /t0ken/upscale?scale=2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.ExitStack() as clients:
        for count in (1, 2):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(head.encode() + body)
            eventually(lambda: len(list(folder.glob("*/picture"))) == count)  # noqa: B023
        full = requests.post(url + "upscale", body)
        assert full.status_code == 429 and full.headers["Retry-After"] == "1" and "waiting" in full.json()["error"]
    eventually(lambda: len(list(folder.iterdir())) == 1)  # the one that runs ends before its first tile
    gate.set()
    eventually(lambda: not list(folder.iterdir()))
    assert requests.post(url + "upscale", body).status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(url, folder):
    port = int(url.split(":")[2].split("/")[0])
    form = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100"
    for headers, body in (("Content-Length: 100", "x"), ("Transfer-Encoding: chunked", "1\r\nx\r\n"), (form, "--b")):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"POST /t0ken/upscale HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}".encode())
            eventually(lambda: list(folder.iterdir()))
        eventually(lambda: not list(folder.iterdir()))
    for kind in ("multipart/form-data", "multipart/form-data; boundary=b"):
        assert requests.post(url + "upscale", b"junk", headers={"Content-Type": kind}).status_code == 400
    assert requests.post(url + "upscale", encoded()).status_code == 200


def test_pictures_end_with_their_page(url, folder, gate):
    with requests.get(url + "events", stream=True) as events:
        messages = data_of(events)
        page = next(messages)
        first, second = (requests.post(f"{url}pictures?page={page}&scale=2", encoded()).json()["id"] for _ in range(2))
        seen = next(each for each in map(json.loads, messages) if second in each)
        assert seen[first]["state"] == "waiting" and seen[second]["before"] == 1
        assert requests.delete(f"{url}pictures/{second}").status_code == 204
        assert requests.get(f"{url}pictures/{first}/result").status_code == 404
        gate.set()
        done = next(each for each in map(json.loads, messages) if each[first]["state"] == "done")
        assert list(done) == [first] and done[first]["output_size"] == [32, 24] and done[first]["suffix"] == ".png"
        for name, size in (("result", (32, 24)), ("before", (16, 12)), ("after", (32, 24))):
            assert Image.open(io.BytesIO(requests.get(f"{url}pictures/{first}/{name}").content)).size == size
        assert requests.get(f"{url}pictures/{first}/picture").status_code == 404
    eventually(lambda: not list(folder.iterdir()))
    assert requests.post(f"{url}pictures?page={page}", encoded()).status_code == 404


def test_what_is_transparent_is_white_before_and_after(url):
    clear = np.dstack([gradient(12, 16), np.zeros((12, 16), np.uint8)])
    with requests.get(url + "events", stream=True) as events:
        messages = data_of(events)
        picture = requests.post(f"{url}pictures?page={next(messages)}&scale=2", encoded(clear)).json()["id"]
        next(each for each in map(json.loads, messages) if each[picture]["state"] == "done")
        for name in ("before", "after"):
            shown = Image.open(io.BytesIO(requests.get(f"{url}pictures/{picture}/{name}").content))
            assert shown.getextrema() == ((255, 255),) * 3


def test_the_description_has_every_parameter(url):
    about = requests.get(url + "openapi.json").json()
    assert about["servers"] == [{"url": url.removesuffix("/")}]
    parameters = about["paths"]["/upscale"]["post"]["parameters"]
    shown = requests.get(url + "api").text
    values = {"scale": "2x", "size": "9x9", "max-pixels": "2M"}
    for each in parameters:
        schema = each["schema"]
        value = values.get(each["name"], str(schema.get("enum", [schema.get("default", 1)])[0]))
        read_parameters({each["name"]: value})
        assert f"<code>{each['name']}</code>" in shown
    statuses = {"200", "400", "403", "413", "415", "422", "429", "503", "507"}
    assert set(about["paths"]["/upscale"]["post"]["responses"]) == statuses


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_it_and_leaves_nothing(number):
    command = [python(), "-m", "sr_cli", "serve", "--device", "cpu"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes)
    try:
        url = process.stdout.readline().strip()
        process.stderr.readline()
        with requests.get(url + "events", stream=True) as events:
            messages = data_of(events)
            page = next(messages)
            added = requests.post(f"{url}pictures?page={page}", encoded())
            (picture,) = Path(tempfile.gettempdir()).glob(f"sr-*/{added.json()['id']}/picture")
            assert added.status_code == 202 and picture.parents[1].stat().st_mode & 0o777 == 0o700
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "") and err.endswith("stopped\n") and "Traceback" not in err
    assert not picture.parents[1].exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "{taken}"], "port {taken}: cannot listen there"),
        (["--host", "192.0.2.1"], "192.0.2.1 port 0: cannot listen there"),
        (["--max-input", "many"], "--max-input: 'many' is not a number of pixels"),
        (["--device", "abacus"], "invalid device 'abacus'"),
    ],
)
def test_what_cannot_be_started_is_one_line(arguments, words, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setattr(sys, "argv", ["sr", "serve", *(each.replace("{taken}", port) for each in arguments)])
        with pytest.raises(SystemExit) as done:
            main()
    out, err = capsys.readouterr()
    code = 6 if "--device" in arguments else 2
    assert (done.value.code, out, err.count("\n")) == (code, "", 1) and words.replace("{taken}", port) in err


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr(sys, "argv", ["sr", "serve"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert capsys.readouterr().err == (
        "error: sr serve needs uvicorn: python -m pip install starlette uvicorn python-multipart\n"
    )


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium (Debian's package chromium)")
def test_the_page_upscales_compares_and_cleans_up(tmp_path):
    folder, name = tmp_path / "served", "<img src=x onerror=alert(1)>.png"
    folder.mkdir()
    (tmp_path / name).write_bytes(encoded())
    (tmp_path / "text.png").write_text("no picture")
    with serving(folder) as url, chromium() as tab:
        tab.window(1000, 800)
        tab.send("Page.navigate", url=url)
        ready = (
            "new Promise((done, late) => { setTimeout(() => late(Error('too late')), 300000);"
            " const ask = () => %s ? done(true) : setTimeout(ask, 20); ask(); })"
        )
        tab.run(
            ready % "window.page !== null && document.readyState === 'complete' && document.querySelector('#files')"
        )
        tab.run("(s => { s.scale.value = '2'; s.model.value = 'compact-x4'; })(document.querySelector('#settings'))")
        node = tab.send("DOM.getDocument")["root"]["nodeId"]
        field = tab.send("DOM.querySelector", nodeId=node, selector="#files")["nodeId"]
        files = [str(tmp_path / each) for each in (name, "text.png")]
        tab.send("DOM.setFileInputFiles", nodeId=field, files=files)
        tab.run(ready % "document.querySelector('.compare:not([hidden])') && document.querySelector('.bad')")
        states = tab.run("[...document.querySelectorAll('article')].map(each => each.innerText)")
        assert "is not an image" in states[0] and name in states[1] and "16×12 → 32×24, compact-x4" in states[1]
        box = tab.run("document.querySelectorAll('.viewer')[1].getBoundingClientRect().toJSON()")
        assert (box["width"], box["height"]) == (32, 24)
        middle = box["y"] + box["height"] / 2
        tab.drag((box["x"] + 16, middle), (box["x"] + 8, middle))
        slider = "document.querySelectorAll('input[type=range]')[1]"
        assert float(tab.run(f"{slider}.value")) == pytest.approx(25, abs=1)
        tab.run(f"{slider}.focus()")
        for kind in ("keyDown", "keyUp"):
            tab.send("Input.dispatchKeyEvent", type=kind, key="Home", code="Home", windowsVirtualKeyCode=36)
        clip = tab.run("getComputedStyle(document.querySelectorAll('.before')[1]).clipPath")
        assert clip == "inset(0px 100% 0px 0px)"
        saved = tab.run("(a => [a.download, a.href])(document.querySelectorAll('.save')[1])")
        assert saved[0] == name.replace(".png", "_32x24.png") and requests.get(saved[1]).content[1:4] == b"PNG"
        assert all("415" in each for each in tab.problems) and len(tab.problems) == 1
        assert len(list(folder.iterdir())) == 1
        tab.send("Page.navigate", url="about:blank")
        eventually(lambda: not list(folder.iterdir()))
