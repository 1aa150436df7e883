"""A file arrives complete and correct, whatever the network does; or it does not appear."""

import errno
import hashlib
import random
import resource
import shutil
import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sr_cli.errors import DownloadError, OutputError
from sr_cli.weights import Entry, Progress, RetryPolicy
from sr_cli.weights.download import download
from sr_cli.weights.registry import check_url
from support.loopback import Served, serving

CONTENT = b"\x80\x02" + random.Random(0).randbytes(300_000)  # as a pickle begins
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = b"\x80\x02" + random.Random(1).randbytes(300_000)
QUICK = RetryPolicy(attempts=3, connect=5, read=5, backoff=0.001)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(autouse=True)
def no_proxy_and_no_authorities(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "weights.bin"


def get(target: Path, *urls: str, size: int | None = None, sha256: str | None = SHA256, retries=QUICK, **more) -> bytes:
    entry = Entry(name="weights", kind="upscaler", file=target.name, urls=urls, size=size, sha256=sha256)
    download(entry, target, retries=retries, **more)
    return target.read_bytes()


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Connections that break


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, len(CONTENT) - 1), min_size=10, max_size=10, unique=True))
@pytest.mark.slow
def test_ten_cuts_lose_nothing_and_send_nothing_twice(tmp_path_factory, cuts):
    target = tmp_path_factory.mktemp("cut") / "weights.bin"
    with serving({"a": Served(CONTENT, cuts=list(cuts))}) as server:
        patient = RetryPolicy(attempts=11, backoff=0)
        assert get(target, server.url("a"), size=len(CONTENT), retries=patient) == CONTENT
        served = server.files["a"]
    assert len(served.asked) == 1 + len(cuts)
    assert served.sent == len(CONTENT)
    assert left_in(target.parent) == {"weights.bin"}


def test_progress_grows_and_ends_with_the_whole(target):
    seen: list[Progress] = []
    with serving({"a": Served(CONTENT, cuts=[100_000])}) as server:
        get(target, server.url("a"), on_progress=seen.append)
    done = [each.done for each in seen if not each.note]
    assert done == sorted(set(done))
    assert (done[-1], seen[-1].total) == (len(CONTENT), len(CONTENT))


def test_connections_that_are_reset_are_resumed_too(target):
    with serving({"a": Served(CONTENT, cuts=[50_000, 150_000, 250_000], resets=True, pause=0.001)}) as server:
        assert get(target, server.url("a")) == CONTENT
        assert len(server.files["a"].asked) == 4


def test_the_next_call_resumes_where_the_last_one_gave_up(target):
    with serving({"a": Served(CONTENT, cuts=[200_000])}) as server:
        with pytest.raises(DownloadError):
            get(target, server.url("a"), retries=ONCE)
        assert not target.exists()
        assert get(target, server.url("a")) == CONTENT
        assert server.files["a"].asked[1]["Range"] == "bytes=200000-"
        assert server.files["a"].asked[1]["If-Range"] == '"v1"'
    assert left_in(target.parent) == {"weights.bin"}


def test_a_file_that_was_complete_but_for_its_name_is_not_sent_again(target):
    with serving({"a": Served(CONTENT, cuts=[200_000])}) as server:
        with pytest.raises(DownloadError):
            get(target, server.url("a"), size=len(CONTENT), retries=ONCE)
        target.with_name(".weights.bin.part").write_bytes(CONTENT)
        assert get(target, server.url("a"), size=len(CONTENT)) == CONTENT
        assert len(server.files["a"].asked) == 1


@pytest.mark.parametrize("sha256", [SHA256, None])
@pytest.mark.parametrize("behavior", [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}])
def test_servers_that_cannot_resume_send_it_all_again(target, sha256, behavior):
    with serving({"a": Served(CONTENT, cuts=[100_000], **behavior)}) as server:
        assert get(target, server.url("a"), sha256=sha256) == CONTENT
        if "etag" in behavior and sha256 is None:  # nothing would tell whether the parts fit
            assert "Range" not in server.files["a"].asked[1]


def test_a_version_that_changed_in_between_is_not_mixed_with_the_old_one(target):
    with serving({"a": Served(OTHER, etag='"old"', cuts=[100_000])}) as server:
        with pytest.raises(DownloadError):
            get(target, server.url("a"), sha256=None, retries=ONCE)
        server.files["a"].content, server.files["a"].etag = CONTENT, '"new"'
        assert get(target, server.url("a"), sha256=None) == CONTENT
        assert server.files["a"].asked[1]["If-Range"] == '"old"'


