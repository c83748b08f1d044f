"""The report's page in a real browser."""

import math
import os
import re
import shutil

import numpy as np
import pytest

from nst_jax.report.write import write_report
from tests.report.test_report import GRID, HOSTILE, REASON, write_study

pytestmark = pytest.mark.slow

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
_ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def unavailable(what):
    if os.environ.get("NST_JAX_REQUIRE_BROWSER"):
        pytest.fail(f"{what} is missing, which NST_JAX_REQUIRE_BROWSER asks for")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("the Python package playwright")
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        unavailable("a Chromium browser")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Opens a folder's page; in the end nothing may have been complained of, or asked for outside
    of the folder."""
    contexts, complaints, requests, folders = [], [], [], []

    def open_page(folder, width=1280, height=900, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        folders.append(folder.as_uri())
        page.goto(f"{folder.as_uri()}/index.html")
        page.requests, page.complaints = requests, complaints
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
    assert [
        url
        for url in requests
        if not url.startswith(("data:", *(f"{folder}/" for folder in folders)))
    ] == []


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = write_study(
        tmp_path_factory.mktemp("study"), np.random.default_rng(1), GRID, failed=(3,)
    )
    write_report(folder)
    return folder


def is_open(page):
    return page.locator("#viewer").evaluate("dialog => dialog.open")


def name_shown(page):
    return page.locator("#viewer-name").inner_text()


def split(page):
    """The percentage of the picture over which the content image lies, as it is drawn."""
    clip = page.locator("#content").evaluate("image => getComputedStyle(image).clipPath")
    right = re.fullmatch(
        r"inset\(0px calc\(100% - ([\d.]+)%\) 0px 0px\)|inset\(0px ([\d.]+)% 0px 0px\)", clip
    )
    assert right, clip
    return float(right[1]) if right[1] else 100 - float(right[2])


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label')")


def test_each_lane_has_its_thumbnail_under_its_labels(visit, study):
    page = visit(study)
    table = page.locator("#grid table")
    assert table.locator("thead th").all_inner_texts() == ["seed = 0", "seed = 1"]
    assert table.locator("tbody th").all_inner_texts() == [
        "style_weight = 5",
        "style_weight = 20",
        "style_weight = 80",
    ]
    assert (
        page.locator("button.thumbnail img").evaluate_all(
            "images => images.map(image => image.naturalWidth)"
        )
        == [64] * 5
    )
    assert (
        page.locator("#inputs img").evaluate_all(
            "images => images.map(image => image.naturalWidth)"
        )
        == [64] * 2
    )
    assert "6 lanes: 5 finished, 1 failed" in page.locator("#summary").inner_text()
    assert not [url for url in page.requests if url.endswith(".png")], (
        "full-size images are for enlarging"
    )


def test_a_failed_lane_is_shown_with_its_reason(visit, study):
    page = visit(study)
    cell = page.locator("button.thumbnail").nth(3)
    assert cell.locator("img").count() == 0 and cell.inner_text().splitlines() == ["failed", REASON]
    assert REASON in page.locator("#table tbody tr").nth(3).inner_text()
    cell.click()
    assert page.locator("#viewer-status").inner_text().lower() == f"failed: {REASON}"
    assert not page.locator("#slider").is_visible() and not page.locator("#full-size").is_visible()
    page.locator("#next").click()
    assert page.locator("#slider").is_visible() and page.locator("#result").is_visible()


def test_a_click_enlarges_and_the_buttons_step_and_close(visit, study):
    page = visit(study)
    assert not is_open(page)
    page.locator("button.thumbnail").nth(4).click()
    assert is_open(page) and name_shown(page) == "style_weight=80,seed=0"
    settings = page.locator("#viewer-settings").inner_text()
    assert "style layers\nconv1_1, conv2_1" in settings and "pooling\navg" in settings
    page.wait_for_function(
        "document.getElementById('result').src.endsWith('lanes/style_weight%3D80%2Cseed%3D0.png')"
    )
    page.wait_for_function("document.getElementById('content').src.endsWith('content_photo.png')")
    page.locator("#next").click()
    assert name_shown(page) == "style_weight=80,seed=1"
    page.locator("#next").click()
    assert name_shown(page) == "style_weight=5,seed=0"
    page.locator("#previous").click()
    assert name_shown(page) == "style_weight=80,seed=1"
    page.locator("#close").click()
    assert not is_open(page)


def test_the_keyboard_is_enough(visit, study):
    page = visit(study)
    for _ in range(30):
        page.keyboard.press("Tab")
        if focused(page) and focused(page).startswith("style_weight=5,seed=1"):
            break
    else:
        pytest.fail("Tab does not reach the second thumbnail")
    page.keyboard.press("Enter")
    assert is_open(page) and name_shown(page) == "style_weight=5,seed=1"
    page.keyboard.press("ArrowRight")
    assert name_shown(page) == "style_weight=20,seed=0"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert name_shown(page) == "style_weight=5,seed=0"
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "slider":
            break
    before = split(page)
    page.keyboard.press("ArrowRight")
    assert split(page) == before + 1 and name_shown(page) == "style_weight=5,seed=0", (
        "the slider's arrows are its own"
    )
    page.keyboard.press("Escape")
    assert not is_open(page)
    assert focused(page).startswith("style_weight=5,seed=1"), (
        "the focus goes back to where it came from"
    )


def test_the_slider_and_a_drag_move_the_split(visit, study):
    page = visit(study)
    page.locator("button.thumbnail").first.click()
    assert split(page) == 0
    page.locator("#slider").fill("40")
    assert split(page) == 40
    stage = page.locator("#stage").bounding_box()
    divider = page.locator("#divider").bounding_box()
    assert divider["x"] + divider["width"] / 2 == pytest.approx(
        stage["x"] + 0.4 * stage["width"], abs=1.5
    )
    middle = stage["y"] + stage["height"] / 2
    page.mouse.move(stage["x"] + 0.5 * stage["width"], middle)
    assert split(page) == 40, "nothing moves until a button is down"
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.75 * stage["width"], middle)
    assert split(page) == pytest.approx(75, abs=1) and page.locator("#slider").input_value() == "75"
    page.mouse.move(stage["x"] + stage["width"] + 30, middle)
    assert split(page) == 100
    page.mouse.up()
    page.mouse.move(stage["x"] + 0.1 * stage["width"], middle)
    assert split(page) == 100 and is_open(page)


def column(page, name):
    names = page.locator("#table th").all_inner_texts()
    return page.locator("#table tbody tr").evaluate_all(
        "(rows, index) => rows.map(row => row.cells[index].innerText)", names.index(name)
    )


def sort_by(page, name):
    header = page.locator("#table th", has_text=re.compile(f"^{name}$"))
    header.locator("button").press("Enter")
    assert page.locator("#table th[aria-sort]").count() == 1
    return header.get_attribute("aria-sort")


def test_the_table_sorts_both_ways_with_the_empty_last(visit, study):
    page = visit(study)
    assert column(page, "loss") == ["1", "8", "5", "–", "9", "6"]
    assert sort_by(page, "loss") == "ascending"
    assert column(page, "loss") == ["1", "5", "6", "8", "9", "–"]
    assert sort_by(page, "loss") == "descending"
    assert column(page, "loss") == ["9", "8", "6", "5", "1", "–"]
    assert column(page, "lane")[:2] == ["style_weight=80,seed=0", "style_weight=5,seed=1"], (
        "whole rows move"
    )
    assert sort_by(page, "style weight") == "ascending"
    assert column(page, "style weight") == ["5", "5", "20", "20", "80", "80"], (
        "as numbers, not as texts"
    )
    page.locator("#table tbody tr").first.locator("button").click()
    assert name_shown(page) == "style_weight=5,seed=0"


def test_what_was_measured_is_in_the_table_and_beside_the_picture(visit, study, tmp_path, rng):
    bare = visit(study)
    assert bare.locator("#table th").last.inner_text() == "LPIPS"
    assert not bare.locator("#measures").is_visible()
    write_report(write_study(tmp_path, rng, GRID, failed=(3,), measured=(0, 1, 2, 4, 5)))
    page = visit(tmp_path)
    names = page.locator("#table th").all_inner_texts()
    assert names[names.index("LPIPS") :] == [
        *("LPIPS", "CFSD", "colour", "Gram", "Gram/2", "Gram/4", "W2", "sliced")
    ]
    assert "CFSD (in millionths)" in page.locator("#measures").inner_text()
    assert [column(page, name)[2] for name in names[-7:]] == [
        *("33.33", "0.5", "1.5", "2.5", "3.5", "0.75", "0.125")
    ]
    assert sort_by(page, "CFSD") == "ascending"
    assert column(page, "CFSD") == ["16.67", "20", "33.33", "50", "100", "–"]
    page.locator("button.thumbnail").nth(2).click()
    settings = page.locator("#viewer-settings").inner_text()
    assert "LPIPS\n0.25\nCFSD\n33.33\ncolour\n0.5\nGram\n1.5\nGram/2\n2.5" in settings
    page.locator("#next").click()  # the one that failed
    assert "CFSD" not in page.locator("#viewer-settings").inner_text()


def test_a_wide_table_scrolls_beside_the_names_of_its_lanes(visit, tmp_path, rng):
    write_report(write_study(tmp_path, rng, GRID, measured=range(6)))
    page = visit(tmp_path, 390, 844)
    assert fits(page)
    name = page.locator("#table tbody tr").first.locator("td").first
    before = name.bounding_box()["x"]
    page.evaluate("document.querySelector('#table').parentElement.scrollLeft = 1000")
    assert name.bounding_box()["x"] == pytest.approx(before, abs=4)


def test_numbers_sort_as_numbers_however_they_are_written(visit, tmp_path, rng):
    write_report(write_study(tmp_path, rng, {"style_weight": ["20", "1e3", "0.5", "0.12"]}))
    page = visit(tmp_path)
    sort_by(page, "style weight")
    assert column(page, "style weight") == ["0.12", "0.5", "20", "1e3"]


def test_rows_thumbnails_and_the_plot_single_out_a_lane(visit, study):
    page = visit(study)
    lit = "curves => curves.map(curve => curve.dataset.lane)"
    assert page.locator("#plot path.curve").count() == 5
    page.locator("#table tbody tr").nth(4).hover()
    assert page.locator("#plot .curve.lit").evaluate_all(lit) == ["4"]
    assert page.locator("#readout").inner_text() == "style_weight=80,seed=0: best 9"
    page.locator("button.thumbnail").nth(2).focus()
    page.mouse.move(1, 1)
    page.locator("button.thumbnail").nth(1).focus()
    assert page.locator("#plot .curve.lit").evaluate_all(lit) == ["1"]
    page.locator("#legend button").nth(5).hover()
    assert page.locator("#plot .curve.lit").evaluate_all(lit) == ["5"]
    page.wait_for_function("places.length > 4")
    x, y = page.evaluate("places[4].at(-1)")[:2]
    page.locator("#plot").hover(position={"x": x, "y": y})
    assert page.locator("#plot .curve.lit").evaluate_all(lit) == ["4"]
    assert page.locator("#readout").inner_text() == "style_weight=80,seed=0: 9 at step 150"
    page.mouse.move(1, 1)
    assert page.locator("#plot .curve.lit").count() == 0


def test_settings_and_versions_are_there(visit, study):
    text = visit(study).locator("#settings").inner_text()
    assert "size\n64" in text and "network\nname\nvgg16" in text and "versions\njax\n0.10.2" in text


def test_the_loss_axis_is_logarithmic(visit, study):
    page = visit(study)
    page.wait_for_function("places.length > 1")  # curves are drawn in the next frame
    (_, first, _, high), (_, last, _, low) = page.evaluate("[places[0].at(0), places[0].at(-1)]")
    # the second lane's losses are eight times the first's
    eightfold = page.evaluate("places[1].at(-1)[1]")
    assert last - eightfold == pytest.approx(
        (last - first) * math.log(8) / math.log(high / low), abs=0.1
    )


HOSTILE_NAME = "<img src=x onerror=window.hacked=1>"


def test_hostile_names_do_nothing(visit, tmp_path, rng):
    axes = {HOSTILE: [HOSTILE, HOSTILE_NAME], HOSTILE_NAME: ["a", "#%?&"]}
    names = [HOSTILE_NAME, "javascript:window.hacked=1", 'a#b?c%41&"d', "日本 \u2028語\n"]
    write_study(
        tmp_path,
        rng,
        axes,
        names=names,
        failed=(1,),
        title=HOSTILE,
        settings={HOSTILE: HOSTILE_NAME, HOSTILE_NAME: {HOSTILE_NAME: HOSTILE}},
    )
    write_report(tmp_path)
    page = visit(tmp_path)
    assert page.locator("h1").inner_text() == HOSTILE == page.title()
    for index, name in enumerate(names):
        page.locator("button.thumbnail").nth(index).click()
        assert page.locator("#viewer-name").evaluate("heading => heading.textContent") == name
        if index != 1:
            page.wait_for_function("document.getElementById('result').src.startsWith('file:')")
            assert page.locator("#result").evaluate("image => image.naturalWidth") == 64
        page.keyboard.press("Escape")
    for axis in [*axes, "loss", "lane", "status"]:
        page.locator("#table th", has_text=axis.replace("_", " ")).first.locator("button").click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == 2
    assert page.locator("img:not(#result):not(#content)").evaluate_all(
        "images => images.every(image => image.src.startsWith('data:'))"
    )


def test_a_page_moved_alone_falls_back_to_its_thumbnails(visit, study, tmp_path):
    shutil.copy(study / "index.html", tmp_path)
    page = visit(tmp_path)
    page.locator("button.thumbnail").first.click()
    page.wait_for_function(
        "document.getElementById('note').textContent.includes('not beside this page')"
    )
    assert page.locator("#result").evaluate("image => image.naturalWidth") == 64
    page.wait_for_timeout(200)
    assert len(page.complaints) == 2 and all(
        "ERR_FILE_NOT_FOUND" in complaint for complaint in page.complaints
    )
    page.complaints.clear()  # the browser's own, of the two files


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_can_be_read(visit, study, scheme):
    page = visit(study, color_scheme=scheme)
    colours = page.evaluate(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
    )
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours)
    assert abs(ink - paper) > 180 and (ink < paper) == (scheme == "light")


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_shows_it_all_without_sideways_scrolling(visit, tmp_path, rng):
    axes = {"layer_weights": ["shallow " * 8, "x" * 80], "seed": list("0123456789")}
    names = [f"layer_weights={'y' * 60 if lane < 10 else 'z z'},seed={lane}" for lane in range(20)]
    folder = write_study(tmp_path, rng, axes, names=names, failed=(2,), title="photograph_" * 12)
    write_report(folder)
    page = visit(folder, 390, 844, has_touch=True)
    assert fits(page)
    assert page.locator("#grid .scroll").evaluate("box => box.scrollWidth > box.clientWidth"), (
        "the grid scrolls in its own box"
    )
    page.locator("button.thumbnail").first.tap()
    assert is_open(page) and fits(page)
    assert page.locator("#viewer").evaluate("box => box.scrollWidth <= box.clientWidth")
    picture = page.locator("#stage").bounding_box()
    assert picture["width"] > 300 and picture["x"] >= 0 and picture["x"] + picture["width"] <= 390
    page.locator("#next").tap()
    assert name_shown(page) == names[1]


def test_few_lanes_fit_a_phone_with_their_legend(visit, tmp_path, rng):
    folder = write_study(tmp_path, rng, {"style": ["x" * 100, "y" * 100]})
    write_report(folder)
    page = visit(folder, 390, 844)
    assert page.locator("#legend button").count() == 2 and fits(page)


def test_a_hundred_lanes_stay_light(visit, tmp_path, rng):
    axes = {"style_weight": [str(2**power) for power in range(10)], "seed": list("0123456789")}
    write_report(write_study(tmp_path, rng, axes, size=(192, 256)))
    assert (tmp_path / "index.html").stat().st_size < 1_500_000
    page = visit(tmp_path)
    assert page.locator("button.thumbnail img").count() == page.locator("#plot path").count() == 100
    page.locator("#legend button").nth(3).hover()
    assert (
        page.locator("#plot .curve.lit").count() == 10
        and page.locator("#readout").inner_text() == "10 lanes"
    )


def test_lanes_in_step_have_captions(visit, tmp_path, rng):
    write_report(
        write_study(
            tmp_path, rng, {"style_weight": ["5", "20", "80"], "seed": ["0", "1", "2"]}, zipped=True
        )
    )
    page = visit(tmp_path)
    assert page.locator("#grid figcaption").all_inner_texts() == [
        f"style_weight = {weight}\nseed = {seed}" for seed, weight in enumerate((5, 20, 80))
    ]


def test_a_single_lane_has_a_page_too(visit, tmp_path, rng):
    write_report(write_study(tmp_path, rng, {}, num_steps=1))
    page = visit(tmp_path)
    assert (
        page.locator("#plot circle").count() == 1
        and "NaN" not in page.locator("#plot").inner_html()
    )
    page.locator("button.thumbnail").click()
    page.keyboard.press("ArrowRight")
    assert name_shown(page) == "result" and page.locator("#viewer-count").inner_text() == "1 of 1"
