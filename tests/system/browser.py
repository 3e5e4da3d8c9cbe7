"""A real headless Chromium, driven by Playwright, and what its pictures show."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest

# Without a graphics card WebGL runs on the processor.
OPTIONS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
WIDTH, HEIGHT, PANEL = 1100, 560, 400  # pixels; the panel is at the right
BACKGROUND = 30  # brightness up to which nothing stands there
PATIENCE = 120_000  # milliseconds; drawing takes its time on a busy processor


def chromium() -> str:
    """Return where Chromium is; skips the test where there is none."""
    for name in ("chromium-headless-shell", "chromium", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium: apt-get install chromium-headless-shell, or script/bootstrap --dev")


@contextmanager
def started() -> Iterator[Any]:
    """Start Chromium. One at a time: Playwright refuses a second driver on the same thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="script/bootstrap --dev")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str) -> Iterator[Any]:
    """Open a page in a running browser; fails the test when the page's own script fails."""
    errors: list[str] = []
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.get_by_text("Colours").first.wait_for()
    # viser warns that there is no graphics card; it stands before the scene.
    page.locator(".mantine-Notification-closeButton").first.click()
    yield page
    page.close()
    assert errors == []


def field(page: Any, label: str) -> Any:
    """Return the input beside a label, which viser names but does not tie to it."""
    row = f"xpath=//label[.='{label}']/../../.."
    return page.locator(row).locator("input, textarea")


def scene_picture(page: Any) -> np.ndarray:
    """Return what the page shows of the scene, uint8 [H, W, 3] RGB, without the panel."""
    png = page.screenshot(
        timeout=PATIENCE, clip={"x": 0, "y": 0, "width": WIDTH - PANEL, "height": HEIGHT}
    )
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def brightened(before: np.ndarray, after: np.ndarray) -> float:
    """Return how many times brighter the scene has become, the median over its pixels.

    Only pixels right of the camera's window that show the scene both times count: what stands
    still on the page and the dark background would hide any change.
    """
    before, after = (
        _beside_window(picture.max(axis=2)).astype(float) for picture in (before, after)
    )
    scene = (before > BACKGROUND) & (after > BACKGROUND)
    return float(np.median(after[scene] / before[scene]))


def share(picture: np.ndarray, color: np.ndarray) -> float:
    """Return which part of what stands right of the camera's window is painted in a colour."""
    scene = _beside_window(picture.max(axis=2)) > BACKGROUND
    return float(_beside_window(painted(picture, color))[scene].mean())


def painted(picture: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Return the pixels of a label's hue in strong colour, bool [H, W]; shading does not matter."""
    wanted = cv2.cvtColor(np.uint8([[color]]), cv2.COLOR_RGB2HSV)[0, 0].astype(int)
    hue, saturation, value = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(int))
    away = np.abs(hue - wanted[0])
    return (
        (np.minimum(away, 180 - away) <= 4)
        & (np.abs(saturation - wanted[1]) <= 30)
        & (value >= 0.6 * wanted[2])
    )


def _beside_window(picture: np.ndarray) -> np.ndarray:
    """Return what lies right of the camera's window."""
    return picture[:, int(0.45 * picture.shape[1]) :]
