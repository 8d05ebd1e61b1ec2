"""The page for everyone: contrast, names of controls, headings, keyboard, small screens, reduced motion."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("browser")

# Texts whose contrast with what is behind them (WCAG 2.2, 1.4.3) is below 4.5, as "ratio text"
LOW_CONTRAST = """() => {
    const channels = (text) => {
        const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
        return { rgb: [r, g, b], a };
    };
    const behind = (node) => {
        if (!node) return [255, 255, 255];
        const { rgb, a } = channels(getComputedStyle(node).backgroundColor);
        if (a === 1) return rgb;
        const below = behind(node.parentElement);
        return rgb.map((value, index) => a * value + (1 - a) * below[index]);
    };
    const luminance = (rgb) => {
        const decode = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        const linear = rgb.map((value) => decode(value / 255));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const low = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let seen = 0;
    while (walker.nextNode()) {
        const parent = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        if (!text || !parent.checkVisibility() || parent.closest("script, style, .unseen, .skip")) continue;
        seen++;
        const pair = [luminance(channels(getComputedStyle(parent).color).rgb), luminance(behind(parent))];
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${text.slice(0, 30)}`);
    }
    return { low, seen };
}"""

# Controls without a name for assistive technology
NAMELESS = """() => [...document.querySelectorAll("button, input, select, a, summary, [tabindex='0'], output")]
    .filter((node) => !(node.ariaLabel || node.innerText?.trim() || node.labels?.[0]?.innerText.trim()))
    .map((node) => node.outerHTML.slice(0, 80))"""


def opened(page: Any) -> Any:
    """The page with everything unfolded that can be."""
    page.click(".utterance > summary >> nth=0")
    page.click(".utterance[open] .values > summary")
    page.click(".glossary > summary")
    page.click("#preference [type=submit]")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("toggled", [False, True])
def test_all_text_has_contrast_in_both_themes(
    scheme: str, toggled: bool, open_page: Callable[..., Any], report: Path
) -> None:
    page = opened(open_page(report, color_scheme=scheme))
    if toggled:
        page.click("#theme")
    found = page.evaluate(LOW_CONTRAST)
    assert found["seen"] > 150
    assert found["low"] == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = int(background.split("(")[1].split(",")[0]) < 128
    assert is_dark == ((scheme == "dark") != toggled)
    assert page.get_attribute("#theme", "aria-pressed") == str(is_dark).lower()


def test_the_theme_is_remembered(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report, color_scheme="light")
    page.click("#theme")
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"


def test_every_control_has_a_name_and_every_id_is_unique(open_page: Callable[..., Any], report: Path) -> None:
    page = opened(open_page(report))
    assert page.evaluate(NAMELESS) == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    targets = page.evaluate(
        "[...document.querySelectorAll('[aria-labelledby]')].map((n) => n.getAttribute('aria-labelledby'))"
    )
    assert set(targets) <= set(ids)
    assert page.get_attribute("html", "lang") == "en"


def test_headings_are_in_order(open_page: Callable[..., Any], report: Path) -> None:
    page = opened(open_page(report))
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((node) => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_does_not_scroll_sideways(width: int, open_page: Callable[..., Any], report: Path) -> None:
    page = opened(open_page(report, width=width))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    inner = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.scroll')].map((n) => n.scrollWidth - n.clientWidth))"
    )
    assert inner > 0  # tables do, in their boxes


def test_the_skip_link_is_first_and_focus_is_visible(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(8):
        page.keyboard.press("Tab")
        style = page.evaluate("getComputedStyle(document.activeElement).outline")
        assert "solid 2px" in style


def test_an_utterance_opens_by_keyboard(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report)
    page.focus(".utterance > summary")
    page.keyboard.press("Enter")
    page.wait_for_selector(".utterance[open] .version-button")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "version-button"
    page.keyboard.press("4")
    assert page.inner_text(".utterance[open] .version-button[aria-pressed=true]").endswith("wavenet-large")


def test_nothing_moves_where_motion_is_unwelcome(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report, reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
