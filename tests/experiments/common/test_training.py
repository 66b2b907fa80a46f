"""The flags of every training: contradictions are refused, and what a back end can compute it alone says."""

import importlib
import itertools
import warnings
from functools import cache

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from helpers.running import as_in_a_new_process, refused
from helpers.unrolls import THOROUGH

from experiments import EXPERIMENTS, launchable
from experiments.common.flags import UsageError, parse
from experiments.common.training import (
    DTYPES,
    TrainConfig,
    backend_in_use,
    layer_call,
    num_devices,
    recurrent_options,
)
from rnn_jax import models
from rnn_jax.backends import BACKENDS, warn_once
from rnn_jax.cells import CELLS
from rnn_jax.controls import StepMasks

TRAINING = [name for name in EXPERIMENTS if issubclass(launchable(name).config, TrainConfig)]
STEPS, BATCH, INPUTS, HIDDEN = 3, 16, 2, 4
FORECAST_SIZES = {"input_size": 1, "num_targets": 1, "num_known": 0, "lag": 7, "unit": None, "line": "none"}
FORECAST_SIZES |= {"normalize": "change"}


def test_these_train():
    assert set(TRAINING) == {"forecast", "imdb", "ntc_scv", "memory", "language_model"}


class TestContradictions:
    @pytest.mark.parametrize("name", TRAINING)
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--cell=gru", "--forget_bias=1"],
                "--forget_bias=1.0: --cell=gru has no forget gate; take one of lstm, lstm_without_dc, lstm_peephole, "
                "lstm_layer_norm, lstm_projection, minlstm, slstm",
            ),
            (
                ["--cell=mingru", "--gain=2"],
                "--gain=2.0: --cell=mingru has no recurrent weights that it would multiply",
            ),
            (
                ["--cell=lru", "--gradient_flow_every=7"],
                "--gradient_flow_every=7: --cell=lru has outputs that do not follow from its state alone",
            ),
            (
                ["--cell=rnn", "--chrono=9"],
                "--chrono=9: --cell=rnn has no gate with a memory to set; take one of lstm, gru, lstm_coupled, "
                "lstm_without_dc, lstm_peephole, lstm_layer_norm, lstm_projection, gru_reset_before, mingru, minlstm, "
                "mgu, slstm",
            ),
            (
                ["--cell=lstm", "--forget_bias=1", "--chrono=9"],
                "--forget_bias and --chrono both set the forget gate's bias: give one",
            ),
            (["--weight_decay=0.1"], "--weight_decay=0.1: goes with --optimizer=adamw, not adam"),
            (
                ["--zoneout=0.5", "--backend=manual"],
                "--zoneout=0.5: --backend=manual does not take zoneout; take auto or scan",
            ),
            (
                ["--gradient_flow_every=9", "--backend=manual"],
                "--gradient_flow_every=9: --backend=manual does not take perturbations; take auto or scan",
            ),
            (["--num_devices=4000"], "--num_devices=4000: "),
        ],
    )
    def test_one_line_before_the_run_begins(self, tmp_path, name, arguments, message):
        found = refused(launchable(name).main, tmp_path, *arguments)
        assert found.startswith(message) if message.endswith(": ") else found == message

    def test_a_fault_that_was_once_a_back_end(self, tmp_path):
        """`flags.txt` of a run made before the wrong gradient was a cell."""
        (tmp_path / "flags.txt").write_text("--cell=lstm\n--backend=without_dc\n")
        message = refused(launchable("forecast").main, tmp_path, f"--flagfile={tmp_path / 'flags.txt'}")
        assert "--backend=without_dc: value should be one of" in message


@cache
def arrays(cell, dtype):
    """The layer's parameters, carry and inputs."""
    shapes = jax.eval_shape(
        lambda: (
            CELLS[cell].init_params(jax.random.key(0), INPUTS, HIDDEN, DTYPES[dtype]),
            CELLS[cell].init_carry((BATCH,), HIDDEN, DTYPES[dtype]),
        )
    )
    params, carry = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return params, carry, jnp.zeros((STEPS, BATCH, INPUTS), DTYPES[dtype])


def asked(backend, cell, dtype, zoneout, truncate_every, flow):
    """What is at fault, by the back end itself: flags."""
    params, carry, xs = arrays(cell, dtype)
    masks = StepMasks(
        zoneout=jnp.ones((STEPS, BATCH, HIDDEN), xs.dtype) if zoneout else None,
        truncate=jnp.zeros(STEPS, bool) if truncate_every else None,
    )
    calls = [masks]
    if flow:
        calls.append(masks._replace(perturbations=jax.tree.map(lambda c: jnp.zeros((STEPS, *c.shape), c.dtype), carry)))
    found = [BACKENDS[backend].refusal(CELLS[cell], params, carry, xs, masks) for masks in calls]
    at_fault = {refusal.argument for refusal in found if refusal is not None} - {"device"}
    return {"gradient_flow_every" if argument == "perturbations" else argument for argument in at_fault}


