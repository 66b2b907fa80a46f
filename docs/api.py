"""The page of all public names, docs/api.md, made from the docstrings.

    python -m docs.api             # writes it
    python -m docs.api --check     # says whether it differs, and exits with status 1 if it does

The source is read, not imported. Public is what a module lists in `__all__`; without one, every class and function of
its own, and every constant with a docstring, that has no underscore in front.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from rnn_jax.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"

PARTS = {
    "Cells over time": ("", "cells", "unrolling", "compose", "dropout", "generate", "initializers", "controls"),
    "Gradients": ("bptt", "backends", "backends.native", "backends.newton", "backends.pallas", "backends.mosaic"),
    "Diagnostics": ("diagnostics", "diagnostics.gradcheck"),
    "Modules": ("models", "convert"),
    "Language models": ("losses", "sampling", "ngrams", "neural_cache", "dynamic_evaluation"),
    "Data": (
        "data.series",
        *(f"data.series.{name}" for name in ("series", "forecasting", "features", "windows", "future", "like")),
        *(f"data.series.{name}" for name in ("baselines", "lines", "trees")),
        "data.tasks.memory_tasks",
        *(f"data.text.{name}" for name in ("vocabulary", "imdb", "ntc_scv", "synthetic_reviews")),
        "data.language",
        *(f"data.language.{name}" for name in ("corpus", "vocabulary", "streams", "grammar", "automaton")),
        "data.images.mnist",
    ),
    "Training": tuple(
        f"training.{name}"
        for name in (
            "step",
            "state",
            "loop",
            "order",
            "optimizers",
            "checkpoints",
            "log",
            "keys",
            "interrupt",
            "errors",
        )
    ),
    "Figures": (
        *("metrics", "forecast_metrics", "interval_metrics", "conformal", "importance"),
        *(f"plotting.{name}" for name in ("style", "training", "gradients", "forecast", "forecast_errors", "text")),
        *(f"plotting.{name}" for name in ("language", "memory_tasks", "long_sequences")),
    ),
}
"""The modules of the page, named from `rnn_jax` on."""

HEAD = """# Public names

Every public name, with the first sentence of its docstring, which goes on in the source: shapes, errors, an example.
`python -m docs.api` writes this page.
"""


@cache
def parsed(module: str) -> ast.Module:
    """The source of a module of this project, by its dotted name."""
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


def path_of(module: str) -> Path:
    """The file of a module, by its dotted name."""
    folder = ROOT.joinpath(*module.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def listed(module: str) -> list[str] | None:
    """`__all__` of a module, None without one."""
    for name, value, _ in constants(module):
        if name == "__all__":
            return [str(each) for each in ast.literal_eval(value)]
    return None


def constants(module: str) -> Iterator[tuple[str, ast.expr, str]]:
    """The constants of a module: name, value, and the docstring behind it."""
    body = parsed(module).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign):
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            continue
        doc = following.value if isinstance(following, ast.Expr) else None
        text = doc.value if isinstance(doc, ast.Constant) and isinstance(doc.value, str) else ""
        if isinstance(target, ast.Name) and node.value is not None:
            yield target.id, node.value, text


def public(module: str) -> list[str]:
    """The public names of a module, in alphabetical order."""
    names = listed(module)
    if names is None:
        defined = [node.name for node in parsed(module).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        names = [*defined, *(name for name, _, text in constants(module) if text)]
    return sorted({name for name in names if not name.startswith("_")}, key=lambda name: (name.lower(), name))


def docstring(module: str, name: str) -> str:
    """That of a name of a module, wherever it was imported from.

    Raises: `KeyError` where there is none.
    """
    found = ""
    for node in parsed(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            found = ast.get_docstring(node) or found  # of overloads, the one that has it
        elif isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            assert node.module is not None
            if not node.module.startswith("rnn_jax"):
                return f"That of `{node.module}`."
            if path_of(f"{node.module}.{name}").exists():
                return ast.get_docstring(parsed(f"{node.module}.{name}")) or ""
            return docstring(node.module, name)
    found = found or next((text for each, _, text in constants(module) if each == name), "")
    if not found:
        raise KeyError(f"{module}.{name} has no docstring")
    return found


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line, with a stop at its end.

    >>> first_sentence("Draws a\\n    mask. More.\\n\\n    Args: ...")
    'Draws a mask.'
    """
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0]
    return sentence if sentence.endswith(".") else f"{sentence.rstrip(':')}."


def written() -> str:
    """The page."""
    lines = [HEAD]
    for part, modules in PARTS.items():
        lines.append(f"## {part}\n")
        for short in modules:
            module = f"rnn_jax.{short}".rstrip(".")
            file = path_of(module).relative_to(ROOT).as_posix()
            about = first_sentence(ast.get_docstring(parsed(module)) or "")
            lines.append(f"### {module}\n\n[{file}](../{file}). {about}\n")
            lines += [f"- `{name}`: {first_sentence(docstring(module, name))}" for name in public(module)]
            lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks; returns the exit status."""
    parser = argparse.ArgumentParser("python -m docs.api", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say whether it differs")
    if not parser.parse_args(arguments).check:
        write_whole(PAGE, written())
        return 0
    same = PAGE.read_text(encoding="utf-8") == written()
    if not same:
        print("differs: docs/api.md (python -m docs.api writes it)", file=sys.stderr)
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