@pytest.mark.parametrize(("hash_before", "ranges"), [(SHA256, ["bytes=100000-", None]), ("0" * 64, [None])])
def test_parts_that_do_not_fit_are_thrown_away(target, hash_before, ranges):
    with serving({"a": Served(OTHER, cuts=[100_000]), "b": Served(CONTENT)}) as server:
        with pytest.raises(DownloadError):
            get(target, server.url("a"), sha256=hash_before, retries=ONCE)
        assert get(target, server.url("b")) == CONTENT
        assert [asked.get("Range") for asked in server.files["b"].asked] == ranges


# Servers that lie or refuse


@pytest.mark.parametrize(
    ("behavior", "size"),
    [
        ({"announced": len(CONTENT) + 1000}, None),
        ({"announced": len(CONTENT) - 1000}, None),
        ({"chunked": True}, 200_000),  # a body without end
        ({"encoding": "gzip"}, None),
        ({"content": OTHER}, None),
        ({"content": OTHER, "cuts": [100_000, 100_001, 100_002, 100_003]}, None),
    ],
)
def test_a_wrong_file_never_gets_the_name_and_an_old_one_keeps_it(target, behavior, size):
    target.write_bytes(b"old")
    with serving({"a": Served(**{"content": CONTENT, **behavior})}) as server, pytest.raises(DownloadError):
        get(target, server.url("a"), size=size)
    assert target.read_bytes() == b"old"


def test_another_size_than_the_registry_s_is_refused_at_once(target):
    with serving({"a": Served(CONTENT)}) as server:
        with pytest.raises(DownloadError):
            get(target, server.url("a"), size=300_001)
        assert (len(server.files["a"].asked), left_in(target.parent)) == (1, set())


def test_a_file_of_unknown_length_arrives(target):
    with serving({"a": Served(CONTENT, chunked=True)}) as server:
        assert get(target, server.url("a")) == CONTENT


@pytest.mark.parametrize(
    "first",
    [
        Served(CONTENT, refusals=[(403, {})]),
        Served(CONTENT, refusals=[(404, {})]),
        Served(CONTENT, refusals=[(429, {"Retry-After": "3600"})]),  # more patience than we have
        Served(OTHER),
    ],
)
def test_a_url_that_fails_for_good_is_asked_once_and_then_the_mirror(target, first):
    with serving({"a": first, "b": Served(CONTENT)}) as server:
        assert get(target, server.url("a"), server.url("b")) == CONTENT
        assert len(first.asked) == 1


def test_a_mirror_continues_what_another_one_began(target):
    with serving({"a": Served(CONTENT, cuts=[100_000]), "b": Served(CONTENT)}) as server:
        assert get(target, server.url("a"), server.url("b"), retries=ONCE) == CONTENT
        assert server.files["a"].sent + server.files["b"].sent == len(CONTENT)


def test_when_every_url_fails_the_error_says_how_each_did(target):
    with serving({"a": Served(CONTENT, refusals=[(403, {})])}) as server:
        with pytest.raises(DownloadError) as caught:
            get(target, server.url("a"), server.url("b"))
        assert f"{server.url('a')}: HTTP 403" in str(caught.value)
        assert f"{server.url('b')}: HTTP 404" in str(caught.value)


def test_temporary_failures_are_retried_as_often_as_allowed(target):
    with serving({"a": Served(CONTENT, refusals=[(500, {}), (503, {})])}) as server:
        assert get(target, server.url("a")) == CONTENT
        server.files["a"].refusals = [(503, {})] * 9
        with pytest.raises(DownloadError, match="503"):
            get(target, server.url("a"))
        assert len(server.files["a"].asked) == 3 + QUICK.attempts


@pytest.mark.slow
def test_retry_after_is_obeyed_as_seconds_and_as_a_date(target):
    past = format_datetime(datetime.now(timezone.utc) - timedelta(minutes=1), usegmt=True)
    began = datetime.now()
    with serving(
        {"a": Served(CONTENT, refusals=[(429, {"Retry-After": "1"}), (429, {"Retry-After": past})])}
    ) as server:
        assert get(target, server.url("a")) == CONTENT
    assert datetime.now() - began >= timedelta(seconds=1)


@pytest.mark.slow
def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(target):
    with serving({"a": Served(CONTENT[:100_000], pause=0.1)}) as server:
        get(target, server.url("a"), sha256=None, retries=RetryPolicy(attempts=1, read=0.5))
    with serving({"a": Served(CONTENT, pause=3)}) as server, pytest.raises(DownloadError):
        get(target, server.url("a"), retries=RetryPolicy(attempts=2, read=0.2, backoff=0.001))


@pytest.mark.parametrize(("number", "times"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, QUICK.attempts)])
def test_a_name_that_does_not_exist_is_looked_up_once(target, monkeypatch, number, times):
    asked = []

    def look_up(host, *_, **__):
        asked.append(host)
        raise socket.gaierror(number, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(DownloadError, match="no such name"):
        get(target, "https://weights.example/a")
    assert asked == ["weights.example"] * times


def test_a_server_that_is_gone_is_named(target):
    with serving({}) as server:
        pass
    with pytest.raises(DownloadError, match="Connection refused"):
        get(target, server.url("a"))


# URLs, redirects, proxies, certificates


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a",
        "ftp://example.com/a",
        "https:///a",
        "a",
        "file:///etc/passwd",
        "http://127.0.0.1.example.com/a",
        "http://127.0.0.1:80@example.com/a",
    ],
)
def test_only_https_is_allowed(url):
    with pytest.raises(ValueError, match="only https"):
        check_url(url)


