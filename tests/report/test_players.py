"""The players in a browser: versions that are switched at the same instant, keys, and sounds inside and beside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.browser import wait_until
from support.example_evaluation import SYSTEMS

from vocoder.evaluation.results import Evaluation

pytestmark = pytest.mark.xdist_group("browser")  # one browser at a time
TRANSPORT = "utteranceList.items[0].transport"


@pytest.fixture(params=["inside", "beside"])
def page(request: pytest.FixtureRequest, open_page: Callable[..., Any]) -> Any:
    """A report with its first utterance open, in the order of the evaluation."""
    found = open_page(request.getfixturevalue("report" if request.param == "inside" else "report_beside"))
    found.select_option("#order", "given")
    found.click(".utterance > summary >> nth=0")
    return found


def play(page: Any) -> None:
    page.click(".utterance[open] .play")
    wait_until(page, f"{TRANSPORT}.playback.playing && {TRANSPORT}.playback.position > 0.05")


def test_all_versions_load_with_their_duration(page: Any, example: tuple[Path, Evaluation]) -> None:
    play(page)
    durations = page.evaluate(
        f"({TRANSPORT}.playback.buffers ?? {TRANSPORT}.playback.elements).map((sound) => sound.duration)"
    )
    assert durations == pytest.approx([example[1].utterances[0].seconds] * len(SYSTEMS), abs=0.001)


def test_a_switch_keeps_the_position(page: Any) -> None:
    play(page)
    for key in "3142":
        jump = page.evaluate(
            f"""(key) => {{
                const before = {TRANSPORT}.playback.position;
                const event = new KeyboardEvent("keydown", {{ key, bubbles: true }});
                document.querySelector(".utterance[open] .player").dispatchEvent(event);
                return {TRANSPORT}.playback.position - before;
            }}""",
            key,
        )
        assert abs(jump) < 0.05
        assert page.locator(".version-button[aria-pressed=true]").all_inner_texts()[0].startswith(key)
        page.wait_for_timeout(60)


def test_a_switch_is_exact_to_the_sample(
    open_page: Callable[..., Any], report: Path, example: tuple[Path, Evaluation]
) -> None:
    """What is heard, rendered offline: the first version, from the switch on the third."""
    page = open_page(report)
    page.select_option("#order", "given")
    page.click(".utterance > summary >> nth=0")
    heard = page.evaluate(
        f"""async () => {{
            const playback = {TRANSPORT}.playback;
            const context = new OfflineAudioContext(1, 16000, 16000);
            playback.context = context;
            const decode = (uri) => context.decodeAudioData(decodeBase64(uri));
            playback.buffers = await Promise.all(playback.uris.map(decode));
            playback.seconds = playback.buffers[0].duration;
            playback.play();
            context.suspend(0.512).then(() => {{ playback.select(2); context.resume(); }});
            return Array.from((await context.startRendering()).getChannelData(0));
        }}"""
    )
    folder, evaluation = example
    renditions = evaluation.utterances[0].renditions
    first, third = (soundfile.read(folder / renditions[SYSTEMS[index].name].wav)[0] for index in (0, 2))
    lead = 160  # samples of silence before the common start
    assert np.abs(np.array(heard[lead:8000]) - first[: 8000 - lead]).max() < 1e-3
    assert np.abs(np.array(heard[9000:]) - third[9000 - lead : 16000 - lead]).max() < 1e-3


def test_keys_play_pause_and_seek(page: Any) -> None:
    page.keyboard.press("Space")  # the focus is on the summary, whose own key it is
    assert not page.evaluate("utteranceList.items[0].root.open")
    page.keyboard.press("Space")
    page.click(".utterance[open] .version-button >> nth=1")
    page.keyboard.press("Space")  # on a version that is heard already
    wait_until(page, f"{TRANSPORT}.playback.playing")
    page.keyboard.press("Space")
    wait_until(page, f"!{TRANSPORT}.playback.playing")
    page.evaluate(f"{TRANSPORT}.seek(0.1)")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{TRANSPORT}.playback.position") == pytest.approx(1.1, abs=0.05)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(f"{TRANSPORT}.playback.position") == 0
    page.fill("#filter", "1 2")  # keys in a text are text
    assert page.input_value("#filter") == "1 2"


def test_a_click_on_a_picture_goes_there_and_moves_the_cursor(page: Any, example: tuple[Path, Evaluation]) -> None:
    picture = page.locator(".utterance[open] .picture.mel >> nth=2")
    picture.scroll_into_view_if_needed()
    width = picture.bounding_box()["width"]
    picture.click(position={"x": width / 4, "y": 60})
    seconds = example[1].utterances[0].seconds
    assert page.evaluate(f"{TRANSPORT}.playback.position") == pytest.approx(seconds / 4, abs=0.01)
    assert page.evaluate("document.querySelector('.pictures').style.getPropertyValue('--position')").startswith("25")
    assert page.locator(".rendition.heard figcaption").inner_text().startswith(SYSTEMS[2].name)


def test_playing_ends_at_the_end_or_loops(page: Any) -> None:
    play(page)
    page.evaluate(f"{TRANSPORT}.seek({TRANSPORT}.seconds - 0.15)")
    wait_until(page, f"!{TRANSPORT}.playback.playing")
    assert page.locator(".utterance[open] .play").inner_text() == "Play"
    wait_until(page, f"{TRANSPORT}.playback.position === 0")
    page.check(".utterance[open] .check:has-text('Loop') input")
    play(page)
    page.evaluate(f"{TRANSPORT}.seek({TRANSPORT}.seconds - 0.15)")
    wait_until(page, f"{TRANSPORT}.playback.position < 0.5 && {TRANSPORT}.playback.playing")


def test_equal_loudness_attenuates_to_the_quietest(page: Any) -> None:
    page.check(".utterance[open] .check:has-text('Equal loudness') input")
    gains = np.array(page.evaluate(f"{TRANSPORT}.playback.levels"))
    loudness = np.array(page.evaluate(f"{TRANSPORT}.versions.map((version) => version.loudness)"))
    assert gains.max() == 1
    assert gains.min() < 0.8  # of the model that is 1.3 times as loud
    assert loudness + 20 * np.log10(gains) == pytest.approx(loudness.min(), abs=1e-6)


def test_every_picture_is_there_and_faults_are_marked_by_name(page: Any) -> None:
    page.evaluate("document.querySelectorAll('img').forEach((image) => (image.loading = 'eager'))")
    wait_until(page, "[...document.images].every((image) => image.complete)")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 1 && image.alt)")
    assert page.locator(".picture.wave").count() == len(SYSTEMS)
    assert page.locator(".picture.mel").count() == len(SYSTEMS)
    assert page.locator(".picture.difference").count() == len(SYSTEMS) - 1
    assert set(page.locator(".mark-label").all_inner_texts()) == {"click", "clipping", "collapse"}
    page.click(".faults button:has-text('click at') >> nth=0")
    start = page.evaluate("readJson('media-0').versions['wavenet-large'].faults[0][1]")
    assert page.evaluate(f"{TRANSPORT}.playback.position") == pytest.approx(start - 0.2, abs=0.01)


def test_only_one_player_sounds_at_a_time(page: Any) -> None:
    play(page)
    page.click(".utterance > summary >> nth=2")
    page.click(".utterance[open] .play >> nth=1")
    wait_until(page, "utteranceList.items[2].transport.playback.playing")
    assert not page.evaluate(f"{TRANSPORT}.playback.playing")


def test_a_lost_file_is_reported_on_the_page(browser: Any, report_beside: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.html"
    moved.write_bytes(report_beside.read_bytes())
    page = browser.new_page()
    page.goto(moved.as_uri())
    page.click(".utterance > summary >> nth=0")
    page.click(".utterance[open] .play")
    page.wait_for_selector(".message:has-text('cannot play')")
    page.close()
