"""Videos from end to end, with a network that repeats pixels."""

import ctypes
import functools
import itertools
import sys
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV isn't installed")

from sr_cli.config import UpscaleConfig  # noqa: E402
from sr_cli.errors import ImageError, OutputError  # noqa: E402
from sr_cli.images import Picture  # noqa: E402
from sr_cli.video import encoding, even_size, read_film, work  # noqa: E402
from support.clips import frames_of, make_clip, packets_of, times_of  # noqa: E402

FAST = {"preset": "ultrafast"}
VARIABLE = (0, 40, 150, 170, 410, 500, 620, 700, 910, 950)


def twice(picture: Picture) -> Picture:
    height, width = even_size((2 * picture.height, 2 * picture.width))
    return Picture(color=picture.color.repeat(2, 0).repeat(2, 1)[:height, :width], format=picture.format)


def upscale(source, output, *, network=twice, overwrite=False, **settings):
    config = UpscaleConfig(**FAST | settings) if settings.get("video_codec") != "ffv1" else UpscaleConfig(**settings)
    film, _ = read_film(source, deinterlace=config.deinterlace)
    how = encoding.choose_encoding(film, even_size((2 * film.size[0], 2 * film.size[1])), output, config)
    return list(
        work.upscale_film(
            film, output, network, how=how, config=config, identity={"network": "twice"}, overwrite=overwrite
        )
    )


