"""A file arrives whole and right, whatever the network does; or it does not appear."""

import errno
import hashlib
import random
import resource
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sr_cli.errors import DownloadError, OutputError
from sr_cli.weights.download import Patience, Progress, download
from sr_cli.weights.urls import check_url
from support.loopback import Served, serving

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(300_000)
HASTE = Patience(attempts=3, connect=5, read=5, backoff=0.001)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "weights.bin"


def notes_of(run) -> tuple[str, list[str]]:
    """What ``run(on_progress)`` returned, and the words that it reported."""
    notes: list[str] = []

    def listen(progress: Progress) -> None:
        if progress.note:
            notes.append(progress.note)

    return run(listen), notes


def nothing_else_in(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["weights.bin"]


def test_a_file_arrives_whole_and_leaves_nothing_behind(target):
    with serving({"a": Served(CONTENT)}) as server:
        assert download([server.url("a")], target, size=len(CONTENT), sha256=SHA256) == SHA256
    assert target.read_bytes() == CONTENT
    assert nothing_else_in(target.parent)


def test_progress_grows_and_ends_with_the_whole(target):
    seen: list[Progress] = []
    with serving({"a": Served(CONTENT, cuts=[100_000])}) as server:
        download([server.url("a")], target, on_progress=seen.append, patience=HASTE)
    done = [each.done for each in seen if not each.note]
    assert done == sorted(set(done))
    assert (done[-1], seen[-1].total) == (len(CONTENT), len(CONTENT))


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, len(CONTENT) - 1), min_size=10, max_size=10, unique=True))
def test_ten_cuts_lose_nothing_and_send_nothing_twice(tmp_path_factory, cuts):
    target = tmp_path_factory.mktemp("cut") / "weights.bin"
    with serving({"a": Served(CONTENT, cuts=list(cuts))}) as server:
        download([server.url("a")], target, size=len(CONTENT), sha256=SHA256, patience=HASTE)
        served = server.files["a"]
    assert target.read_bytes() == CONTENT
    assert len(served.asked) == 1 + len(cuts)
    assert served.sent == len(CONTENT)


def test_connections_that_are_reset_are_resumed_too(target):
    with serving({"a": Served(CONTENT, cuts=[50_000, 150_000, 250_000], resets=True, pause=0.001)}) as server:
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
        assert len(server.files["a"].asked) == 4
    assert target.read_bytes() == CONTENT


def test_the_next_call_goes_on_where_the_last_one_was_given_up(target):
    with serving({"a": Served(CONTENT, cuts=[200_000])}) as server:
        with pytest.raises(DownloadError, match="broke off"):
            download([server.url("a")], target, sha256=SHA256, patience=Patience(attempts=1))
        assert not target.exists()
        download([server.url("a")], target, sha256=SHA256)
        assert server.files["a"].asked[1]["Range"] == "bytes=200000-"
        assert server.files["a"].asked[1]["If-Range"] == '"v1"'
    assert target.read_bytes() == CONTENT
    assert nothing_else_in(target.parent)


def test_a_file_that_was_complete_but_for_its_name_is_not_sent_again(target):
    with serving({"a": Served(CONTENT, cuts=[200_000])}) as server:
        with pytest.raises(DownloadError):
            download([server.url("a")], target, size=len(CONTENT), sha256=SHA256, patience=Patience(attempts=1))
        part = target.with_name(".weights.bin.part")
        part.write_bytes(CONTENT)
        download([server.url("a")], target, size=len(CONTENT), sha256=SHA256)
        assert len(server.files["a"].asked) == 1
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_server_that_ignores_range_sends_it_all_again(target, sha256):
    with serving({"a": Served(CONTENT, ranges=False, cuts=[100_000])}) as server:
        _, notes = notes_of(
            lambda listen: download([server.url("a")], target, sha256=sha256, on_progress=listen, patience=HASTE)
        )
    assert target.read_bytes() == CONTENT
    assert any("starting over" in note for note in notes)


def test_a_version_that_changed_in_between_is_not_mixed_with_the_old_one(target):
    with serving({"a": Served(OTHER, etag='"old"', cuts=[100_000])}) as server:
        with pytest.raises(DownloadError):
            download([server.url("a")], target, patience=Patience(attempts=1))
        server.files["a"].content, server.files["a"].etag = CONTENT, '"new"'
        download([server.url("a")], target)
        assert server.files["a"].asked[1]["If-Range"] == '"old"'
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_version_and_a_hash_nothing_is_patched_together(target, etag):
    with serving({"a": Served(CONTENT, etag=etag, cuts=[100_000])}) as server:
        download([server.url("a")], target, patience=HASTE)
        assert [asked.get("Range") for asked in server.files["a"].asked] == [None, None]
    assert target.read_bytes() == CONTENT


