"""The report in all its forms; its page in a real browser."""

import csv
import dataclasses
import io
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_cli.errors import UsageError
from sr_cli.evaluation.evaluate import Comparison
from sr_cli.evaluation.report import as_csv, as_markdown
from sr_cli.evaluation.report.gallery import Gallery, window_of_difference
from sr_cli.evaluation.report.page import page
from sr_cli.evaluation.result import Failure, ImageResult
from sr_cli.evaluation.thresholds import read_report
from support.chromium import PROGRAM, Page, chromium
from support.evaluations import photo, report

SCORES = {
    "bicubic": {"psnr": [24.0, 25.0, 26.0], "ssim": [0.8, 0.8, None]},
    "one": {"psnr": [26.0, 25.0, 30.0], "ssim": [0.7, 0.8, None]},
    "two": {"psnr": [25.0, 25.0, math.inf], "ssim": [0.9, 0.8, None]},
}


def comparison(result: ImageResult, *, scale: int = 4) -> Comparison:
    """Pictures for a result: each method's is HR with more or less grain."""
    hr = photo(result.height, result.width)
    rng = np.random.default_rng(0)
    sr = {
        name: (hr + rng.normal(0, 4 + 4 * index, hr.shape)).clip(0, 255).astype(np.uint8)
        for index, name in enumerate(result.scores)
    }
    return Comparison(result=result, lr=hr[::scale, ::scale], hr=hr, sr=sr)


def gallery_of(results: tuple[ImageResult, ...], *, limit: int = 8) -> Gallery:
    gallery = Gallery(measure="psnr", limit=limit)
    for result in results:
        gallery.add(comparison(result))
    return gallery


def test_csv_has_a_line_for_every_picture_and_method_and_the_protocol_in_each():
    lines = list(csv.DictReader(io.StringIO(as_csv(report(SCORES)))))
    assert len(lines) == 9
    assert {(line["scale"], line["measured_on"], line["shave"], line["lr"]) for line in lines} == {
        ("4", "y", "4", "bicubic")
    }
    assert [float(line["psnr"]) for line in lines if line["method"] == "two"] == [25, 25, math.inf]
    assert lines[-1]["ssim"] == ""


def test_names_are_neither_formulas_nor_control_sequences():
    found = report({"=1+1": {"psnr": [20.0]}, "@a\x1b[31m": {"psnr": [21.0]}, "-b\n": {"psnr": [-1.5]}})
    named = tuple(dataclasses.replace(each, name="+\r\x07" + each.name) for each in found.images)
    found = dataclasses.replace(found, images=named)
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [line["method"] for line in lines] == ["'=1+1", "'@a\\x1b[31m", "'-b\\n"]
    assert all(line["image"].startswith("'+\\r\\x07") for line in lines) and lines[2]["psnr"] == "-1.5"
    for text in (as_csv(found), as_markdown(found)):
        assert all(character.isprintable() or character == "\n" for character in text)


def test_markdown_marks_the_best_and_says_what_is_missing():
    found = report(
        SCORES,
        unavailable={"ssim": "no reason"},
        failures=(Failure(file="x.png", reason="is empty"),),
        notes=("a note",),
    )
    text = as_markdown(found)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2].startswith("| bicubic | 25.00 | unavailable |")
    assert rows[4].startswith("| two | **∞** | unavailable |")
    assert text.count("**") == 2
    assert "on Y, 4 pixels shaved" in text
    for said in ("no reason", "a note", "`x.png`: is empty"):
        assert said in text


def test_figures_that_look_equal_share_the_win():
    text = as_markdown(report({"bicubic": {"psnr": [20.0]}, "one": {"psnr": [30.001]}, "two": {"psnr": [30.002]}}))
    assert text.count("**30.00**") == 2


def test_the_gallery_keeps_the_worst_and_the_best():
    values = [31.0, 29.0, 35.0, 22.0, 30.0, 28.0, 40.0, 33.0]
    results = report({"bicubic": {"psnr": [30.0] * 8}, "m": {"psnr": values}}).images
    kept = [exhibit.result.scores["m"]["psnr"] for exhibit in gallery_of(results, limit=4).exhibits]
    assert kept == [22, 28, 35, 40]
    assert len(gallery_of(results, limit=20).exhibits) == 8
    assert [e.result.scores["m"]["psnr"] for e in gallery_of(results, limit=1).exhibits] == [22]


def test_pictures_are_kept_without_loss():
    result = report(SCORES).images[0]
    given = comparison(result)
    (exhibit,) = gallery_of((result,)).exhibits
    for name, pixels in {"LR": given.lr, "HR": given.hr, **given.sr}.items():
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(exhibit.panels[name]))), pixels)
    assert list(exhibit.panels) == ["LR", "bicubic", "one", "two", "HR"]