def left_over(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.fixture
def short_segments(monkeypatch):
    monkeypatch.setattr(encoding, "SEGMENT_FRAMES", 4)


@pytest.mark.parametrize(
    ("suffix", "codec", "audio"),
    [
        (".mp4", "libx264", "aac"),
        (".mkv", "libx264", "libopus"),
        (".mov", "mpeg4", "aac"),
        (".webm", "libvpx-vp9", "libopus"),
    ],
)
@pytest.mark.usefixtures("short_segments")
@pytest.mark.slow
def test_times_and_audio_are_those_of_the_source(tmp_path, suffix, codec, audio):
    options = {"bf": "2"} if codec != "libvpx-vp9" else {}
    source = make_clip(tmp_path / f"a{suffix}", codec=codec, times=VARIABLE, options=options, audio=audio)
    settings = {"video_codec": "vp9", "preset": "8"} if suffix == ".webm" else {"preset": "medium"}
    upscale(source, tmp_path / f"b{suffix}", **settings)
    assert times_of(tmp_path / f"b{suffix}") == times_of(source)
    assert packets_of(tmp_path / f"b{suffix}", "audio") == packets_of(source, "audio")
    with av.open(str(source)) as before, av.open(str(tmp_path / f"b{suffix}")) as after:
        assert abs(before.duration - after.duration) <= 20_000  # microseconds; B-frames blur the last one's
    assert left_over(tmp_path) == []


def test_the_frames_are_the_upscaled_frames(tmp_path):
    source = make_clip(tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv444p", times=(0, 100, 200))
    upscale(source, tmp_path / "b.mkv", video_codec="ffv1")
    for before, after in zip(frames_of(source), frames_of(tmp_path / "b.mkv"), strict=True):
        expected = before.to_ndarray(format="yuv444p").repeat(2, 1).repeat(2, 2).astype(int)
        difference = abs(after.to_ndarray(format="yuv444p") - expected)
        assert difference.max() <= 1  # where the source has colors that RGB has not
        assert difference.mean() < 0.05


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_10_bits_and_the_meaning_of_colors_stay(tmp_path, codec):
    colors = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    source = make_clip(
        tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv420p10le", size=(40, 40), times=(0, 100), colors=colors
    )
    upscale(source, tmp_path / "b.mkv", video_codec=codec, preset="ultrafast" if codec == "hevc" else "12")
    frame = frames_of(tmp_path / "b.mkv")[0]
    assert frame.format.name == "yuv420p10le"
    assert {name: getattr(frame, name) for name in colors} == colors


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallopt")
def test_two_frames_are_the_same_whatever_memory_held(tmp_path):
    """x265 reads a delay before it has one: by chance its times were refused, as `Invalid argument`."""
    source = make_clip(tmp_path / "a.mkv", codec="ffv1", size=(40, 40), times=(0, 100))
    perturb = functools.partial(ctypes.CDLL(None).mallopt, -6)  # M_PERTURB: what new memory is filled with
    results = []
    for value in (0, 1, 85):
        assert perturb(value)
        try:
            upscale(source, tmp_path / f"{value}.mkv", video_codec="hevc", preset="ultrafast")
        finally:
            perturb(0)
        results.append(packets_of(tmp_path / f"{value}.mkv", "video"))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("codec", "preset"), [("hevc", "ultrafast"), ("h264", "ultrafast"), ("av1", "12")])
def test_what_hdr10_tells_displays_stays(tmp_path, codec, preset):
    told = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    options = {"preset": "ultrafast", "x265-params": f"log-level=error:{told}"}
    source = make_clip(
        tmp_path / "a.mkv", codec="libx265", pix_fmt="yuv420p10le", size=(64, 64), times=(0, 100), options=options
    )
    upscale(source, tmp_path / "b.mp4", video_codec=codec, preset=preset)
    before, after = (read_film(each)[0].mastering for each in (source, tmp_path / "b.mp4"))
    assert before == ((0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.0001, 1000), (1000, 400))
    assert after.display == pytest.approx(before.display, abs=1e-4) and after.light == before.light
    film = read_film(source)[0]
    how = encoding.choose_encoding(film, (128, 128), tmp_path / "c.mkv", UpscaleConfig(video_codec="ffv1"))
    assert how.lost == ("HDR metadata, which ffv1 doesn't hold",)


def test_colors_that_are_not_named_are_those_that_players_assume(tmp_path):
    source = make_clip(tmp_path / "a.mkv", codec="ffv1", size=(40, 480), times=(0,), options={})
    upscale(source, tmp_path / "b.mkv")
    frame = frames_of(tmp_path / "b.mkv")[0]
    assert (frame.colorspace, frame.color_primaries) in {(6, 6), (5, 6)}


def test_odd_sizes_and_the_shape_of_pixels(tmp_path):
    source = make_clip(tmp_path / "a.mkv", pix_fmt="yuv444p", size=(33, 25), times=(0, 100), aspect=Fraction(16, 11))
    upscale(source, tmp_path / "b.mkv")
    frame = frames_of(tmp_path / "b.mkv")[0]
    assert (frame.width, frame.height) == (66, 50)
    with av.open(str(tmp_path / "b.mkv")) as result:
        assert result.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
    upscale(source, tmp_path / "c.mp4", video_codec="av1", preset="12")
    with av.open(str(tmp_path / "c.mp4")) as result:
        assert result.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
    with pytest.raises(OutputError, match="16:11"):
        upscale(source, tmp_path / "d.mkv", video_codec="vp9", preset="8")


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.webm", "libvpx-vp9", "yuva420p"), ("a.mov", "prores_ks", "yuva444p10le")]
)
def test_lost_transparency_is_said_and_not_claimed(tmp_path, name, codec, pix_fmt):
    source = make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, times=(0, 100))
    assert read_film(source)[0].lost == ("transparency",)
    upscale(source, tmp_path / "b.mkv")
    assert read_film(tmp_path / "b.mkv")[0].lost == ()


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_a_turned_video_becomes_upright(tmp_path, degrees):
    source = make_clip(tmp_path / "a.mov", times=(0, 100), rotation=degrees, aspect=Fraction(4, 3))
    upscale(source, tmp_path / "b.mov")
    first = frames_of(source)[0]
    expected = np.rot90(first.to_ndarray(format="rgb24"), first.rotation // 90).astype(int)
    frame = frames_of(tmp_path / "b.mov")[0]
    assert frame.rotation == 0
    assert abs(frame.to_ndarray(format="rgb24")[::2, ::2] - expected).mean() < 6
    with av.open(str(tmp_path / "b.mov")) as result:
        assert result.streams.video[0].sample_aspect_ratio == (Fraction(4, 3) if degrees == 180 else Fraction(3, 4))


def test_metadata_and_chapters_are_copied(tmp_path):
    chapters = [
        {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "The heron"}},
        {"id": 2, "start": 400, "end": 900, "time_base": Fraction(1, 1000), "metadata": {"title": "The pike"}},
    ]
    for suffix in (".mp4", ".mkv"):
        source = make_clip(tmp_path / f"a{suffix}", metadata={"title": "A film"}, chapters=chapters)
        upscale(source, tmp_path / f"b{suffix}")
        with av.open(str(tmp_path / f"b{suffix}")) as result:
            assert result.metadata["title"] == "A film"
            found = [
                (float(each["start"] * each["time_base"]), each["metadata"]["title"]) for each in result.chapters()
            ]
            assert found == [(0, "The heron"), (0.4, "The pike")]
        upscale(source, tmp_path / f"c{suffix}", metadata="strip")
        with av.open(str(tmp_path / f"c{suffix}")) as result:
            assert "title" not in result.metadata


def with_subtitles(path):
    plain, words = make_clip(path.with_name("plain.mkv"), times=(0, 100)), path.with_name("words.srt")
    words.write_text("1\n00:00:00,020 --> 00:00:00,080\nLook, a heron!\n")
    with av.open(str(plain)) as film, av.open(str(words)) as text, av.open(str(path), "w") as target:
        streams = [(each, target.add_stream_from_template(each.streams[0], opaque=True)) for each in (film, text)]
        target.add_attachment("font.ttf", "application/x-truetype-font", b"a font")
        for source, stream in streams:
            for packet in source.demux():
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    return path


