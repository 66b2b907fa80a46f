"""The same numbers as PyTorch, live: values, final states and every gradient, of weights that PyTorch drew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.torch_layout import carries_of, gradients_of, init, relative_error, values_and_gradients

from rnn_jax import cells, compose
from rnn_jax.convert.torch import KINDS, from_torch, to_torch

torch = pytest.importorskip("torch")

NUM_STEPS, BATCH, INPUT_SIZE, HIDDEN_SIZE = 7, 4, 3, 5
LENGTHS = [3, 7, 1, 7]  # not sorted; one step, all steps, between


def module_of(
    cell_name: str,
    num_layers: int = 1,
    bidirectional: bool = False,
    dtype=torch.float64,
    sizes: tuple[int, int] = (INPUT_SIZE, HIDDEN_SIZE),
    **options,
):
    torch.manual_seed(0)
    kind = {"lstm": torch.nn.LSTM, "lstm_projection": torch.nn.LSTM, "gru": torch.nn.GRU}.get(cell_name, torch.nn.RNN)
    if cell_name == "rnn_relu":
        options["nonlinearity"] = "relu"
    if cell_name == "lstm_projection":
        options["proj_size"] = sizes[1] // 2
    return kind(*sizes, num_layers, bidirectional=bidirectional, dtype=dtype, **options)


def numpy(tensors):
    return [tensor.detach().numpy() for tensor in tensors]


def compare(cell_name: str, module, lengths, states: bool, backend: str) -> dict[str, float]:
    """The largest relative errors of values and of gradients, for random inputs, initial states and cotangents."""
    dtype, packed = next(module.parameters()).dtype, torch.nn.utils.rnn
    directions = 1 + module.bidirectional
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    output_size = module.proj_size or HIDDEN_SIZE
    parts = (output_size, HIDDEN_SIZE) if cell_name.startswith("lstm") else (HIDDEN_SIZE,)
    state_shapes = [(module.num_layers * directions, BATCH, size) for size in parts]
    xs = draw(NUM_STEPS, BATCH, INPUT_SIZE)
    initial = [draw(*shape) for shape in state_shapes] if states else []
    d_ys, *d_finals = draw(NUM_STEPS, BATCH, directions * output_size), *(draw(*shape) for shape in state_shapes)

    weights = dict(module.named_parameters())
    arguments = [*weights.values(), xs.requires_grad_(), *(state.requires_grad_() for state in initial)]
    sequence = xs if lengths is None else packed.pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=False)
    ys, finals = module(sequence, None if not states else tuple(initial) if len(parts) == 2 else initial[0])
    if lengths is not None:
        ys, _ = packed.pad_packed_sequence(ys, total_length=NUM_STEPS)
    finals = finals if len(parts) == 2 else (finals,)
    gradients = numpy(torch.autograd.grad([ys, *finals], arguments, [d_ys, *d_finals]))

    def carries(states):
        return carries_of(cell_name, states, module.bidirectional)

    def arguments_of(params, xs, states_or_none):
        return (params, xs, carries(states_or_none)) if states_or_none else (params, xs)

    ours = values_and_gradients(
        cell_name,
        arguments_of(from_torch(cell_name, module.state_dict()), *numpy([xs]), numpy(initial)),
        (carries(numpy(d_finals)), d_ys.numpy()),
        lengths=None if lengths is None else jnp.array(lengths),
        backend=backend,
    )
    d_weights = dict(zip(weights, gradients, strict=False))
    d_xs, *d_initial = gradients[len(weights) :]
    return {
        "values": relative_error(ours[0], (carries(numpy(finals)), *numpy([ys]))),
        "gradients": relative_error(ours[1], arguments_of(gradients_of(cell_name, d_weights), d_xs, d_initial)),
    }


# Every pair of choices once and not every combination, which would be minutes of compilation; the golden files of
# `test_convert` have full and packed, both from states, in both back ends.
CASES = {"full_from_zeros_manual": (None, False, "manual"), "packed_from_states_scan": (LENGTHS, True, "scan")}


PLAIN = [name for name in KINDS if name != "lstm_projection"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (3, True)], ids=["one_way", "3_layers_two_ways"])
@pytest.mark.parametrize("cell_name", PLAIN)
def test_float64(cell_name, num_layers, bidirectional, case):
    errors = compare(cell_name, module_of(cell_name, num_layers, bidirectional), *CASES[case])
    assert max(errors.values()) < 1e-12, errors


@pytest.mark.parametrize("backend", ["scan", "manual", "native", "pallas"])
@pytest.mark.parametrize("cell_name", PLAIN)
def test_float32(cell_name, backend):
    errors = compare(cell_name, module_of(cell_name, 2, True, torch.float32), LENGTHS, True, backend)
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("cell_name", PLAIN)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"hidden": 1}], ids=str)
def test_weights_both_ways(cell_name, options):
    """Ours in PyTorch's module compute what ours compute, and come back as they were; without warnings."""
    options = dict(options)
    sizes = (INPUT_SIZE, options.pop("hidden", HIDDEN_SIZE))
    params = init(cell_name, 2, True, sizes=sizes)
    entries = {name: torch.from_numpy(array) for name, array in to_torch(params).items()}
    if options:
        entries = {name: tensor for name, tensor in entries.items() if not name.startswith("bias")}
    module = module_of(cell_name, 2, True, sizes=sizes, **options)
    module.load_state_dict(entries)
    xs = np.random.default_rng(0).normal(size=(NUM_STEPS, BATCH, INPUT_SIZE))
    back = from_torch(cell_name, module.state_dict())
    if not options:
        assert relative_error(back, params) == 0
    _, ours = compose.unroll_stack(cells.get(cell_name), back, jnp.array(xs))
    assert relative_error(ours, module(torch.from_numpy(xs))[0].detach().numpy()) < 1e-12


def test_a_projection():
    """Values and gradients of two layers, from states and packed, and its weights both ways."""
    module = module_of("lstm_projection", 2, True)
    errors = compare("lstm_projection", module, LENGTHS, True, "scan")
    assert max(errors.values()) < 1e-12, errors
    state = to_torch(from_torch("lstm_projection", module.state_dict()))
    assert list(state) == list(module.state_dict())
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})


def test_forget_bias_is_the_sum_of_two():
    key, sizes = jax.random.key(0), (INPUT_SIZE, HIDDEN_SIZE)
    params = compose.init_stack(key, cells.get("lstm"), *sizes, num_layers=2, dtype=jnp.float64, forget_bias=1.0)
    module = module_of("lstm", 2)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(params).items()})
    forget = slice(HIDDEN_SIZE, 2 * HIDDEN_SIZE)
    for layer in range(2):
        entries = [getattr(module, f"bias_{side}_l{layer}").detach().numpy() for side in ("ih", "hh")]
        np.testing.assert_array_equal(entries[0][forget] + entries[1][forget], 1)
    assert compare("lstm", module, None, True, "scan")["values"] < 1e-12


def test_training_the_tensors_on_leaves_the_parameters_alone():
    module = module_of("gru")
    state = module.state_dict()
    (params,) = from_torch("gru", state)
    before = jax.tree.map(np.array, params)
    with torch.no_grad():
        for tensor in state.values():  # the module's own memory
            tensor.add_(1)
    assert relative_error(params, before) == 0


def test_refuses_a_projection():
    with pytest.raises(ValueError, match=r"weight_hr_l0: an LSTM with a projection .* is the cell 'lstm_projection'"):
        from_torch("lstm", torch.nn.LSTM(3, 5, proj_size=2).state_dict())