def test_a_redirect_is_followed(target):
    with serving({"b": Served(CONTENT)}) as server:
        server.files["a"] = Served(b"", redirect="/b")
        assert get(target, server.url("a")) == CONTENT


@pytest.mark.parametrize("location", ["http://example.com/a", "//example.com/a", "ftp://127.0.0.1/a"])
def test_a_redirect_to_plain_http_is_not_followed(target, location):
    with serving({"a": Served(b"", redirect=location)}) as server, pytest.raises(DownloadError, match="only https"):
        get(target, server.url("a"))


def test_redirects_in_a_circle_end(target):
    with serving({"a": Served(b"", redirect="/a")}) as server:
        with pytest.raises(DownloadError):
            get(target, server.url("a"))
        assert len(server.files["a"].asked) == 11


def test_the_environment_s_proxy_is_used_but_for_its_exceptions(target, monkeypatch):
    with serving({"a": Served(CONTENT)}) as proxy, serving({"a": Served(OTHER)}) as server:
        monkeypatch.setenv("http_proxy", proxy.base)
        monkeypatch.setenv("no_proxy", "")
        assert get(target, "http://localhost:1/a") == CONTENT
        assert proxy.files["a"].asked[0]["Host"] == "localhost:1"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(target, server.url("a"), sha256=None) == OTHER


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    if not (openssl := shutil.which("openssl")):
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", path, "-out", path.with_name("ca.pem")], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + path.with_name("ca.pem").read_bytes())
    return path


@pytest.mark.slow
def test_an_untrusted_certificate_is_refused_with_the_remedy(target, certificate):
    with (
        serving({"a": Served(CONTENT)}, certificate=certificate) as server,
        pytest.raises(DownloadError, match="REQUESTS_CA_BUNDLE"),
    ):
        get(target, server.url("a"))
    assert left_in(target.parent) == set()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_authorities_of_the_environment_are_trusted(target, certificate, monkeypatch, variable):
    monkeypatch.setenv(variable, str(certificate.with_name("ca.pem")))
    with (
        serving({"a": Served(CONTENT)}) as plain,
        serving({"a": Served(CONTENT), "b": Served(b"", redirect=plain.url("a"))}, certificate=certificate) as server,
    ):
        assert get(target, server.url("a")) == CONTENT
        with pytest.raises(DownloadError):  # https does not lead back to plain http, not even on loopback
            get(target, server.url("b"))
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with pytest.raises(DownloadError, match=r"/nowhere/ca\.pem"):
        get(target, server.url("a"))


# Disks


def test_space_is_checked_before_anything_is_requested(target):
    with serving({"a": Served(CONTENT)}) as server:
        with pytest.raises(OutputError):
            get(target, server.url("a"), size=10**18)
        assert server.files["a"].asked == []


def test_a_quota_ends_in_an_error_and_the_next_call_resumes(target):
    program = (
        "import sys; from pathlib import Path; from sr_cli.errors import OutputError\n"
        "from sr_cli.weights import Entry; from sr_cli.weights.download import download\n"
        "entry = Entry(name='a', kind='upscaler', file='a', urls=(sys.argv[1],))\n"
        "try: download(entry, Path(sys.argv[2]))\n"
        "except OutputError as error: sys.exit(7)\n"
    )
    with serving({"a": Served(CONTENT)}) as server:
        run = subprocess.run(
            [sys.executable, "-c", program, server.url("a"), target],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
        )
        assert (run.returncode, target.exists()) == (7, False)
        assert get(target, server.url("a"), sha256=None) == CONTENT
        start = int(server.files["a"].asked[1]["Range"].removeprefix("bytes=").rstrip("-"))
        assert 0 < start <= 150_000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_disk_that_is_too_small_ends_in_an_error(small_disk, chunked):
    with serving({"a": Served(CONTENT, chunked=chunked)}) as server, pytest.raises(OutputError) as caught:
        get(small_disk / "weights.bin", server.url("a"))
    assert not (small_disk / "weights.bin").exists()
    assert not chunked or caught.value.__cause__.errno == errno.ENOSPC


@pytest.mark.slow
def test_the_benchmark_of_resumes_meets_its_mark():
    program = Path(__file__).parents[2] / "benchmarks" / "download_resume.py"
    run = subprocess.run([sys.executable, program, "--size", "5900000"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "of them 10 resumes" in run.stdout