def test_subtitles_and_attachments_are_copied_or_refused_before_any_work(tmp_path):
    source = with_subtitles(tmp_path / "a.mkv")
    upscale(source, tmp_path / "b.mkv")
    assert packets_of(tmp_path / "b.mkv", "subtitle") == [(0.02, b"Look, a heron!")]
    with av.open(str(tmp_path / "b.mkv")) as result:
        assert result.streams.attachments[0].data == b"a font"
    with pytest.raises(OutputError, match=r"mp4 doesn't hold its subtitle \(srt\); write .mkv"):
        upscale(source, tmp_path / "c.mp4", network=None)
    assert left_over(tmp_path) == []


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [("a.mp4", {"movflags": "faststart"}, 0.9), ("a.mp4", {}, 0.9), ("a.mkv", {}, 0.95), ("a.avi", {}, 0.5)],
)
def test_a_file_that_is_cut_off_fails_and_leaves_nothing(tmp_path, name, options, share):
    source = cut(make_clip(tmp_path / name, container_options=options, size=(64, 48)), share)
    with pytest.raises(ImageError, match=name):
        upscale(source, tmp_path / "b.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(4000), b"\x1a\x45\xdf\xa3"])
def test_what_is_no_video_is_refused(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.mp4"):
        read_film(tmp_path / "a.mp4")


def test_an_interlaced_video_is_refused_or_deinterlaced(tmp_path):
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    source = make_clip(tmp_path / "a.mkv", size=(64, 64), options=options, times=VARIABLE)
    with pytest.raises(ImageError, match="is interlaced; --deinterlace"):
        upscale(source, tmp_path / "b.mkv")
    upscale(source, tmp_path / "b.mkv", deinterlace=True)
    assert times_of(tmp_path / "b.mkv") == times_of(source)
    assert not any(frame.interlaced_frame for frame in frames_of(tmp_path / "b.mkv"))


class InterruptionError(Exception):
    pass


def stopping_at(count, calls):
    def network(picture):
        if len(calls) == count:
            raise InterruptionError
        calls.append(picture)
        return twice(picture)

    return network


@pytest.mark.usefixtures("short_segments")
def test_a_run_goes_on_after_an_interruption_and_gives_the_same_file(tmp_path):
    source = make_clip(tmp_path / "a.mp4", times=VARIABLE, audio="aac")
    upscale(source, tmp_path / "whole.mp4")
    calls = []
    with pytest.raises(InterruptionError):
        upscale(source, tmp_path / "b.mp4", network=stopping_at(7, calls))
    assert len(calls) == 7
    assert not (tmp_path / "b.mp4").exists()
    progress = upscale(source, tmp_path / "b.mp4")
    assert progress == [(done, 4) for done in (5, 6, 7, 8, 9, 10)]  # the first 4 are a segment
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert left_over(tmp_path) == []


@pytest.mark.usefixtures("short_segments")
def test_other_settings_start_again(tmp_path):
    source = make_clip(tmp_path / "a.mkv")
    with pytest.raises(InterruptionError):
        upscale(source, tmp_path / "b.mkv", network=stopping_at(6, []))
    assert len(upscale(source, tmp_path / "b.mkv", crf=30.0)) == 10


def test_few_frames_are_in_memory(tmp_path, monkeypatch):
    source = make_clip(tmp_path / "a.mkv", times=range(0, 1000, 50))
    decoded, original = itertools.count(), work.to_picture
    lead = []
    monkeypatch.setattr(work, "to_picture", lambda *a, **k: (next(decoded), original(*a, **k))[1])

    def network(picture):
        lead.append(int(repr(decoded)[6:-1]) - len(lead))
        return twice(picture)

    upscale(source, tmp_path / "b.mkv", network=network)
    assert len(lead) == 20
    assert max(lead) <= 2


def test_an_existing_file_is_not_replaced(tmp_path):
    source = make_clip(tmp_path / "a.mkv", times=(0, 100))
    (tmp_path / "b.mkv").write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists"):
        upscale(source, tmp_path / "b.mkv")
    assert (tmp_path / "b.mkv").read_bytes() == b"precious"


def test_a_failure_before_the_first_segment_leaves_nothing(tmp_path):
    source = make_clip(tmp_path / "a.mkv", times=(0, 100))
    with pytest.raises(InterruptionError):
        upscale(source, tmp_path / "b.mkv", network=stopping_at(1, []))
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("b.avi", {}, "a video is written to .mp4"),
        ("b.mp4", {"video_codec": "ffv1", "preset": None}, "mp4 doesn't hold ffv1"),
        ("b.webm", {"video_codec": "h264"}, "webm doesn't hold h264"),
        ("b.mkv", {"preset": "quick"}, "libx264 refuses its settings"),
        ("b.mkv", {"video_codec": "ffv1", "crf": 3.0}, "lossless"),
    ],
)
def test_what_cannot_be_encoded_is_refused(tmp_path, name, settings, message):
    source = make_clip(tmp_path / "a.mkv", times=(0, 100))
    with pytest.raises(OutputError, match=message):
        upscale(source, tmp_path / name, **settings)


def test_without_pyav_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delattr("sr_cli.video.decoding")
    monkeypatch.delitem(sys.modules, "sr_cli.video.decoding")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match="python -m pip install av"):
        read_film(tmp_path / "a.mp4")
