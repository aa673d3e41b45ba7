"""A real headless Chromium that opens pages from the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_S = 30.0


def missing() -> str:
    """Why no page can be opened here; empty where one can."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    if _chromium() is None:
        return "Chromium is not installed (Debian: apt-get install chromium chromium-driver)"
    return (
        ""
        if shutil.which("chromedriver")
        else "chromedriver is not installed (Debian: apt-get install chromium-driver)"
    )


@contextmanager
def browser(width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """A driver of selenium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_chromium())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (
            "--headless=new", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
            f"--user-data-dir={profile}", f"--window-size={width},{height}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ):  # fmt: skip
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            resize(driver, width, height)
            wants = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
            features = [{"name": name, "value": value} for name, value in wants.items()]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            yield driver
        finally:
            driver.quit()


def resize(driver: Any, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def show(driver: Any, page: Path) -> float:
    """Open a page of ours, wait until all of it is drawn, and return the milliseconds that this took."""
    driver.get(page.resolve().as_uri())
    end_s = time.monotonic() + READY_S
    while time.monotonic() < end_s:
        ready = driver.execute_script("return document.documentElement.dataset.ready")
        if ready:
            return float(ready)
        time.sleep(0.02)
    raise AssertionError(f"{page} was not drawn within {READY_S:g} s: {driver.get_log('browser')}")


def _chromium() -> Path | None:
    from autocompress.search.report.html.browser import find_chromium

    return find_chromium()


def find(page: Any, selector: str) -> list[Any]:
    found: list[Any] = page.find_elements("css selector", selector)
    return found


def text(page: Any, selector: str) -> str:
    return " ".join(element.text for element in find(page, selector))


def click_point(page: Any, number: int) -> None:
    """Click with the mouse where a trial lies on the chart."""
    from selenium.webdriver.common.action_chains import ActionChains

    point = page.execute_script(
        "const row = JSON.parse(document.getElementById('data').textContent).trials.number.indexOf(arguments[0]);"
        "const found = document.querySelector(`#chart .point[data-row='${row}']`);"
        "document.getElementById('chart').scrollIntoView({block: 'center', behavior: 'instant'}); return found",
        number,
    )
    ActionChains(page).move_to_element(point).click().perform()


def slide(page: Any, step: int) -> None:
    page.execute_script(
        "const b = document.getElementById('budget'); b.value = arguments[0]; b.dispatchEvent(new Event('input'))", step
    )


def opened(driver: Any, record: Any, path: Path) -> None:
    """Show the report of a record, which must not make an error."""
    from autocompress.search.report.html.build import write_report

    write_report(record, path)
    driver.get("about:blank")
    driver.get_log("browser")
    show(driver, path)
    assert [line["message"] for line in driver.get_log("browser")] == []