def test_pieces_that_do_not_fit_together_are_thrown_away_once(target):
    with serving({"a": Served(OTHER, cuts=[100_000]), "b": Served(CONTENT)}) as server:
        with pytest.raises(DownloadError):
            download([server.url("a")], target, sha256=SHA256, patience=Patience(attempts=1))
        download([server.url("b")], target, sha256=SHA256)
        assert [asked.get("Range") for asked in server.files["b"].asked] == ["bytes=100000-", None]
    assert target.read_bytes() == CONTENT


def test_wrong_bytes_in_pieces_end_in_an_error_too(target):
    with (
        serving({"a": Served(OTHER, cuts=[100_000, 100_001, 100_002, 100_003])}) as server,
        pytest.raises(DownloadError, match="SHA-256"),
    ):
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
    assert list(target.parent.iterdir()) == []


def test_pieces_for_another_hash_are_not_used(target):
    with serving({"a": Served(OTHER, cuts=[100_000])}) as server:
        with pytest.raises(DownloadError):
            download([server.url("a")], target, sha256="0" * 64, patience=Patience(attempts=1))
        server.files["a"].content = CONTENT
        download([server.url("a")], target, sha256=SHA256)
        assert "Range" not in server.files["a"].asked[1]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("announced", [len(CONTENT) + 1000, len(CONTENT) - 1000])
def test_a_server_that_lies_about_the_length_is_found_out(target, announced):
    with (
        serving({"a": Served(CONTENT, announced=announced)}) as server,
        pytest.raises(DownloadError),
    ):
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
    assert not target.exists()


def test_a_length_that_the_registry_does_not_know_is_refused_at_once(target):
    with serving({"a": Served(CONTENT)}) as server:
        with pytest.raises(DownloadError, match="300000 bytes, the registry says 300001"):
            download([server.url("a")], target, size=300_001, sha256=SHA256, patience=HASTE)
        assert len(server.files["a"].asked) == 1


def test_a_body_without_end_is_not_swallowed(target):
    with (
        serving({"a": Served(CONTENT, chunked=True)}) as server,
        pytest.raises(DownloadError, match="more than 200000 bytes"),
    ):
        download([server.url("a")], target, size=200_000, sha256=SHA256, patience=HASTE)
    assert not target.exists()


def test_a_file_of_unknown_length_arrives(target):
    with serving({"a": Served(CONTENT, chunked=True)}) as server:
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
    assert target.read_bytes() == CONTENT


def test_a_packed_body_is_refused(target):
    with serving({"a": Served(CONTENT, encoding="gzip")}) as server, pytest.raises(DownloadError, match="packed"):
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)


def test_a_wrong_hash_never_gets_the_name_and_the_mirror_does(target):
    with serving({"a": Served(OTHER), "b": Served(CONTENT)}) as server:
        with pytest.raises(DownloadError, match=hashlib.sha256(OTHER).hexdigest()):
            download([server.url("a")], target, sha256=SHA256, patience=HASTE)
        assert list(target.parent.iterdir()) == []
        download([server.url("a"), server.url("b")], target, sha256=SHA256, patience=HASTE)
    assert target.read_bytes() == CONTENT


def test_an_older_file_stays_until_the_new_one_is_right(target):
    target.write_bytes(b"old")
    with serving({"a": Served(OTHER), "b": Served(CONTENT)}) as server:
        with pytest.raises(DownloadError):
            download([server.url("a")], target, sha256=SHA256, patience=HASTE)
        assert target.read_bytes() == b"old"
        download([server.url("b")], target, sha256=SHA256, patience=HASTE)
    assert target.read_bytes() == CONTENT


def test_a_mirror_goes_on_with_what_another_one_sent(target):
    with serving({"a": Served(CONTENT, cuts=[100_000]), "b": Served(CONTENT)}) as server:
        server.files["a"].refusals = []
        download([server.url("a"), server.url("b")], target, sha256=SHA256, patience=Patience(attempts=1))
        assert server.files["b"].asked[0]["Range"] == "bytes=100000-"
        assert server.files["a"].sent + server.files["b"].sent == len(CONTENT)
    assert target.read_bytes() == CONTENT


