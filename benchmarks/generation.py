"""Tokens per second of text generation, ours against PyTorch's loop on the same cores.

    python -m benchmarks.generation

LSTM language models of characters and of words write texts of 200 tokens one at a time and of 50 tokens 64 at a time,
each token drawn at temperature 1 from all, or from the 40 likeliest. Ours is `rnn_jax.models.make_writer`, the whole
text one loop on the device. PyTorch's is a loop in Python under `inference_mode`, see `benchmarks.generation_pytorch`:
`nn.LSTM` and `nn.LSTMCell`, on one thread and on all cores, of which the fastest counts in each row.

All have the same weights. Before anything is timed they write 50 tokens at temperature 0, which have to be the same.
Then they take turns, and the ratio is the median over turns of theirs / ours.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tabulate import tabulate

from benchmarks.child import Answers, Refused, serve, stopwatch
from benchmarks.training import parser, ratio, save
from benchmarks.turns import Child, calls_per_turn, closing_all, start, take_turns
from rnn_jax.convert import to_torch
from rnn_jax.models import LanguageModel, make_writer, pure
from rnn_jax.types import Array

COMPARED = 50
"""Tokens that all have to agree on."""
TURN_SECONDS = 0.3
"""A turn has about as many texts as fit, at least one: the median of them counts."""
SLOW = 3.0
"""Who takes so many times as long as the fastest of PyTorch's in a first turn has no other."""


class Case(NamedTuple):
    """A language model of LSTM layers: V, D, H, L, and whether one table is embedding and read-out."""

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_layers: int
    tied: bool


class Setting(NamedTuple):
    """B texts of T tokens at once, drawn from the `top_k` likeliest; None: from all."""

    batch_size: int
    num_tokens: int
    top_k: int | None


CASES = {
    "characters": Case(65, 64, 256, 1, tied=False),
    "characters, large": Case(65, 64, 512, 2, tied=False),
    "words": Case(10_000, 512, 512, 2, tied=True),
}
SETTINGS = (Setting(1, 200, None), Setting(1, 200, 40), Setting(64, 50, None), Setting(64, 50, 40))
OURS = "rnn_jax"


class Writer:
    """Our side: the model of a case, and its texts.

    Args:
        case: its sizes. Weights are three times as large as training begins with, and the embedding thirty times: else
            a text of the likeliest tokens repeats one of them.
    """

    def __init__(self, case: Case):
        vocab_size, embedding_size, hidden_size, num_layers, tied = case
        self.model = LanguageModel(
            vocab_size,
            embedding_size,
            "lstm",
            hidden_size,
            num_layers=num_layers,
            tied=tied,
            embedding_scale=1.0,
            rngs=nnx.Rngs(0),
        )
        nnx.update(self.model, jax.tree.map(lambda leaf: 3 * leaf, nnx.state(self.model, nnx.Param)))
        self.params, self.vocab_size = pure(self.model)[1], vocab_size

    def write(self, write: Any, batch_size: int) -> Array:
        """What a writer of `make_writer` writes after the tokens 0, 1, ..., one a text: `[B, T]`."""
        first = jnp.arange(batch_size, dtype=jnp.int32) % self.vocab_size
        carry = self.model.begin(batch_size)
        return jax.block_until_ready(write(self.params, carry, first, jax.random.key(0)).tokens)

    def likeliest(self, batch_size: int, num_tokens: int) -> Array:
        """The texts `[B, T]` of the likeliest tokens."""
        return self.write(make_writer(self.model, num_tokens, temperature=0.0), batch_size)

    def for_torch(self) -> dict[str, Any]:
        """What `benchmarks.generation_pytorch` begins with: the state of `nn.LSTM`, `embedding` `[V, D]`, `head_bias`
        `[V]` and, where it is not the embedding, `head_weight` `[V, H]`.
        """
        weights, bias = self.model.head.weights(self.model.embedding)
        given = {**to_torch(self.model.recurrent), "embedding": np.array(self.model.embedding.table[...])}
        given["head_bias"] = np.array(bias)
        return given if self.model.head.tied else {**given, "head_weight": np.array(weights)}


def set_up(case: Case, settings: Sequence[Setting], path: Path) -> tuple[list[list[list[int]]], Answers]:
    """See `benchmarks.child.serve`: found are the likeliest texts `[B][COMPARED]` of each size of a batch.

    Writes what PyTorch's side begins with, and `settings` `[S, 3]`, 0 for no `top_k`, to a file.
    """
    writer = Writer(case)
    rows = [(batch_size, num_tokens, top_k or 0) for batch_size, num_tokens, top_k in settings]
    np.savez(path, **writer.for_torch(), settings=np.array(rows))
    timed = {
        str(number): partial(writer.write, make_writer(writer.model, num_tokens, top_k=top_k), batch_size)
        for number, (batch_size, num_tokens, top_k) in enumerate(settings)
    }
    batches = dict.fromkeys(batch_size for batch_size, _, _ in settings)
    found = [writer.likeliest(batch_size, COMPARED).tolist() for batch_size in batches]
    return found, {"time": stopwatch(timed)}