class Small(TrainConfig):
    """A layer as small as `arrays`."""

    layer_input = (STEPS, INPUTS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_back_end_says_what_it_can_compute(backend):
    """For every cell, type and option: refused exactly where the back end refuses, and not for the machine at hand."""
    outcomes = set()
    options = [*itertools.product((0.0, 0.1), (None, 2), [None]), (0.0, None, 7)]
    names = (*THOROUGH, "lstm_projection", "mingru")  # a projected state, and no recurrent weights
    for cell, dtype, (zoneout, truncate, flow) in itertools.product(names, DTYPES, options):
        config = Small(
            backend=backend, cell=cell, dtype=dtype, zoneout=zoneout, truncate_every=truncate, gradient_flow_every=flow,
            hidden_size=HIDDEN, batch_size=BATCH,
        )  # fmt: skip
        with as_in_a_new_process(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # another back end takes the place of one for another machine
            jax.config.update("jax_enable_x64", dtype == "float64")
            wrong = asked(backend, cell, dtype, zoneout, truncate, flow)
            try:
                config.check(frozenset())
                found = ""
            except UsageError as error:
                found = str(error)
        assert bool(found) == bool(wrong), f"{config}: {found or wrong}"
        assert not wrong or found.startswith(tuple(f"--{flag}=" for flag in wrong)), f"{config}: {found}"
        assert not wrong or f": --backend={backend} " in found, found
        outcomes.add(bool(wrong))
    assert outcomes == ({False} if backend in ("scan", "newton") else {False, True}), "all or nothing is refused"


class TestBackEnds:
    def test_one_for_another_machine_gives_way(self, monkeypatch):
        config = Small(backend="cudnn", hidden_size=HIDDEN)
        monkeypatch.setattr("rnn_jax.backends.device.kind", lambda: "cpu")
        warn_once.cache_clear()
        with as_in_a_new_process():
            config.check(frozenset())
            with pytest.warns(UserWarning, match="'cudnn' needs an NVIDIA GPU"):
                assert backend_in_use(config) in ("native", "manual")

    def test_replicas(self):
        """Several in one program, where the back end has no `vmap`."""
        with as_in_a_new_process():
            for backend, entry in BACKENDS.items():
                cell = "mingru" if backend == "associative" else "lstm"
                config = Small(backend=backend, num_seeds=2, hidden_size=HIDDEN, cell=cell)
                if entry.vmap:
                    config.check(frozenset())
                    continue
                message = f"--num_seeds=2: --backend={backend} takes one; take auto or scan"
                with pytest.raises(UsageError, match=f"^{message}$"):
                    config.check(frozenset())
        assert not BACKENDS["cudnn"].vmap

    def test_a_size_that_does_not_fit(self, tmp_path):
        message = refused(launchable("forecast").main, tmp_path, "--backend=pallas", "--hidden_size=4096")
        assert message.startswith("--hidden_size=4096: --backend=pallas keeps w_hh on chip")

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(
        ("name", "sizes", "arguments"),
        [
            ("forecast", FORECAST_SIZES, ["--lag=7", "--ahead=2"]),
            ("memory", {"input_size": 2, "output_size": 1, "every_step": False}, ["--length=7"]),
            ("imdb", {"vocab_size": 9, "num_classes": 2}, ["--max_tokens=7", "--embedding_size=5", "--count_ratios=2"]),
        ],
    )
    def test_they_are_asked_for_the_call_that_the_model_makes(self, monkeypatch, name, sizes, arguments, dtype):
        """Shapes and types of what the first layer hands to `unroll`."""
        calls = []

        def choose(backend, *call):
            calls.append(call)
            return "scan"

        monkeypatch.setattr(importlib.import_module("rnn_jax.unrolling"), "choose", choose)
        experiment = launchable(name)
        arguments = [*arguments, "--zoneout=0.1", "--truncate_every=3", "--batch_size=3", f"--dtype={dtype}"]
        with as_in_a_new_process():
            jax.config.update("jax_enable_x64", dtype == "float64")
            config = parse(experiment.config, [*arguments, "--hidden_size=4"])
            model = importlib.import_module(experiment.module).make_model(config, **sizes, rngs=nnx.Rngs(0))
            apply, params = models.pure(model)
            if name == "imdb":
                inputs = (jnp.ones((3, 7), jnp.int32), jnp.full(3, 7), jnp.ones((3, 7, 2)))
            else:
                inputs = (jnp.ones((3, 7, sizes["input_size"]), "float64" if dtype == "float64" else "float32"),)
            if name == "forecast":
                inputs += (jnp.ones((3, 2, 0)),)
            jax.eval_shape(lambda params: apply(params, *inputs, rngs=nnx.Rngs(dropout=0)), params)
            cell, *call, masks = layer_call(config)
        made_cell, *made, made_masks = calls[0]
        assert cell == made_cell
        assert jax.tree.map(form, call) == jax.tree.map(form, made)
        assert form(masks.zoneout) == form(made_masks.zoneout)
        assert masks.truncate.dtype == made_masks.truncate.dtype  # of lengths there is a mask of each sequence


def form(array):
    """Shape and type."""
    return array.shape, array.dtype.name


class TestDevices:
    @pytest.fixture
    def four(self, monkeypatch):
        monkeypatch.setattr(jax, "local_device_count", lambda: 4)

    @pytest.mark.parametrize(
        ("batch_size", "count"), [(64, 4), (48, 3), (32, 2), (40, 1), (128, 4), (16, 1), (96, 3), (1, 1)]
    )
    def test_sixteen_examples_each_at_least_and_equal_parts(self, four, batch_size, count):
        assert num_devices(TrainConfig(backend="scan", batch_size=batch_size)) == count

    def test_one_for_a_back_end_with_threads_of_its_own(self, four, monkeypatch):
        monkeypatch.setattr("experiments.common.training.backend_in_use", lambda config: "native")
        assert num_devices(TrainConfig(backend="auto")) == 1
        assert num_devices(TrainConfig(backend="native")) == 1
        monkeypatch.setattr("experiments.common.training.backend_in_use", lambda config: "manual")
        assert num_devices(TrainConfig(backend="auto")) == 4

    def test_one_accelerator(self, four, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert num_devices(TrainConfig(backend="scan")) == 1

    def test_groups_of_one_for_replicas(self, four):
        assert num_devices(TrainConfig(backend="scan", num_seeds=4, seed_devices=2)) == 1
        with pytest.raises(UsageError, match=r"^--seed_devices=3: does not divide --num_seeds=4$"):
            num_devices(TrainConfig(num_seeds=4, seed_devices=3))
        with pytest.raises(UsageError, match=r"^--num_devices=3: there are only 4$"):
            num_devices(TrainConfig(num_seeds=4, seed_devices=2, num_devices=3))

    @pytest.mark.parametrize(("groups", "count"), [(1, 4), (2, 2), (8, 1)])
    def test_one_of_each_process(self, four, monkeypatch, groups, count):
        monkeypatch.setattr(jax, "process_count", lambda: 4)
        assert num_devices(TrainConfig(num_seeds=8, seed_devices=groups)) == count
        with pytest.raises(UsageError, match=r"^--num_devices=3: not as many of each of 4 processes$"):
            num_devices(TrainConfig(num_devices=3))
        assert num_devices(TrainConfig(batch_size=4)) == 4
        with pytest.raises(UsageError, match=r"^--batch_size=3: 4 processes cannot share it; "):
            num_devices(TrainConfig(batch_size=3))

    def test_as_many_as_asked_for(self, four):
        assert num_devices(TrainConfig(num_devices=2)) == 2
        with pytest.raises(UsageError, match=r"^--num_devices=5: there are only 4$"):
            num_devices(TrainConfig(num_devices=5))
        with pytest.raises(UsageError, match=r"^--num_devices=3: more than --batch_size=2 examples$"):
            num_devices(TrainConfig(num_devices=3, batch_size=2))


def test_options_of_the_layers():
    config = TrainConfig(
        num_layers=2, bidirectional=True, dropout=0.2, variational=True, checkpoint_every=4, truncate_every=5,
        init="identity", gain=3.0, zoneout=0.1, forget_bias=2.0, backend="scan", dtype="bfloat16",
    )  # fmt: skip
    assert recurrent_options(config) == {
        "num_layers": 2, "bidirectional": True, "dropout": 0.2, "variational": True, "checkpoint_every": 4,
        "truncate_every": 5, "init": "identity", "gain": 3.0, "zoneout": 0.1, "forget_bias": 2.0, "backend": "scan",
        "dtype": jnp.bfloat16, "param_dtype": jnp.float32,
    }  # fmt: skip
    assert recurrent_options(TrainConfig(dtype="float64"))["param_dtype"] == jnp.float64
    assert recurrent_options(TrainConfig(cell="gru", chrono=9))["chrono"] == 9
    assert not {"forget_bias", "chrono"} & set(recurrent_options(TrainConfig()))
