"""Forecasting as pure functions: windows, forecasts, the model that the flags describe, the share of a line, plots."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.running import as_in_a_new_process

from experiments.common.flags import parse
from experiments.forecast import report, run, scores, task
from experiments.forecast.flags import Config
from rnn_jax import models
from rnn_jax.data.errors import DataError
from rnn_jax.data.series import baselines

SIZES = {"input_size": 1, "num_targets": 1, "num_known": 0, "lag": 24, "unit": None, "line": "none"}
SIZES |= {"normalize": "change"}
PLAIN = ("--calendar=none", "--normalize=none", "--origins=1", "--noblend", "--noequal_steps", "--loss=mse")


def windows_of(*arguments):
    """The settled config, the windows and the sizes of the model without a line."""
    config, windows = run.read(parse(Config, ["--num_hours=500", "--lag=6", *arguments]))
    return config, windows, task.model_sizes(config, windows, line=None)


class TestModel:
    def test_that_of_the_lecture(self):
        """LSTM(400) and Dense(8): 4 * 400 * (1 + 400 + 1) and 400 * 8 + 8."""
        config = parse(Config, ["--protocol=lecture", "--hidden_size=400", "--ahead=8"])
        model = models.abstract(partial(task.make_model, config, **SIZES))
        counts = {name: count for name, _, count in models.summary(model)}
        assert (counts["recurrent"], counts["decoder"], counts["total"]) == (643_200, 3_208, 646_408)

    def test_every_flag_arrives(self):
        arguments = ["--num_layers=2", "--bidirectional", "--dropout=0.2", "--variational", "--forget_bias=2"]
        arguments += ["--zoneout=0.1", "--gain=3", "--backend=scan", "--ahead=6", "--residual_layers", "--layer_norm"]
        arguments += ["--normalize=mean", "--separate", "--segment=3", "--output=quantiles", "--level=0.8"]
        arguments += ["--head_dropout=0.3"]
        config = parse(Config, [*arguments, "--init=identity", "--checkpoint_every=4", "--truncate_every=5"])
        sizes = {**SIZES, "num_targets": 2, "input_size": 5, "unit": [[1.0, 2.0]] * 6, "line": "full"}
        sizes["normalize"] = config.normalize
        model = task.make_model(config, **sizes, rngs=nnx.Rngs(0))
        recurrent = model.recurrent
        found = (recurrent.dropout, recurrent.variational, recurrent.checkpoint_every, recurrent.truncate_every)
        assert found == (0.2, True, 4, 5)
        assert (recurrent.backend, recurrent.zoneout, recurrent.residual) == ("scan", 0.1, True)
        assert len(recurrent.layers) == 2
        for layer in recurrent.layers:
            for direction in (layer.forward, layer.backward):
                assert direction.b[...][32:64].tolist() == [2.0] * 32
                np.testing.assert_array_equal(direction.w_hh[...][:, :32], 3 * np.eye(32))
        assert recurrent.layers[0].forward.w_ih.shape == (3 * 4, 128), "three rows of a target and three others"
        assert (model.normalize, model.separate, model.segment, model.ahead) == ("mean", True, 3, 6)
        assert model.output == models.Quantiles((pytest.approx(0.1), 0.25, 0.5, 0.75, pytest.approx(0.9)))
        assert model.unit == ((1.0, 2.0),) * 6
        assert model.line.past.shape == (24, 5, 6, 2)
        assert model.decoder.dropout.rate == 0.3
        assert model.decoder.head.kernel.shape == (64, 6 * 5)

    @pytest.mark.parametrize(
        ("arguments", "output"),
        [
            (["--loss=huber"], models.Point("huber")),
            (["--loss=mse"], models.Point("mse")),
            (["--output=gaussian"], models.Gaussian()),
        ],
    )
    def test_outputs(self, arguments, output):
        assert task.make_output(parse(Config, arguments)) == output


class TestWindows:
    def test_taken_from_the_series(self):
        """What is known of the rows to forecast is that of the last columns."""
        data = {"features": jnp.arange(30.0).reshape(10, 3)}
        past, future = task.take_windows(data, jnp.array([0, 4]), {"lag": 3, "num_known": 1}, 2)
        assert past.shape == (2, 3, 3)
        assert past[1].tolist() == [[12, 13, 14], [15, 16, 17], [18, 19, 20]]
        assert future.tolist() == [[[11], [14]], [[23], [26]]]

    def test_targets_from_several_origins(self):
        """The last origin is that of the window; an earlier one forecasts rows that the window holds."""
        data = {"targets": jnp.arange(10.0)[:, None]}
        targets = task.take_targets(data, jnp.array([1]), 4, 2, origins=3)
        assert targets[0, ..., 0].tolist() == [[3, 4], [4, 5], [5, 6]]

    @pytest.mark.parametrize("count", [1, 511, 512, 513, 1024])
    def test_forecasts_come_back_in_order(self, count):
        """Whatever the batches that they are made in."""
        data = {"features": jnp.arange(2000.0)[:, None]}
        starts = jnp.asarray(np.random.default_rng(0).permutation(1990)[:count])
        sizes = {"lag": 3, "num_known": 0}

        def apply(_, past, future):
            return past[:, -1:, :, None] + 1

        found = task.predict(Config(lag=3, ahead=1), sizes, apply, None, data, starts)
        np.testing.assert_array_equal(found[:, 0, 0, 0], starts + 3.0)

    def test_too_few_rows(self):
        with pytest.raises(DataError, match="a smaller lag"):
            run.read(parse(Config, ["--num_hours=50", "--lag=64"]))

    def test_the_typical_change(self):
        """The root mean square change from the last value, of the training windows."""
        config, windows, _ = windows_of("--ahead=3")
        scaled = windows.scaled[:, 0]
        expected = [np.sqrt(np.mean((scaled[windows.train + 5 + k] - scaled[windows.train + 5]) ** 2)) for k in (1, 3)]
        np.testing.assert_allclose(task.typical_change(windows)[[0, 2], 0], expected)
        assert task.model_sizes(config, windows, line=None)["unit"] == task.typical_change(windows).tolist()

    def test_where_nothing_changes(self):
        _, windows, _ = windows_of("--ahead=2")
        still = dataclasses.replace(windows)
        still.__dict__["features"] = np.zeros_like(windows.features)
        still.__dict__["scaled"] = np.zeros_like(windows.scaled)
        assert task.typical_change(still).tolist() == [[1.0], [1.0]]


class TestLook:
    @pytest.mark.parametrize(("count", "expected"), [(3, [5, 7, 9]), (99, [5, 6, 7, 8, 9])])
    def test_at_validation_windows_spread_evenly(self, count, expected):
        look = task.make_look(Config(lag=2, ahead=1), {"lag": 2, "num_known": 0}, count)
        (past, future), lengths = look.take({"features": jnp.arange(20.0)[:, None], "validation": jnp.arange(5, 10)})
        assert past[:, 0, 0].tolist() == expected
        assert (past.shape, future.shape) == ((len(expected), 2, 1), (len(expected), 1, 0))
        assert lengths is None
        assert look.score(jnp.array([[[[1.0]], [[2.0]]]])).tolist() == [3.0]


@pytest.mark.parametrize("in_order", [True, False])
def test_times_out_of_order_are_no_axis(tmp_path, monkeypatch, in_order):
    config, windows, _ = windows_of("--lag=24")
    if not in_order:
        windows = dataclasses.replace(
            windows, series=dataclasses.replace(windows.series, times=windows.series.times[::-1])
        )
    axes = []
    monkeypatch.setattr(report.plots, "forecast_days", lambda path, times, *rest: axes.append(times))
    for module, name in (
        (report.plots, "error_histogram"), (report.plots, "series_with_monthly_mean"),
        (report.forecast_errors, "predicted_and_real"), (report.training, "loss_curves"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *args: None)
    targets = windows.targets(windows.test)
    (tmp_path / "metrics.jsonl").touch()
    trained = SimpleNamespace(config=config, task=windows)
    judged = scores.judge(config, windows, windows.test)
    report.plot(tmp_path, trained, judged, targets, {"persistence": targets + 1}, (targets, targets), {})
    expected = windows.series.times[windows.test + 24] if in_order else windows.test + 24
    np.testing.assert_array_equal(axes[0], expected)


class TestLoss:
    def test_of_a_model_that_answers_nothing(self, monkeypatch):
        """The mean squared target, in training and in validation, of scaled values."""
        config, windows, sizes = windows_of(*PLAIN)
        monkeypatch.setattr(models, "pure", lambda model, method="__call__": (nothing, None))
        made = task.make_training_task(config, windows, sizes, None)
        data = jax.device_put(task.device_data(config, windows))
        assert made.num_examples == len(windows.train)
        scaled = windows.scaled[:, 0]
        loss, _ = made.loss(None, made.batch(data, jnp.array([0, 7])), jax.random.key(0))
        assert float(loss) == pytest.approx(np.mean(scaled[windows.train[[0, 7]] + 6] ** 2), rel=1e-5)
        validation = made.evaluate(None, data)["loss"]
        assert float(validation) == pytest.approx(np.mean(scaled[windows.validation + 6] ** 2), rel=1e-5)

    def test_errors_count_relative_to_the_typical_change(self, monkeypatch):
        config, windows, sizes = windows_of("--ahead=3", "--origins=1", "--loss=mse")
        monkeypatch.setattr(models, "pure", lambda model, method="__call__": (nothing, None))
        made = task.make_training_task(config, windows, sizes, None)
        data = jax.device_put(task.device_data(config, windows))
        relative = windows.scaled_targets(windows.validation) / task.typical_change(windows)
        assert float(made.evaluate(None, data)["loss"]) == pytest.approx(np.mean(relative**2), rel=1e-5)

    def test_from_several_origins_the_last_is_that_of_the_window(self):
        """And every one of them is the forecast of a window that ends there, from a state that has read less."""
        config, windows, sizes = windows_of("--ahead=2", "--origins=3", "--calendar=hour", "--hidden_size=3")
        model = task.make_model(config, **sizes, rngs=nnx.Rngs(0))
        data = jax.device_put(task.device_data(config, windows))
        past, future = task.take_windows(data, windows.train[:5], sizes, 2)
        outputs = model.from_origins(past, future, 3)
        np.testing.assert_allclose(outputs[:, -1], model(past, future), rtol=1e-5, atol=1e-6)
        known = jnp.concatenate([past[..., -2:], future], axis=1)
        early = task.make_model(config, **{**sizes, "lag": 4}, rngs=nnx.Rngs(0))
        np.testing.assert_allclose(outputs[:, 0], early(past[:, :4], known[:, 4:6]), rtol=1e-5, atol=1e-6)


def nothing(params, past, future, teacher=None, rngs=None):
    """A model that forecasts the mean of the series."""
    return jnp.zeros((past.shape[0], future.shape[1], 1, 1))


class TestShareOfALine:
    """Of a network that forecasts zero."""

    def forecasts(self, *arguments, scale=1.0):
        """The parameters that `set_line` gives, and the windows, when the line is `scale` times the best one."""
        config, windows, _ = windows_of("--ahead=2", "--noequal_steps", *arguments)
        line = baselines.fit_lines(windows)["nlinear"]
        line = line._replace(past=scale * line.past, bias=scale * line.bias)
        sizes = task.model_sizes(config, windows, line)
        model = task.make_model(config, **sizes, rngs=nnx.Rngs(0))
        apply, params = models.pure(model)
        params = {**params, "decoder": jax.tree.map(jnp.zeros_like, params["decoder"])}
        data = jax.device_put(task.device_data(config, windows))
        found = task.set_line(config, sizes, windows, line, apply, params, data)
        outputs = task.predict(config, sizes, apply, found, data, windows.test)
        return found["line"]["share"], np.asarray(outputs)[..., 0], windows, line

    def test_is_all_of_it_beside_a_network_that_knows_nothing(self):
        share, outputs, windows, line = self.forecasts("--normalize=none", "--calendar=none")
        np.testing.assert_allclose(share, 1, atol=0.1)
        expected = baselines.forecasts(windows, {"line": line})["line"](windows.test)
        error = np.mean((windows.in_units(outputs, windows.test) - expected) ** 2)
        assert error < 0.01 * expected.var()

    def test_is_half_of_a_line_that_says_twice_as_much(self):
        share, *_ = self.forecasts("--normalize=none", "--calendar=none", scale=2.0)
        np.testing.assert_allclose(share, 0.5, atol=0.05)

    def test_lies_between_none_and_all(self):
        for scale, expected in ((-1.0, 0.0), (0.5, 1.0)):
            share, *_ = self.forecasts("--normalize=none", "--calendar=none", scale=scale)
            np.testing.assert_array_equal(share, expected)


def test_the_loss_of_a_batch_is_the_mean_of_its_parts():
    """By what was measured, as devices that share a batch take it."""
    with as_in_a_new_process():
        jax.config.update("jax_enable_x64", True)
        config, windows, sizes = windows_of("--dtype=float64", "--backend=scan", "--cell=rnn", "--hidden_size=3")
        windows.scaled[::3] = np.nan
        model = models.abstract(partial(task.make_model, config, **sizes))
        made = task.make_training_task(config, windows, sizes, model)
        data = jax.tree.map(jnp.asarray, task.device_data(config, windows))
        params = made.init(jax.random.key(0))

        def of(indices):
            return made.loss(params, made.batch(data, indices), jax.random.key(0))[0]

        parts = [jnp.arange(2), jnp.arange(2, 7)]
        weights = [made.weight(made.batch(data, part)) for part in parts]
        mean = sum(weight * of(part) for weight, part in zip(weights, parts, strict=True)) / sum(weights)
        assert weights[0] * 5 != weights[1] * 2
        np.testing.assert_allclose(mean, of(jnp.arange(7)), rtol=1e-12)