def peers(start_file: str) -> dict[str, list[str]]:
    """PyTorch's commands by name: both variants, on one thread and on all cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        f"pytorch_{variant}_{threads}": [
            "-m", "benchmarks.generation_pytorch", start_file, variant, str(threads), str(COMPARED),
        ]
        for variant in ("lstm", "cells")
        for threads in sorted({1, cores})
    }  # fmt: skip


def check_same(texts: Mapping[str, Any]) -> None:
    """Holds the texts of all contenders against those of the first.

    Raises: `RuntimeError` for others.

    >>> check_same({"ours": [[[3, 4]]], "theirs": [[[3, 5]]]})
    Traceback (most recent call last):
    RuntimeError: they do not compute the same, other tokens than ours have: theirs
    """
    first, *others = texts
    if wrong := [name for name in others if texts[name] != texts[first]]:
        raise RuntimeError(f"they do not compute the same, other tokens than {first} have: {', '.join(wrong)}")


def compare(
    case: Case, settings: Sequence[Setting], repeats: int
) -> tuple[list[dict[str, Any]], list[dict[str, list[float]]]]:
    """Compares the contenders for one model and times them.

    Args:
        case: the model.
        settings: what is written, each timed by itself.
        repeats: how often each contender has its turn.

    Returns: of each setting a row: `tokens_per_second` by contender, `fastest` of PyTorch's, and of fastest / ours the
    `ratio` with the `least` and the `most` of all turns; and the seconds of a text (or a batch of them) in each turn.

    Raises: `RuntimeError` for a contender that ended, or writes other tokens than ours.
    """
    with tempfile.TemporaryDirectory() as folder, closing_all() as children:
        path = f"{folder}/start.npz"
        asked = json.dumps([case, settings])
        commands = {OURS: ["-m", "benchmarks.generation", f"--contender={asked}", f"--start={path}"], **peers(path)}
        texts = {}
        try:
            for name, command in commands.items():
                children[name], texts[name] = start(command)
        except Refused as refused:
            raise RuntimeError(f"{name}: {refused}") from refused
        check_same(texts)
        seconds = [times(children, str(number), repeats) for number in range(len(settings))]
    rows = [row_of(setting, each) for setting, each in zip(settings, seconds, strict=True)]
    return rows, seconds


def times(children: Mapping[str, Child], what: str, repeats: int) -> dict[str, list[float]]:
    """Seconds by contender and turn, of the texts of a turn the median; who is `SLOW` has the first turn alone.

    Raises: `RuntimeError` for a contender that ended.
    """
    once, ended = take_turns(children, [what], dict.fromkeys(children, 1), 1, untimed=1)  # compiles
    if not ended:
        first = {name: of[what][0][0] for name, of in once.items()}
        slow = SLOW * min(first[name] for name in first if name != OURS)
        going = {name: child for name, child in children.items() if name == OURS or first[name] < slow}
        calls = {name: calls_per_turn({what: first[name]}, 1, TURN_SECONDS) for name in going}
        found, ended = take_turns(going, [what], calls, repeats, untimed=1)
        once.update(found)
    for name, reason in ended.items():
        raise RuntimeError(f"{name}: {reason}") from reason
    return {name: [statistics.median(turn) for turn in of[what]] for name, of in once.items()}


def row_of(setting: Setting, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """A row of `compare`.

    >>> ours, once, better, worse = [1.0, 2.0, 2.0], [1.0], [2.0, 8.0, 6.0], [9.0, 9.0, 9.0]
    >>> row = row_of(Setting(2, 10, None), {"rnn_jax": ours, "a": once, "b": better, "c": worse})
    >>> row["fastest"], row["ratio"], row["least"], row["most"], row["tokens_per_second"]["rnn_jax"]
    ('b', 3.0, 2.0, 4.0, 10.0)
    """
    median = {name: statistics.median(each) for name, each in seconds.items()}
    peers_to_the_end = [name for name in seconds if name != OURS and len(seconds[name]) == len(seconds[OURS])]
    fastest = min(peers_to_the_end, key=lambda name: median[name])
    ratios = [theirs / ours for ours, theirs in zip(seconds[OURS], seconds[fastest], strict=True)]
    tokens = setting.batch_size * setting.num_tokens
    return {
        **setting._asdict(),
        "tokens_per_second": {name: tokens / each for name, each in median.items()},
        "fastest": fastest,
        "ratio": ratio(dict(seconds), OURS, fastest),
        "least": min(ratios),
        "most": max(ratios),
    }


def table(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown, a line per row of each case."""
    head = [
        "model",
        "batch",
        "drawn from",
        "rnn_jax, tokens/s",
        "PyTorch, tokens/s",
        "PyTorch / ours",
        "turns",
        "fastest",
    ]
    body = []
    for case, of in rows.items():
        for row in of:
            ours, theirs = (f"{row['tokens_per_second'][name]:,.0f}" for name in (OURS, row["fastest"]))
            drawn = "all" if row["top_k"] is None else f"top {row['top_k']}"
            turns = f"{row['least']:.2f} to {row['most']:.2f}"
            body.append([case, row["batch_size"], drawn, ours, theirs, f"{row['ratio']:.2f}", turns, row["fastest"]])
    return tabulate(body, headers=head, tablefmt="pipe", disable_numparse=True)


def main() -> None:
    """Compares, times, prints the table and saves the raw numbers."""
    flags = parser(__doc__, repeats=7)
    flags.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="models, all without it")
    arguments: argparse.Namespace = flags.parse_args()
    if arguments.contender:
        case, settings = json.loads(arguments.contender)
        return serve(lambda: set_up(Case(*case), [Setting(*each) for each in settings], arguments.start))

    rows: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, list[float]] = {}
    for name in arguments.cases:
        rows[name], found = compare(CASES[name], SETTINGS, arguments.repeats)
        for setting, times_of in zip(SETTINGS, found, strict=True):
            key = f"{name}/{setting.batch_size}/{'all' if setting.top_k is None else f'top {setting.top_k}'}"
            seconds |= {f"{key}/{contender}": each for contender, each in times_of.items()}
        print(f"{name}: done", flush=True)
    about = {
        "cases": {name: CASES[name]._asdict() for name in arguments.cases},
        "compared_tokens": COMPARED,
        "rows": rows,
    }
    print(table(rows))
    save(arguments.raw_dir, "generation", about, seconds)


if __name__ == "__main__":
    main()
