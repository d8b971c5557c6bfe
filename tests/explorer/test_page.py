"""The page in a browser: what is seen when the query moves, on a screen, on a phone, and what is said of bad files."""

import dataclasses
import shutil

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("lightning")
pytest.importorskip("playwright")

from playwright.sync_api import expect, sync_playwright

from gcnet.explorer.app import build_app
from gcnet.explorer.gallery import Gallery
from gcnet.explorer.pictures import MOST_BYTES
from tests.explorer.asking import encoded
from tests.explorer.browsing import bare, click, expected_pixels, pixels, serving, settled
from tests.explorer.networks import GRID, make_clip_subject, make_subject, photo
from tests.training.video.files import write_video

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed, name in enumerate("ab"):
        photo(seed).save(folder / f"{name}.png")
    gallery = Gallery(folder, sorted(folder.iterdir()))
    with serving(build_app([make_subject(0), make_subject(1)], gallery)) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, address):
    """A page of some size with one pane at the block 1; none may have written an error to the console."""
    pages, said = [], []

    def open_page(width=1000, height=800, **options):
        page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        expect(page.locator(".pane")).to_have_count(2)
        page.uncheck("#compare")
        page.select_option(".block select", "1")
        settled(page)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert not [text for text in said if "status of 4" not in text]


def test_a_click_shows_the_map_of_that_query(opened):
    page = opened()
    bare(page)
    for x, y in ((0.53, 0.53), (0.03, 0.9)):
        click(page, x, y)
        query = int(y * GRID) * GRID + int(x * GRID)
        assert np.abs(pixels(page) - expected_pixels(0, 0, query)).max() <= 6
        assert f"row {int(y * GRID) + 1}, column {int(x * GRID) + 1}, held" in page.inner_text(".reading")


def test_other_scales(opened):
    page = opened()
    bare(page)
    click(page, 0.53, 0.53)
    page.select_option("#scale", "logarithmic")
    expected = expected_pixels(0, 0, 8 * GRID + 8, lambda shares: 1 + np.log10(shares.clip(1e-3)) / 3)
    assert np.abs(pixels(page) - expected).max() <= 6
    page.select_option("#scale", "lowest")
    expected = expected_pixels(0, 0, 8 * GRID + 8, lambda shares: (shares - shares.min()) / (1 - shares.min()))
    assert np.abs(pixels(page) - expected).max() <= 6


def test_the_map_follows_the_mouse_until_it_is_held(opened):
    page = opened()
    box = page.locator("canvas.query").bounding_box()

    def hover(share):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        settled(page)
        return page.inner_text(".reading")

    first = hover(0.1)
    assert hover(0.7) != first
    click(page, 0.53, 0.53)
    held = hover(0.2)
    assert "row 9, column 9, held" in held
    assert "under the pointer" in held
    page.locator("canvas.query").press("Escape")
    assert "row 4, column 4" in hover(0.21)


def test_only_the_newest_query_is_waited_for(opened):
    page = opened()
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/row" in request.url else None)
    box = page.locator("canvas.query").bounding_box()
    page.locator("canvas.query").evaluate(
        """(canvas) => {
            const { x, y } = canvas.getBoundingClientRect();
            for (let step = 0; step < 200; step++) {
                const place = { clientX: x + step, clientY: y + step };
                canvas.dispatchEvent(new PointerEvent("pointermove", { ...place, pointerType: "mouse" }));
            }
        }"""
    )
    settled(page)
    last = int(199 / box["width"] * GRID)
    assert len(asked) <= 2
    assert f"row {last + 1}, column {last + 1}" in page.inner_text(".reading")


def test_the_keyboard_moves_the_query(opened):
    page = opened()
    click(page, 0.53, 0.53)
    canvas = page.locator("canvas.query")
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowDown", "ArrowLeft", "ArrowLeft"):
        canvas.press(key)
    settled(page)
    assert "row 13, column 8" in page.inner_text(".reading")
    for _ in range(4):
        canvas.press("Shift+ArrowLeft")
    settled(page)
    assert "row 13, column 1," in page.inner_text(".reading")
    expect(page.locator("#spoken")).to_contain_text("row 13, column 1,")
    assert canvas.evaluate("(canvas) => document.activeElement === canvas")
    assert canvas.evaluate("(canvas) => getComputedStyle(canvas).outlineStyle") == "solid"


def test_everything_is_reached_by_keyboard_and_has_a_name(opened):
    page = opened()
    names = set()
    page.locator("body").focus()
    for _ in range(25):
        page.keyboard.press("Tab")
        names.add(
            page.evaluate(
                """() => { const at = document.activeElement;
                return at.ariaLabel ?? at.labels?.[0]?.innerText ?? at.querySelector?.("img")?.alt ?? at.innerText; }"""
            )
        )
    for word in ("Side by side", "Drop an image", "a.png", "Model", "Block", "Query on a.png", "Map over image", "PNG"):
        assert any(word in name for name in names), (word, names)


def test_a_file_that_cannot_be_read_keeps_its_place_among_thumbnails(browser, tmp_path):
    photo().save(tmp_path / "a.png")
    (tmp_path / f"b{'long' * 40}.png").write_bytes(b"no image")
    gallery = Gallery(tmp_path, sorted(tmp_path.iterdir()))
    with serving(build_app([make_subject()], gallery)) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        settled(page)
        page.wait_for_load_state("networkidle")
        first, broken = (page.locator("#thumbnails button").nth(index).bounding_box() for index in (0, 1))
        assert broken["width"] == first["width"] < 80


