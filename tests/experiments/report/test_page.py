"""The page in a real browser: it sorts, filters and shows its pictures; nothing is complained of or asked for."""

import json

import pytest
from helpers.browser import browser, program

pytestmark = pytest.mark.skipif(program() is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser") / "profile") as page:
        page.open(report[0] / "index.html")
        yield page


def column(page, name):
    """What stands in a column, from above, of rows that are shown."""
    return page.evaluate(
        "(name => { const table = document.querySelector('table.sortable');"
        "const at = [...table.tHead.rows[0].cells].findIndex(head => head.textContent.startsWith(name));"
        "return [...table.tBodies[0].rows].filter(row => row.offsetParent !== null)"
        ".map(row => row.cells[at].textContent.trim()); })"
        f"({json.dumps(name)})"
    )


def head(name):
    return (
        "[...document.querySelectorAll('table.sortable thead button')]"
        f".find(each => each.textContent.startsWith({json.dumps(name)}))"
    )


def test_a_click_sorts(page):
    page.evaluate(f"{head('hidden_size')}.click()")
    assert column(page, "hidden_size") == ["8", "8", "8", "16", "16", "128", "999", "", ""], "as numbers"
    assert page.evaluate(f"{head('hidden_size')}.parentElement.ariaSort") == "ascending"
    page.evaluate(f"{head('hidden_size')}.click()")
    assert column(page, "hidden_size") == ["999", "128", "16", "16", "8", "8", "8", "", ""], "empty ones last"
    assert page.evaluate("document.querySelectorAll('[aria-sort]').length") == 1


def test_so_does_a_key(page):
    page.evaluate(f"{head('mse')}.focus()")
    page.press("Enter", "\r")
    figures = [float(each.split()[0]) for each in column(page, "mse")[:-1]]
    assert figures == sorted(figures)
    assert len(figures) == 8
    assert page.evaluate(f"{head('mse')}.parentElement.ariaSort") == "ascending"


def test_the_filter(page):
    for words, shown in (("LSTM hidden_size=128", 1), ("persistence", 1), ("nothing", 0), ("", 9)):
        page.evaluate(f"filter.value = {json.dumps(words)}; filter.dispatchEvent(new Event('input'))")
        assert len(column(page, "runs")) == shown
        runs = page.evaluate("[...document.querySelectorAll('details.run')].filter(run => !run.hidden).length")
        assert runs == {9: 7}.get(shown, shown - (words == "persistence"))


def test_the_pictures_are_there(page):
    """Also those of runs whose details are closed."""
    sizes = page.evaluate(
        "Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth)))"
    )
    assert len(sizes) == 3 + 6
    assert sizes.count(4) == 6
    assert min(sizes) > 0


def test_a_link_opens_a_run(page):
    link = page.evaluate("document.querySelector('tbody th a').click(); document.querySelector('tbody th a').hash")
    opened = page.evaluate(
        "new Promise(done => setTimeout(() => done([...document.querySelectorAll('details.run')]"
        ".filter(run => run.open).map(run => run.id)), 100))"
    )
    assert [f"#{each}" for each in opened] == [link]


def test_it_is_readable_on_a_phone(page):
    """Tables scroll within the page, and nothing else is wider than it."""
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.call("Emulation.clearDeviceMetricsOverride")


def test_nobody_complains_and_nothing_is_asked_for(page, report):
    """The last, after all that was clicked; and complaints are noticed."""
    assert page.complaints == []
    assert {request.split(":")[0] for request in page.requests} == {"file", "data"}
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://localhost:9/x.png'})); undefined")
    page.evaluate("new Promise(done => setTimeout(() => done(1), 300))")
    assert any("Content Security Policy" in each for each in page.complaints)
