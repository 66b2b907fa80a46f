"""The entries of `keras_layers` as calls of this library."""

from functools import cache
from typing import Any

import numpy as np

from helpers.conformance import RESET_BEFORE, Case, carry_of, params_of
from helpers.keras_layers import ENTRIES, Entry
from rnn_jax import cells
from rnn_jax.compose import Directions

CELLS = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
MERGED = {
    "concat": lambda there, back: np.concatenate((there, back), axis=-1),
    "ave": lambda there, back: (there + back) / 2,
    "mul": lambda there, back: there * back,
    "sum": lambda there, back: there + back,
}


def params(cell: str, entry: Entry, kernel: float, recurrent: float, bias: float) -> Any:
    """Our parameters of constant weights: the order of gates, which is i, f, c, o and z, r, h there, makes none."""
    features, units, gates = entry.shape[-1], entry.units, cells.CELLS[cell].num_gates
    b = np.full(gates * units, bias)
    extra = {}
    if cell == "lstm" and entry.options.get("unit_forget_bias", True):
        b[units : 2 * units] = 1
    if cell == "gru":  # the biases of input and state are a sum but for n
        b[: 2 * units] += bias
        extra = {"b_hn": np.full(units, bias)}
    if not entry.options.get("use_bias", True):
        b, extra = np.zeros_like(b), {}
    w_ih, w_hh = np.full((features, gates * units), kernel), np.full((units, gates * units), recurrent)
    return params_of(cell, w_ih=w_ih, w_hh=w_hh, b=b, **extra)


def masked(entry: Entry) -> dict[str, Any]:
    """The options of `unroll` for a mask: `lengths` where padding is behind, else `mask`; of both, y is zero.

    Where Keras holds y over a gap, every unit skips the step by `zoneout`, of which y is what it was before.
    """
    if "mask" not in entry.options:
        return {}
    mask = np.array(entry.options["mask"], bool)
    wants_held = "return_sequences" in entry.options and "zero_output_for_mask" not in entry.options
    if not wants_held:
        return {"lengths": mask.sum(1).astype(np.int32)} if is_padding(mask) else {"mask": mask.T}
    share = np.repeat(~mask.T[..., None], entry.units, axis=-1)
    return {"zoneout": share.astype(np.float32)}


def is_padding(mask: np.ndarray) -> bool:
    """Whether all steps that a mask `[B, T]` leaves out are behind the others."""
    return bool((np.sort(~mask, axis=1) == ~mask).all())


def one_case(entry: Entry) -> Case:
    """One call."""
    cell = RESET_BEFORE if entry.options.get("reset_after") is False else CELLS[entry.layer]
    there, back = params(cell, entry, 0.01, 0.02, 0.03), params(cell, entry, *entry.back)
    states = entry.options.get("initial_state", [])
    parts = len(cells.CELLS[cell].init_carry((), 1))
    carries = [carry_of(cell, *states[at : at + parts]) for at in range(0, len(states), parts)]
    both = bool(entry.merge)
    reverse = {"reverse": True} if entry.options.get("go_backwards") else {}

    def read(finals: Any, ys: Any) -> tuple[np.ndarray, ...]:
        last = finals[0] if both else (finals[0],)
        each = [np.asarray(one.h) for one in last]
        if "return_sequences" in entry.options:
            each = np.split(np.swapaxes(ys, 0, 1), 1 + both, axis=-1)
        output = MERGED[entry.merge](*each) if both else each[0]
        return (output, *(np.asarray(part) for one in last for part in one)) if entry.states else (output,)

    return Case(
        source="Keras",
        name=entry.name,
        cell=cell,
        params=(Directions(there, back),) if both else (there,),
        xs=np.swapaxes(np.arange(np.prod(entry.shape), dtype=np.float32).reshape(entry.shape), 0, 1),
        carry=None if not carries else (Directions(*carries),) if both else tuple(carries),
        options=masked(entry) | reverse,
        calls=entry.calls,
        read=read,
        want=tuple(np.array(want) for want in entry.want),
    )


@cache
def cases() -> list[Case]:
    """All entries."""
    return [one_case(entry) for entry in ENTRIES]