def test_without_hr_the_part_where_a_model_differs_most_from_bicubic_is_shown():
    result = report(SCORES).images[0]
    whole = comparison(dataclasses.replace(result, width=1200))
    model = whole.sr["bicubic"].copy()
    model[:, -8:] = 255
    gallery = Gallery(measure="psnr", limit=1)
    gallery.add(dataclasses.replace(whole, hr=None, sr={**whole.sr, "one": model}))
    (exhibit,) = gallery.exhibits
    assert list(exhibit.panels) == ["LR", "bicubic", "one", "two"]
    assert exhibit.window.left == 1200 - 1024


def test_of_a_large_picture_the_part_that_differs_most_is_shown():
    hr = np.zeros((300, 400, 3), np.uint8)
    sr = hr.copy()
    sr[210:220, 330:340] = 255
    window = window_of_difference(sr, hr, side=100, step=4)
    assert (window.width, window.height) == (100, 100)
    assert window.left <= 330 < 340 <= window.left + 100
    assert window.top <= 210 < 220 <= window.top + 100
    assert window.left % 4 == window.top % 4 == 0
    assert window_of_difference(sr, hr, side=1024, step=4).of(hr).shape == hr.shape


class _Loads(HTMLParser):
    """Whatever an HTML file would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, _, attributes):
        self.addresses += [value for key, value in attributes if key in ("src", "href", "srcset", "data", "action")]


def test_the_page_needs_nothing_from_elsewhere():
    found = report(SCORES)
    loads = _Loads()
    loads.feed(page(found, gallery_of(found.images).exhibits))
    assert len(loads.addresses) == 3 * 5
    assert all(address.startswith("data:image/webp;base64,") for address in loads.addresses)


def test_a_page_without_pictures_or_values_is_a_page():
    nothing = report({"bicubic": {"ms_ssim": [None]}})
    assert "–" in page(nothing, [])
    assert page(report({"bicubic": {"psnr": [math.inf]}}), [])


HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}"


def hostile_report():
    renamed = {HOSTILE if name == "one" else name: of for name, of in SCORES.items()}
    found = report(renamed, source=HOSTILE, failures=(Failure(file=HOSTILE, reason=HOSTILE),), notes=(HOSTILE,))
    images = tuple(dataclasses.replace(image, name=f"{HOSTILE}{image.name}") for image in found.images)
    return dataclasses.replace(found, images=images)


needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="needs Chromium (Debian's package chromium)")


@pytest.fixture(scope="module")
def browser():
    with chromium() as tab:
        yield tab


@pytest.fixture
def tab(browser: Page, tmp_path: Path):
    """The hostile report's page, open at desktop size; no test leaves a complaint in the browser's console."""
    found = hostile_report()
    path = tmp_path / "report.html"
    path.write_text(page(found, gallery_of(found.images).exhibits), "utf-8")
    browser.send("Emulation.setEmulatedMedia", features=[])
    browser.window(1200, 900)
    browser.problems.clear()
    browser.open(path)
    yield browser
    assert browser.problems == []


VIEWER = "document.querySelector('.viewer')"


def box(tab: Page, selector: str) -> dict[str, float]:
    return tab.run(f"(() => {{ const b = document.querySelector({selector!r}); b.scrollIntoView({{block: 'center'}}); "
                   "return b.getBoundingClientRect().toJSON(); })()")  # fmt: skip


@pytest.mark.browser
@pytest.mark.slow
@needs_chromium
def test_every_picture_loads(tab):
    widths = tab.run(
        "Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth)))",
    )
    assert len(widths) == 3 * 7
    assert set(widths) == {16, 64}
    assert tab.run("document.querySelectorAll('.exhibit').length") == 3


@pytest.mark.browser
@pytest.mark.slow
@needs_chromium
def test_names_are_shown_as_they_are(tab):
    assert HOSTILE in tab.run("document.querySelector('h1').textContent")
    assert HOSTILE in tab.run("[...document.querySelectorAll('option')].map(each => each.textContent)")
    assert tab.run("document.scripts.length") == 1


@pytest.mark.browser
@pytest.mark.slow
@needs_chromium
def test_the_divider_follows_the_mouse(tab):
    place = box(tab, ".viewer")
    middle = place["top"] + place["height"] / 2
    center = place["left"] + place["width"] / 2
    tab.drag((center, middle), (place["left"] + 0.2 * place["width"], middle))
    assert float(tab.run("document.querySelector('input[type=range]').value")) == pytest.approx(20, abs=1)
    divider = box(tab, ".divider")
    assert divider["left"] == pytest.approx(place["left"] + 0.2 * place["width"], abs=place["width"] / 50)
    clip = tab.run("getComputedStyle(document.querySelector('.before')).clipPath")
    assert "80" in clip


@pytest.mark.browser
@pytest.mark.slow
@needs_chromium
def test_the_slider_follows_mouse_and_keyboard(tab):
    place = box(tab, "input[type=range]")
    y = place["top"] + place["height"] / 2
    tab.drag((place["left"] + place["width"] / 2, y), (place["left"] + 0.9 * place["width"], y))
    assert 80 < float(tab.run("document.querySelector('input[type=range]').value")) < 100
    for kind in ("keyDown", "keyUp"):
        tab.send("Input.dispatchKeyEvent", type=kind, key="Home", code="Home", windowsVirtualKeyCode=36)
    assert tab.run("document.querySelector('.exhibit').style.getPropertyValue('--split')") == "0%"


@pytest.mark.browser
@pytest.mark.slow
@needs_chromium
def test_what_is_compared_can_be_chosen(tab):
    assert tab.run("document.querySelector('.tag.left').textContent") == "bicubic"
    assert tab.run("document.querySelector('.tag.right').textContent") == HOSTILE
    tab.run("document.querySelector('.choose-right').value = 'HR'")
    tab.run("document.querySelector('.choose-right').dispatchEvent(new Event('change'))")
    assert tab.run("document.querySelector('.tag.right').textContent") == "HR"
    assert tab.run(
        "document.querySelector('.after img').src === document.querySelector('figure[data-name=HR] img').src"
    )


@pytest.mark.browser
@pytest.mark.slow
@needs_chromium
def test_all_versions_zoom_and_move_together(tab):
    place = box(tab, ".viewer")
    spot = {"x": place["left"] + place["width"] / 4, "y": place["top"] + place["height"] / 4}
    tab.send("Input.dispatchMouseEvent", type="mouseWheel", **spot, deltaX=0, deltaY=-300, modifiers=2)
    shown = (
        "[...document.querySelector('.exhibit').querySelectorAll('.viewer img, .frame img')].map(image => {"
        " const a = image.getBoundingClientRect(), b = image.parentElement.getBoundingClientRect();"
        " return [a.width / b.width, (a.left - b.left) / b.width, (a.top - b.top) / b.height]; })"
    )
    tab.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    zoomed = np.array(tab.run(shown))
    assert len(zoomed) == 7
    assert zoomed[0, 0] > 1.5
    np.testing.assert_allclose(zoomed, zoomed[:1].repeat(7, 0), atol=1e-3)
    start = (place["left"] + 0.8 * place["width"], place["top"] + 0.8 * place["height"])
    tab.drag(start, (start[0] - 40, start[1] - 30))
    moved = np.array(tab.run(shown))
    np.testing.assert_allclose(moved, moved[:1].repeat(7, 0), atol=1e-3)
    assert moved[0, 1] * place["width"] == pytest.approx(zoomed[0, 1] * place["width"] - 40, abs=2)
    assert moved[0, 0] == pytest.approx(zoomed[0, 0])
    others = "document.querySelectorAll('.exhibit')[1].classList.contains('zoomed')"
    assert tab.run(others) is False


@pytest.mark.browser
@needs_chromium
@pytest.mark.slow
def test_a_phone_shows_it_without_scrolling_sideways(tab):
    tab.window(360, 740, phone=True)
    assert tab.run("document.documentElement.scrollWidth") <= 360
    place = box(tab, ".viewer")
    assert place["left"] >= 0
    assert 100 < place["width"] <= 360
    assert tab.run(
        "[...document.querySelectorAll('select, button')].every(each => each.getBoundingClientRect().right <= 360)"
    )


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2 between two ``rgb(r, g, b)``."""

    def luminance(color: str) -> float:
        levels = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_text_stands_out_in_light_and_dark(tab, scheme):
    if scheme == "dark":
        tab.dark()
    paper, ink, faint, best = (
        tab.run(f"getComputedStyle(document.querySelector({selector!r})).{what}")
        for selector, what in [
            ("body", "backgroundColor"), ("body", "color"), (".faint", "color"), ("td.best", "backgroundColor"),
        ]
    )  # fmt: skip
    assert contrast(paper, "rgb(0, 0, 0)") < 2 if scheme == "dark" else contrast(paper, "rgb(255, 255, 255)") < 2
    assert contrast(paper, ink) > 7
    assert contrast(paper, faint) > 4.5
    assert contrast(best, ink) > 7


@pytest.mark.slow
def test_a_baseline_nested_without_end_is_refused_in_a_line(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="not a report"):
        read_report(path)