def test_a_slow_server_is_waited_for(target):
    with serving({"a": Served(CONTENT[:100_000], pause=0.1)}) as server:
        download([server.url("a")], target, patience=Patience(attempts=1, read=0.5))
    assert target.read_bytes() == CONTENT[:100_000]


def test_a_server_that_falls_silent_is_given_up(target):
    with (
        serving({"a": Served(CONTENT, pause=3)}) as server,
        pytest.raises(DownloadError, match=r"nothing came for 0\.2 s \(2 attempts\)"),
    ):
        download([server.url("a")], target, patience=Patience(attempts=2, read=0.2, backoff=0.001))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_that_will_not_pass_is_not_repeated_but_the_mirror_is_asked(target, status):
    with serving({"a": Served(CONTENT, refusals=[(status, {})]), "b": Served(CONTENT)}) as server:
        download([server.url("a"), server.url("b")], target, sha256=SHA256, patience=HASTE)
        assert len(server.files["a"].asked) == 1
    assert target.read_bytes() == CONTENT


def test_when_every_url_fails_the_error_says_how_each_did(target):
    with serving({"a": Served(CONTENT, refusals=[(403, {})])}) as server:
        with pytest.raises(DownloadError) as caught:
            download([server.url("a"), server.url("b")], target, patience=HASTE)
        assert f"{server.url('a')}: HTTP 403 Forbidden" in str(caught.value)
        assert f"{server.url('b')}: HTTP 404" in str(caught.value)


def test_a_failure_that_passes_is_tried_again(target):
    with serving({"a": Served(CONTENT, refusals=[(500, {})])}) as server:
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
        assert len(server.files["a"].asked) == 2
    assert target.read_bytes() == CONTENT


def test_a_failure_that_does_not_pass_is_given_up(target):
    with serving({"a": Served(CONTENT, refusals=[(503, {})] * 9)}) as server:
        with pytest.raises(DownloadError, match="503"):
            download([server.url("a")], target, patience=HASTE)
        assert len(server.files["a"].asked) == HASTE.attempts


def test_retry_after_is_obeyed_as_seconds_and_as_a_date(target):
    past = format_datetime(datetime.now(timezone.utc) - timedelta(minutes=1), usegmt=True)
    with serving(
        {"a": Served(CONTENT, refusals=[(429, {"Retry-After": "1"}), (429, {"Retry-After": past})])}
    ) as server:
        _, notes = notes_of(lambda listen: download([server.url("a")], target, on_progress=listen, patience=HASTE))
    assert notes == [
        "HTTP 429 Too Many Requests; trying again in 1.0 s",
        "HTTP 429 Too Many Requests; trying again in 0.0 s",
    ]
    assert target.read_bytes() == CONTENT


def test_a_server_that_asks_for_an_hour_is_given_up(target):
    with serving({"a": Served(CONTENT, refusals=[(429, {"Retry-After": "3600"})])}) as server:
        with pytest.raises(DownloadError, match="come back in 3600 s"):
            download([server.url("a")], target, patience=HASTE)
        assert len(server.files["a"].asked) == 1


def test_nobody_listens(target):
    with serving({}) as server:
        pass
    with pytest.raises(DownloadError, match="Connection refused"):
        download([server.url("a")], target, patience=HASTE)