def test_images_are_skipped_by_keyboard(opened):
    page = opened()
    page.locator("a, button, input, select").first.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(".model select").evaluate("(select) => document.activeElement === select")


def test_a_query_that_is_lost_is_told_until_another_is_answered(opened):
    page = opened()
    page.route("**/row?*", lambda route: route.fulfill(status=422, json={"error": "lost"}))
    page.locator("canvas.query").click(position={"x": 5, "y": 5})
    expect(page.locator("#alert")).to_contain_text("lost")
    page.unroute("**/row?*")
    click(page, 0.9, 0.9)
    expect(page.locator("#alert")).to_be_hidden()


def test_models_are_told_apart_by_the_ends_of_their_paths(browser):
    names = ["/a/long/way/first/001", "/a/long/way/second/001"]
    app = build_app([dataclasses.replace(make_subject(), name=name) for name in names], Gallery())
    with serving(app) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        options = page.locator(".model select").first.locator("option")
        options.first.wait_for(state="attached")  # the page fills in its choices after it is loaded
        assert options.all_inner_texts() == ["first/001", "second/001"]


def test_two_models_side_by_side_share_the_query(opened):
    page = opened()
    page.check("#compare")
    settled(page)
    bare(page)
    click(page, 0.3, 0.6, pane=1)
    query = int(0.6 * GRID) * GRID + int(0.3 * GRID)
    for model in (0, 1):
        assert np.abs(pixels(page, model) - expected_pixels(model, 0, query)).max() <= 6


def test_two_blocks_side_by_side(opened):
    page = opened()
    page.check("#compare")
    page.locator(".model select").nth(1).select_option("0")
    page.locator(".block select").nth(1).select_option("2")
    settled(page)
    assert "One map for all queries" in page.locator(".note").nth(1).inner_text()
    assert "A map per query" in page.locator(".note").nth(0).inner_text()
    page.locator(".block select").nth(1).select_option("3")
    settled(page)
    assert "8 \N{MULTIPLICATION SIGN} 8 keys" in page.locator(".note").nth(1).inner_text()


def test_numbers_prediction_and_download(opened):
    page = opened()
    expect(page.locator(".numbers td").first).to_contain_text("0.")
    assert page.locator(".numbers tbody tr").count() == 4
    assert any(name in page.inner_text(".prediction") for name in ("ant", "bee", "cat"))
    click(page, 0.53, 0.53)
    with page.expect_download() as download:
        page.click("text=PNG")
    assert download.value.suggested_filename == "attention.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_an_upload_is_looked_at(opened):
    page = opened()
    bare(page)
    page.set_input_files("#file", {"name": "<b>new</b>.png", "mimeType": "image/png", "buffer": encoded(photo(1))})
    page.wait_for_selector("#thumbnails button[title='<b>new</b>.png'][aria-pressed=true]")
    settled(page)
    click(page, 0.53, 0.53)
    assert np.abs(pixels(page) - expected_pixels(0, 1, 8 * GRID + 8)).max() <= 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image", "is no image in one of the formats"),
        (encoded(photo(0))[:300], "cannot be decoded"),
        (bytes(MOST_BYTES + 1), "larger than 20 MiB"),
    ],
    ids=["text", "truncated", "long"],
)
def test_bad_uploads_are_told(opened, tmp_path, content, words):
    page = opened()
    (tmp_path / "x.png").write_bytes(content)
    page.set_input_files("#file", tmp_path / "x.png")
    page.wait_for_selector("#alert:not([hidden])")
    assert words in page.inner_text("#alert")
    page.click("#alert button")
    assert page.is_hidden("#alert")
    click(page, 0.2, 0.2)


def test_an_image_that_cannot_be_read_leaves_no_old_map(opened):
    page = opened()
    page.route("**/api/passes/0/f1", lambda route: route.fulfill(status=422, json={"error": "b.png is broken"}))
    page.click("#thumbnails button[title='b.png']")
    expect(page.locator("#alert")).to_contain_text("b.png is broken")
    assert page.is_hidden("canvas.map")
    page.click("#thumbnails button[title='a.png']")
    settled(page)
    assert page.is_hidden("#alert")
    assert page.is_visible("canvas.map")


def test_frames_of_a_clip(browser, tmp_path):
    write_video(tmp_path / "a.mp4")
    gallery = Gallery(tmp_path, [tmp_path / "a.mp4"], "video")
    with serving(build_app([make_clip_subject()], gallery)) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        settled(page)
        assert page.is_hidden("#drop")
        click(page, 0.5, 0.6)
        assert "row 3, column 2, time 1, held" in page.inner_text(".reading")
        first = page.locator("canvas.map").screenshot()
        page.locator("#frame").fill("3")
        assert page.inner_text("#time output") == "4 of 4"
        assert "time 1, held" in page.inner_text(".reading")
        assert page.locator("canvas.map").screenshot() != first
        page.locator("canvas.query").press("ArrowUp")
        settled(page)
        assert "row 2, column 2, time 2, held" in page.inner_text(".reading")


def test_without_images_one_is_asked_for(browser):
    with serving(build_app([make_subject()], Gallery())) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        expect(page.locator(".busy")).to_have_text("Choose or drop an image.")
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": encoded(photo(1))})
        settled(page)
        assert page.is_visible(".reading")


def test_phone(opened):
    page = opened(360, 740, has_touch=True, is_mobile=True, color_scheme="dark", reduced_motion="reduce")
    page.check("#compare")
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator("canvas.query").first.bounding_box()
    assert box["width"] > 250
    page.touchscreen.tap(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
    settled(page)
    assert "row 2, column 15, held" in page.locator(".reading").first.inner_text()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
