"""The page of a sweep: what stands in the file, and sorting, filtering, plots, map and lightbox in a real browser."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from raydream.data.storage import Folder
from raydream.data.trials import Swept, Trial
from raydream.pages import sweep
from tests.pages.browser import HOSTILE, Browser, needs_browser, plain

STATUS = ("done", "done", "done", "stopped", "failed", "done")
OBJECTIVES = ("mixed4", ["mixed3", {"layer": "mixed5", "weight": 0.5}])


def swept(input: str) -> Swept:
    space = {"step_size": "loguniform(0.001, 1)", "objective": {"choice": list(OBJECTIVES)}}
    base = {"objective": "mixed4"}
    return Swept(
        input=input,
        probes=("a.png", HOSTILE.replace("/", "")),
        trials=6,
        search="random",
        metric="gain",
        base=base,
        space=space,
    )


def trial(number: int, probes: tuple[str, ...]) -> Trial:
    """The gain falls with the number, the likeness rises; trial 5 is worse than trial 2 in both."""
    status, size = STATUS[number], round(0.001 * 4**number, 6)
    scores = {"gain": 3.0 - number, "ssim": 0.2 * (number + 1) if number < 5 else 0.1, "color_shift": 3.0}
    scores |= {"motif": 7.0, "strength": 0.07 * number, "seam": 1.0, "seconds": 1.0}
    failed = status == "failed"
    return Trial(
        number=number,
        parameters={"step_size": size, "objective": OBJECTIVES[number % 2]},
        status=status,  # type: ignore[arg-type]
        recipe={"step_size": size, "objective": OBJECTIVES[number % 2]},
        scores={} if failed else scores,
        gains={} if failed else {"mixed3": 3.0 - number, "mixed5": 1.0},
        reports=((1, 1.0),),
        pictures={} if failed else {id: f"pictures/{number:04d}/{n}.png" for n, id in enumerate(probes)},
        error=HOSTILE if failed else "",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of six trials on two photographs."""
    folder = tmp_path_factory.mktemp("sweep")
    known = swept(str(folder / "photographs"))
    photographs, out = Folder(known.input), Folder(str(folder / "out"))
    for id in known.probes:
        photographs.write(id, plain(80, 60, "#204080"))
    trials = [trial(number, known.probes) for number in range(6)]
    for one in trials:
        for name in one.pictures.values():
            out.write(name, plain(80, 60, f"#{40 * one.number + 20:02x}8040"))
    sweep.write(out, known, trials)
    return folder / "out" / sweep.NAME


def test_the_file_refers_to_nothing_and_runs_no_foreign_text(written: Path) -> None:
    html = written.read_text()
    data = html.partition('id="data">')[2].partition("</script>")[0]
    assert "<" not in data
    rows = json.loads(data)["trials"]
    assert [row["front"] for row in rows] == [True, True, True, False, False, False]
    assert rows[1]["texts"]["objective"] == "mixed3 + mixed5 (weight 0.5)"
    assert rows[4]["error"] == HOSTILE
    assert "best</dt>" not in html
    assert "<dt>best<dd>trial 0: 3<" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_pictures_that_are_gone_are_left_out(tmp_path: Path) -> None:
    known = swept(str(tmp_path / "gone"))
    sweep.write(Folder(str(tmp_path)), known, [trial(0, known.probes)])
    data = json.loads((tmp_path / sweep.NAME).read_text().partition('id="data">')[2].partition("</script>")[0])
    assert data["trials"][0]["pictures"] == [None, None]


def test_the_photograph_is_shown_as_it_is_dreamed(tmp_path: Path) -> None:
    """Upright, although the camera was turned, and at the size of the recipe."""
    known = replace(swept(str(tmp_path / "photographs")), base={"objective": "mixed4", "size": 30})
    turned, file = Image.Exif(), io.BytesIO()
    turned[0x0112] = 6  # orientation
    Image.new("RGB", (80, 60)).save(file, "JPEG", exif=turned)
    Folder(known.input).write(known.probes[0], file.getvalue())
    Folder(known.input).write(known.probes[1], file.getvalue()[:200])
    sweep.write(Folder(str(tmp_path / "my out")), known, [])
    html = (tmp_path / "my out" / sweep.NAME).read_text()
    data = json.loads(html.partition('id="data">')[2].partition("</script>")[0])
    (upright, broken) = (probe["picture"] for probe in data["probes"])
    assert (upright["width"], upright["height"]) == (30, 40)
    assert broken is None
    assert data["command"] == "raydream sweep photographs OUT --around 'my out':"


@pytest.fixture
def opened(browser: Browser, written: Path) -> Iterator[Browser]:
    browser.open(written)
    yield browser
    assert browser.complaints() == []


NAMES = "document.querySelectorAll('.card:not([hidden]) .name span:first-child')"
ORDER = f"[...{NAMES}].map(name => +name.textContent.slice(6)).join()"


def sort_by(browser: Browser, name: str) -> Any:
    select = "document.getElementById('sort')"
    browser.js(f"{select}.value = '{name}'; {select}.dispatchEvent(new Event('change'))")
    return browser.js(ORDER)


def search(browser: Browser, text: str) -> Any:
    field = "document.getElementById('search')"
    browser.js(f"{field}.value = {json.dumps(text)}; {field}.dispatchEvent(new Event('input'))")
    return browser.js(ORDER)