@pytest.mark.parametrize(
    "url", ["http://example.com/a", "ftp://example.com/a", "https:///a", "a", "file:///etc/passwd"]
)
def test_only_https_is_allowed(url):
    with pytest.raises(ValueError, match="only https"):
        check_url(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1.example.com/a", "http://127.0.0.1:80@example.com/a"])
def test_hosts_that_only_look_like_loopback_are_refused(url):
    with pytest.raises(ValueError, match="only https"):
        check_url(url)


def test_a_redirect_is_followed(target):
    with serving({"b": Served(CONTENT)}) as server:
        server.files["a"] = Served(b"", redirect="/b")
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("there", ["http://example.com/a", "//example.com/a", "ftp://127.0.0.1/a"])
def test_a_redirect_to_plain_http_is_not_followed(target, there):
    with (
        serving({"a": Served(b"", redirect=there)}) as server,
        pytest.raises(DownloadError, match=r"redirects to .*only https is allowed"),
    ):
        download([server.url("a")], target, patience=HASTE)


def test_redirects_in_a_circle_end(target):
    with serving({"a": Served(b"", redirect="/a")}) as server:
        with pytest.raises(DownloadError, match="redirects"):
            download([server.url("a")], target, patience=HASTE)
        assert len(server.files["a"].asked) == 11


def test_the_proxy_of_the_environment_is_used(target, monkeypatch):
    with serving({"a": Served(CONTENT)}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base)
        monkeypatch.setenv("no_proxy", "")
        download(["http://localhost:1/a"], target, sha256=SHA256, patience=HASTE)
        assert proxy.files["a"].asked[0]["Host"] == "localhost:1"
    assert target.read_bytes() == CONTENT


def test_no_proxy_of_the_environment_is_obeyed(target, monkeypatch):
    with serving({}) as proxy, serving({"a": Served(CONTENT)}) as server:
        monkeypatch.setenv("http_proxy", proxy.base)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
    assert target.read_bytes() == CONTENT


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


@pytest.fixture
def no_authorities(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_authorities")
def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_error_names_the_remedy(target, certificate):
    with (
        serving({"a": Served(CONTENT)}, certificate=certificate) as server,
        pytest.raises(DownloadError, match="REQUESTS_CA_BUNDLE"),
    ):
        download([server.url("a")], target, patience=HASTE)
    assert list(target.parent.iterdir()) == []


@pytest.mark.usefixtures("no_authorities")
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_authorities_of_the_environment_are_trusted(target, certificate, monkeypatch, variable):
    monkeypatch.setenv(variable, str(certificate.with_name("ca.pem")))
    with serving({"a": Served(CONTENT)}, certificate=certificate) as server:
        download([server.url("a")], target, sha256=SHA256, patience=HASTE)
    assert target.read_bytes() == CONTENT


@pytest.mark.usefixtures("no_authorities")
def test_authorities_that_are_not_there_are_named(target, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with (
        serving({"a": Served(CONTENT)}, certificate=certificate) as server,
        pytest.raises(DownloadError, match=r"/nowhere/ca\.pem"),
    ):
        download([server.url("a")], target, patience=HASTE)


@pytest.mark.usefixtures("no_authorities")
def test_https_does_not_lead_back_to_plain_http_on_this_machine(target, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("ca.pem")))
    with (
        serving({"a": Served(CONTENT)}) as plain,
        serving({"a": Served(b"", redirect=plain.url("a"))}, certificate=certificate) as server,
        pytest.raises(DownloadError, match="this very machine"),
    ):
        download([server.url("a")], target, patience=HASTE)


def test_room_is_looked_for_before_anybody_is_asked(target):
    with serving({"a": Served(CONTENT)}) as server:
        with pytest.raises(OutputError, match="MB are free"):
            download([server.url("a")], target, size=10**18, patience=HASTE)
        assert server.files["a"].asked == []


def limited_to(bytes_: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


def test_a_quota_ends_in_an_error_and_the_next_call_goes_on(target):
    program = (
        "import sys; from pathlib import Path; from sr_cli.errors import OutputError\n"
        "from sr_cli.weights.download import download\n"
        "try: download([sys.argv[1]], Path(sys.argv[2]))\n"
        "except OutputError as error: sys.exit(str(error))\n"
    )
    with serving({"a": Served(CONTENT)}) as server:
        run = subprocess.run(
            [sys.executable, "-c", program, server.url("a"), str(target)],
            preexec_fn=limited_to(150_000),
            capture_output=True,
            text=True,
        )
        assert (run.returncode, "no space left" in run.stderr) == (1, True), run.stderr
        assert not target.exists()
        download([server.url("a")], target, sha256=None)
        start = int(server.files["a"].asked[1]["Range"].removeprefix("bytes=").rstrip("-"))
        assert 0 < start <= 150_000
    assert target.read_bytes() == CONTENT


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("this user cannot mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_too_small_is_noticed_before_the_first_byte(small_disk):
    with serving({"a": Served(CONTENT)}) as server:
        with pytest.raises(OutputError, match=r"0\.3 MB are needed and 0\.2 MB are free"):
            download([server.url("a")], small_disk / "weights.bin", patience=HASTE)
        assert not (small_disk / "weights.bin").exists()


def test_a_disk_that_fills_up_ends_in_an_error(small_disk):
    with serving({"a": Served(CONTENT, chunked=True)}) as server:
        with pytest.raises(OutputError, match="no space left") as caught:
            download([server.url("a")], small_disk / "weights.bin", patience=HASTE)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert not (small_disk / "weights.bin").exists()


def test_the_benchmark_of_resumes_meets_its_mark():
    program = Path(__file__).parents[2] / "benchmarks" / "download_resume.py"
    run = subprocess.run([sys.executable, program, "--size", "590000"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "of them 10 resumes" in run.stdout
