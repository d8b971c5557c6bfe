"""The page of the explorer, served and looked at: what a reader does, and the colours he sees."""

import threading
from contextlib import contextmanager

import matplotlib
import numpy as np
import uvicorn
from playwright.sync_api import expect

from gcnet.explorer.cli import listen
from tests.explorer.networks import GRID, expected_map, make_subject, photo


@contextmanager
def serving(app):
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def settled(page):
    """Wait until every pane shows the answer to its newest query."""
    expect(page.locator(".pane:not([data-settled])")).to_have_count(0)


def click(page, x, y, pane=0):
    """At a place from 0 to 1."""
    canvas = page.locator("canvas.query").nth(pane)
    box = canvas.bounding_box()
    canvas.click(position={"x": x * box["width"], "y": y * box["height"]})
    settled(page)


def pixels(page, pane=0):
    """Colours in the middle of every key of the block 1: [GRID, GRID, 3]."""
    values = (
        page.locator("canvas.map")
        .nth(pane)
        .evaluate(
            """(canvas, count) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const at = (index, side) => Math.floor((index + 0.5) * side / count);
            const cells = Array.from({ length: count * count }, (_, index) =>
                4 * (at(Math.floor(index / count), canvas.height) * canvas.width + at(index % count, canvas.width)));
            return cells.map((cell) => [...data.slice(cell, cell + 3)]);
        }""",
            GRID,
        )
    )
    return np.array(values).reshape(GRID, GRID, 3)


def bare(page):
    """The map without the picture below it."""
    page.locator("#opacity").fill("1")


def expected_pixels(model, image, query, scale=lambda shares: shares):
    weights = expected_map(make_subject(model).net, photo(image))[query].numpy()
    colours = matplotlib.colormaps["inferno"](scale(weights / weights.max()), bytes=True)[:, :3].astype(int)
    return colours.reshape(GRID, GRID, 3)
