"""Reads the run folders, writes the report, prints its tables."""

import shlex
from pathlib import Path

from experiments.common.flags import UsageError, flagfile_lines
from experiments.report import figures, page, text
from experiments.report.flags import Config
from experiments.report.folders import LEFT_BY_A_RUN, common_parent, find
from experiments.report.reading import Run, read
from experiments.report.tables import make_tables
from rnn_jax.files import write_whole


def run(name: str, config: Config, _: Path) -> None:
    """Writes `index.html`, `runs.csv` and `plots/*.png`, and prints the tables.

    Raises: `UsageError` where there is nothing to report, or the report would go into a run's folder.
    """
    folders = find(config.runs)
    if not folders:
        raise UsageError(f"--runs={','.join(config.runs)}: only reports there, no runs")
    read_all = [read(folder) for folder in folders]
    runs = [each for each in read_all if isinstance(each, Run)]
    unread = [each for each in read_all if not isinstance(each, Run)]
    parent = common_parent(folders)
    if not runs:
        first = f"{text.place(unread[0].folder, parent)}: {unread[0].reason}"
        raise UsageError(f"--runs={','.join(config.runs)}: none of {len(unread)} folders can be read ({first})")
    out = Path(config.out) if config.out else parent / "report"
    if any((out / each).exists() for each in LEFT_BY_A_RUN):
        raise UsageError(f"--out={out}: a run lies there; name another folder")
    tables = make_tables(runs, config.metric, config.by, config.baseline)
    if unknown := [flag for flag in config.plot if not any(flag in table.by for table in tables)]:
        differing = ", ".join(dict.fromkeys(flag for table in tables for flag in table.by)) or "none"
        raise UsageError(f"--plot={unknown[0]}: no flag that makes a row; those are {differing}")
    out.mkdir(parents=True, exist_ok=True)
    drawn, failed = figures.draw(tables, config.plot, out / "plots")
    defaults = flagfile_lines(Config())
    given = [line for line in flagfile_lines(config) if line not in defaults]
    command = shlex.join(["python", "launch.py", name, *given])
    report = page.Report(tables, drawn, unread, parent, command, failed, config.pictures * 2**20)
    write_whole(out / "runs.csv", text.as_csv(tables, unread, parent))
    write_whole(out / "index.html", page.make(report))
    for table in tables:
        print(f"\n{table.title}\n\n{text.terminal(table)}")
        print("".join(f"{remark}\n" for remark in table.remarks), end="")
    for each in unread:
        print(f"not read: {text.place(each.folder, parent)}: {each.reason}")
    print("".join(f"{each}\n" for each in failed), end="")
    print(f"\nreport: {out / 'index.html'}")
