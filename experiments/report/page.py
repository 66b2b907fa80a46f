"""The page of a report: one file that needs no other and no network.

What comes from run folders is text that is escaped, or a PNG as a `data:` URI. Besides, the page forbids itself all
that it does not need: by its Content-Security-Policy nothing is loaded, and no script runs but `page.js`.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from experiments.report import text
from experiments.report.figures import Drawn
from experiments.report.page_table import table_html
from experiments.report.reading import Damaged, Run, Unread, picture
from experiments.report.significance import LEVEL
from experiments.report.tables import Table

HERE = Path(__file__).parent
LARGEST_PICTURE = 4 * 2**20
"""Bytes of one picture."""
TESTS = (
    f"± is the standard deviation over n seeds. Differences have their {LEVEL:.0%} interval, each by itself. p is "
    "two-sided and corrected by Holm's method for all comparisons with the same row: paired by seed where seeds are "
    "shared, and then of those seeds alone, Welch's test otherwise. The best row was picked by these same figures, so "
    "that its lead is overstated. With fewer than five seeds p rests on the assumption that figures are normally "
    "distributed, which so few cannot show; an interval that holds 0 does not say that two rows are equal."
)


class Report(NamedTuple):
    """All that a page shows.

    Attributes:
        tables: with `drawn`, the plots of each.
        unread: folders that are no runs, and why.
        parent: the folder that names of runs are seen from.
        command: that made the report.
        remarks: what else to know.
        budget: bytes of the runs' pictures.
    """

    tables: Sequence[Table]
    drawn: Sequence[Sequence[Drawn]]
    unread: Sequence[Unread]
    parent: Path
    command: str
    remarks: Sequence[str]
    budget: float


def make(report: Report) -> str:
    """The page."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    names = {run.folder: f"run-{at}" for at, run in enumerate(run for table in report.tables for run in table.runs)}
    parts = [_head(report)]
    for number, (table, drawn) in enumerate(zip(report.tables, report.drawn, strict=True), 1):
        parts.append(_section(number, table, drawn, names, report.parent))
    parts.append(_runs(report, names))
    if report.unread:
        parts.append(_unread(report))
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(_title(report))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _hash(source: str) -> str:
    """By which the policy knows a style or a script of the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _title(report: Report) -> str:
    return f"Report: {', '.join(dict.fromkeys(table.experiment for table in report.tables))}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _head(report: Report) -> str:
    runs = [run for table in report.tables for run in table.runs]
    finished = sum(run.finished for run in runs)
    counts = [_count(finished, "finished run")]
    if finished < len(runs):
        counts.append(f"{len(runs) - finished:,} not finished")
    if report.unread:
        counts.append(f'<a href="#unread">{_count(len(report.unread), "folder")} not read</a>')
    links = ""
    if len(report.tables) > 1:
        links = "".join(f'<a href="#table-{i}">{escape(table.title)}</a>' for i, table in enumerate(report.tables, 1))
        links = f'<nav aria-label="Tables">{links}</nav>'
    remarks = "".join(f'<p class="remark">{escape(remark)}</p>' for remark in report.remarks)
    return (
        f'<header>\n<h1>{escape(_title(report))}</h1>\n<p class="counts">{" · ".join(counts)}</p>\n'
        f'<p class="command"><code>{escape(report.command)}</code></p>\n{remarks}{links}\n'
        '<label class="filter">Filter <input type="search" id="filter" placeholder="a word of a row, like lstm"'
        ' autocomplete="off"></label> <output id="shown" for="filter"></output>\n</header>'
    )


def _section(number: int, table: Table, drawn: Sequence[Drawn], names: Mapping[Path, str], parent: Path) -> str:
    lines = [f'<section id="table-{number}">\n<h2>{escape(table.title)}</h2>', _summary(table)]
    lines.append(table_html(table, names, parent))
    lines += [f'<p class="remark">{escape(remark)}</p>' for remark in table.remarks]
    if any(against.comparisons for against in table.against):
        lines.append(f'<p class="note">{escape(TESTS)}</p>')
    if table.same:
        count = _count(len(table.same), "flag")
        lines.append(
            f'<details class="same"><summary>{count} the same in all runs</summary>{_flags(table.same)}</details>'
        )
    if drawn:
        pictures = "".join(_figure(each.path.read_bytes(), each.caption) for each in drawn)
        lines.append(f'<div class="plots">{pictures}</div>')
    return "\n".join(lines) + "\n</section>"


def _summary(table: Table) -> str:
    """The main result, in a sentence."""
    rows = {row.label: row for row in table.rows}
    if not table.metric:
        return "<p>No run is finished yet.</p>"
    if table.best is None:
        return f"<p>{escape(table.metric)}, of which neither more nor less is better.</p>"
    shown = f"<strong>{escape(table.best)}</strong> has the best {escape(table.metric)}, "
    shown += f"{escape(text.figure(rows[table.best], table.metric))} ({table.better} is better)"
    if (baseline := table.best_baseline) is not None:
        ahead = table.rows.index(baseline) < table.rows.index(rows[table.best])
        shown += f"; the best baseline, {escape(baseline.label)}, is {'ahead' if ahead else 'behind'} with "
        shown += escape(text.figure(baseline, table.metric))
    return f"<p>{shown}.</p>"


def _flags(flags: Mapping[str, str]) -> str:
    shown = "\n".join(f"--{name}={value}" for name, value in flags.items())
    return f"<pre>{escape(shown)}</pre>"


def _figure(png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode()
    image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _runs(report: Report, names: Mapping[Path, str]) -> str:
    """Every run: what it says of itself, its flags that differ, its pictures until the budget is spent."""
    left = report.budget
    lines = ['<section id="runs">\n<h2>Runs</h2>']
    for table in report.tables:
        for row in table.rows:
            for run in row.runs:
                figures, left = _pictures(run, left)
                place = escape(text.place(run.folder, report.parent))
                kind = "finished" if run.finished else text.state(row._replace(runs=(run,)))
                words = escape(f"{text.place(run.folder, report.parent)} {row.label}".lower())
                lines.append(
                    f'<details class="run" id="{names[run.folder]}" data-words="{words}">'
                    f'<summary><span class="place">{place}</span> <span class="badge">{escape(kind)}</span> '
                    f'<span class="label">{escape(row.label)}</span></summary>\n{_about(run, table)}{figures}</details>'
                )
    return "\n".join(lines) + "\n</section>"


def _about(run: Run, table: Table) -> str:
    facts = {
        name.replace("_", " "): f"{value:,.6g}" if isinstance(value, float) else value
        for name, value in run.facts.items()
    }
    if run.seeds:
        facts = {"seeds": ", ".join(map(str, run.seeds)), **facts}
    facts |= {
        metric: ", ".join(text.number(value) or "undefined" for value in values)
        for metric, values in run.metrics.items()
    }
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    differing = {name: run.flags[name] for name in table.differing if name in run.flags}
    return (f"<dl>{shown}</dl>" if shown else "") + (_flags(differing) if differing else "")


def _pictures(run: Run, left: float) -> tuple[str, float]:
    """The pictures of a run, and how many bytes are left for others'."""
    shown, named = [], []
    for file in run.pictures:
        name = file.stem.replace("_", " ")
        try:
            png = picture(file, LARGEST_PICTURE)
        except (Damaged, OSError) as error:
            named.append(f"{file.name} ({error})")
            continue
        if len(png) > left:
            named.append(f"{file.name} (left out: --pictures says how much a page may hold)")
            continue
        left -= len(png)
        shown.append(_figure(png, name))
    pictures = f'<div class="plots">{"".join(shown)}</div>' if shown else ""
    missing = "".join(f"<li>{escape(each)}</li>" for each in named)
    return pictures + (f'<ul class="remark">{missing}</ul>' if missing else ""), left


def _unread(report: Report) -> str:
    lines = [
        f'<tr><th scope="row">{escape(text.place(each.folder, report.parent))}</th><td>{escape(each.reason)}</td></tr>'
        for each in report.unread
    ]
    return (
        '<section id="unread">\n<h2>Folders that were not read</h2>\n<div class="wide"><table>'
        '<thead><tr><th scope="col">folder</th><th scope="col">reason</th></tr></thead><tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>\n</section>"
    )
