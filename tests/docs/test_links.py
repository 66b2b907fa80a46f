"""Every link, file and dotted name in a Markdown page leads somewhere, and the README's tree is that of the project."""

import re

import pytest
from helpers.markdown import ROOT, anchors, links, pages, spans

ROOMS = ("rnn_jax", "experiments", "benchmarks", "examples", "docs", "tests")
PATH = re.compile(rf"(?:{'|'.join(ROOMS)})/[\w./]+")
DOTTED = re.compile(r"(?:rnn_jax|experiments|benchmarks|docs)(?:\.\w+)+")
OTHER_NAMES = {"docs/adding.md", "CHANGELOG.md"}
"""Pages that also name files which the reader makes (`test_adding.py` follows them), or what was."""

PAGES = {str(path.relative_to(ROOT)): path for path in pages()}


def broken_links(page, text):
    found = []
    for link in links(text):
        if "://" in link.target:
            continue
        target, _, anchor = link.target.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            found.append(link.target)
    return found


def is_there(dotted):
    """Whether a dotted name is a module, or a name in one."""
    *parts, last = dotted.split(".")
    folder = ROOT.joinpath(*parts)
    if (folder / last).is_dir() or (folder / f"{last}.py").is_file():
        return True
    files = [folder.with_suffix(".py"), folder / "__init__.py"]
    return any(re.search(rf"\b{last}\b", file.read_text(encoding="utf-8")) for file in files if file.is_file())


def test_all_pages_are_found():
    assert {"README.md", "CHANGELOG.md", "docs/bptt.md", "experiments/README.md", "benchmarks/README.md"} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    assert broken_links(PAGES[name], PAGES[name].read_text(encoding="utf-8")) == []


def test_a_broken_link_is_noticed():
    text = "[a](docs/bptt.md) [b](nowhere.md) [c](docs/bptt.md#nothing) ![d](docs/no.png) `[e](f.md)` [g](#h)\n# H"
    assert broken_links(ROOT / "README.md", text) == ["nowhere.md", "docs/bptt.md#nothing", "docs/no.png", "#h"]


@pytest.mark.parametrize("name", sorted(PAGES.keys() - OTHER_NAMES))
def test_files_and_names_in_code_are_there(name):
    found = spans(PAGES[name].read_text(encoding="utf-8"))
    assert [span for span in found if PATH.fullmatch(span) and not (ROOT / span).exists()] == []
    assert [span for span in found if DOTTED.fullmatch(span) and not is_there(span)] == []


def test_a_name_that_is_not_there_is_noticed():
    assert is_there("rnn_jax.cells.lstm")
    assert is_there("rnn_jax.models.make_gradient_flow")
    assert not is_there("rnn_jax.sequence")
    assert not is_there("rnn_jax.cells.lstm.no_such_name")


def tree():
    """The entries of the README's tree, as paths; a line that goes on has no entry."""
    block = re.search(r"```\n(launch\.py .*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert block is not None
    room, found = "", []
    for line in block[1].splitlines():
        inside, name = re.match(r"( *)(\S+)", line).groups()
        if len(inside) > 2:
            continue
        found.append(f"{room}{name}" if inside else name)
        room = room if inside else name
    return found


def test_the_tree_of_the_readme():
    """What it lists is there, and what is in the library and the experiments is listed, under itself or its folder."""
    listed = tree()
    assert [name for name in listed if not (ROOT / name).exists()] == []
    there = {
        f"{room}/{path.name}{'/' * path.is_dir()}"
        for room in ("rnn_jax", "experiments")
        for path in (ROOT / room).iterdir()
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
    }
    deeper = {f"rnn_jax/{name.split('/')[1]}/" for name in listed if name.count("/") > 2}
    named_elsewhere = {"experiments/imdb.py", "experiments/ntc_scv.py"}  # beside text/
    assert there - set(listed) - deeper - named_elsewhere == set()