@needs_browser
def test_trials_are_sorted_by_scores_and_parameters(opened: Browser) -> None:
    assert opened.js(ORDER) == "0,1,2,5,3,4", "the metric, best first; what is not done comes last"
    assert sort_by(opened, "ssim") == "2,1,0,5,3,4"
    opened.js("document.getElementById('turn').click()")
    assert opened.js(ORDER) == "5,0,1,2,3,4"
    assert sort_by(opened, "step_size") == "0,1,2,3,4,5"
    assert sort_by(opened, "objective") == "0,2,4,1,3,5"
    assert sort_by(opened, "number") == "0,1,2,3,4,5"


@needs_browser
def test_trials_are_filtered_by_words_comparisons_and_chips(opened: Browser) -> None:
    count = "document.getElementById('count').value"
    assert opened.js(count) == "6 trials"
    assert search(opened, "MIXED5") == "1,5,3"
    assert search(opened, "gain>1.5") == "0,1"
    assert search(opened, "gain>=2 step_size>0.003") == "1"
    assert search(opened, "ssim<0.3 mixed4") == "0"
    assert search(opened, "failed") == "4"
    assert search(opened, "no such") == ""
    assert opened.js("document.getElementById('nothing').hidden") is False
    assert search(opened, "") == "0,1,2,5,3,4"
    chips = "[...document.querySelectorAll('#chips button')]"
    assert opened.js(f"{chips}.map(chip => chip.textContent).join()") == (
        "done 4,stopped 1,failed 1,mixed4 3,mixed3 + mixed5 (weight 0.5) 3"
    )
    opened.js(f"{chips}[3].click()")
    assert opened.js(f"[{ORDER}, {count}]") == ["0,2,4", "3 of 6"]
    assert opened.js("document.querySelectorAll('#plots .plot.large .dot:not(.faint)').length") == 2
    opened.js(f"{chips}[0].click()")
    assert opened.js(ORDER) == "0,2"
    opened.js(f"{chips}[0].click(); {chips}[3].click()")
    assert opened.js(ORDER) == "0,1,2,5,3,4"


@needs_browser
def test_lists_of_numbers_are_sorted_and_compared_as_numbers(browser: Browser, tmp_path: Path) -> None:
    known = replace(swept(str(tmp_path)), space={"chroma": {"grid": [0.5, 0.25, 1]}})
    values = known.space["chroma"]["grid"]
    trials = [replace(trial(number, known.probes), parameters={"chroma": values[number]}) for number in range(3)]
    sweep.write(Folder(str(tmp_path)), known, trials)
    browser.open(tmp_path / sweep.NAME)
    assert sort_by(browser, "chroma") == "1,0,2"
    assert search(browser, "chroma<0.6") == "1,0"
    assert search(browser, "chroma=1") == "2"
    assert browser.complaints() == []


@needs_browser
def test_plots_have_a_dot_for_each_trial_and_the_front(opened: Browser) -> None:
    dots = "[...document.querySelectorAll('#plots .plot')].map(plot => plot.querySelectorAll('.dot').length).join()"
    assert opened.js(dots) == "5,0,5,5", "the failed trial has no scores"
    front = "document.querySelector('.front').getAttribute('points').split(' ').length"
    assert opened.js(front) == 3
    across = "document.querySelectorAll('.plot.large select')[1]"
    opened.js(f"{across}.value = 'motif'; {across}.dispatchEvent(new Event('change'))")
    assert opened.js("document.querySelector('.front')") is None, "no motif is better than another"
    opened.js("document.querySelector('#plots .dot').dispatchEvent(new MouseEvent('click'))")
    assert opened.js("document.querySelector('#caption .name').firstChild.textContent") == "Trial 0"


@needs_browser
def test_the_map_has_the_best_trial_of_each_cell(opened: Browser) -> None:
    cells = "[...document.querySelectorAll('#map button')].map(button => button.title).join()"
    assert opened.js(cells) == "Trial 0: 3,Trial 1: 2,Trial 2: 1,Trial 5: -2"
    assert opened.js("document.querySelectorAll('#map table').length") == 4
    opened.js("document.querySelector('#map button').click()")
    more = opened.js("document.getElementById('caption').textContent")
    assert "raydream sweep photographs OUT --around out:0" in more
    assert "step_size: 0.001" in more


@needs_browser
def test_the_lightbox_turns_to_other_trials_and_photographs(opened: Browser) -> None:
    opened.js("document.querySelector('.card .zoom').click()")
    opened.until("document.getElementById('lightbox').open")
    name, place = "document.querySelector('#caption .name')", "document.getElementById('place')"
    shown = f"[{name}.firstChild.textContent, {place}.textContent]"
    assert opened.js(shown) == ["Trial 0", "1 of 6"]
    assert opened.js("document.querySelectorAll('#stage img').length") == 2
    opened.key("ArrowRight", 39)
    assert opened.js(shown) == ["Trial 1", "2 of 6"]
    opened.key("ArrowLeft", 37)
    opened.key("ArrowLeft", 37)
    assert opened.js(shown) == ["Trial 4", "6 of 6"]
    assert opened.js("document.querySelector('#stage p').textContent") == HOSTILE
    opened.key("ArrowDown", 40)
    probe = "document.querySelector('#probes :checked').value"
    assert opened.js(probe) == "1"
    opened.key("Escape", 27)
    opened.until("!document.getElementById('lightbox').open")
    assert opened.js("document.title") == "Sweep"
