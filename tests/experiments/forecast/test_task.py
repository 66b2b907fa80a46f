"""Forecasting as pure functions: windows, predictions, the model that the flags describe, the plots of its answers."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.common.flags import parse
from experiments.forecast import report, task
from experiments.forecast.flags import Config
from rnn_jax import models
from rnn_jax.data.errors import DataError


class TestModel:
    def test_that_of_the_lecture(self):
        """LSTM(400) and Dense(8): 4 * 400 * (1 + 400 + 1) and 400 * 8 + 8."""
        config = parse(Config, ["--hidden_size=400", "--ahead=8"])
        model = models.abstract(partial(task.make_model, config, input_size=1))
        counts = {name: count for name, _, count in models.summary(model)}
        assert (counts["recurrent"], counts["head"], counts["total"]) == (643_200, 3_208, 646_408)

    def test_every_flag_arrives(self):
        arguments = ["--num_layers=2", "--bidirectional", "--dropout=0.2", "--variational", "--forget_bias=2"]
        arguments += ["--zoneout=0.1", "--gain=3", "--backend=scan", "--residual", "--ahead=5"]
        config = parse(Config, [*arguments, "--init=identity", "--checkpoint_every=4", "--truncate_every=5"])
        model = task.make_model(config, input_size=1, rngs=nnx.Rngs(0))
        recurrent = model.recurrent
        found = (recurrent.dropout, recurrent.variational, recurrent.checkpoint_every, recurrent.truncate_every)
        assert found == (0.2, True, 4, 5)
        assert (recurrent.backend, recurrent.zoneout) == ("scan", 0.1)
        assert len(recurrent.layers) == 2
        for layer in recurrent.layers:
            for direction in (layer.forward, layer.backward):
                assert direction.b[...][32:64].tolist() == [2.0] * 32
                np.testing.assert_array_equal(direction.w_hh[...][:, :32], 3 * np.eye(32))
        assert model.residual
        assert model.head.kernel.shape == (64, 5)


class TestWindows:
    def test_taken_from_the_series(self):
        data = {"series": jnp.arange(20.0).reshape(10, 2)}
        windows, targets = task.take_windows(data, jnp.array([0, 4]), lag=3, ahead=2)
        assert windows.shape == (2, 3, 2)
        assert windows[1].tolist() == [[8, 9], [10, 11], [12, 13]]
        assert targets.tolist() == [[6, 8], [14, 16]]

    @pytest.mark.parametrize("count", [1, 511, 512, 513, 1024])
    def test_predictions_come_back_in_order(self, count):
        """Whatever the batches that they are made in."""
        data = {"series": jnp.arange(2000.0)[:, None]}
        starts = jnp.asarray(np.random.default_rng(0).permutation(1990)[:count])
        config = Config(lag=3, ahead=1)
        predictions = task.predict(config, lambda _, xs: xs[:, -1] + 1, None, data, starts)
        np.testing.assert_array_equal(predictions[:, 0], starts + 3.0)

    def test_too_few_rows(self):
        with pytest.raises(DataError, match="a smaller lag"):
            task.read(parse(Config, ["--num_hours=50"]))


class TestLook:
    @pytest.mark.parametrize(("count", "expected"), [(3, [5, 7, 9]), (99, [5, 6, 7, 8, 9])])
    def test_at_validation_windows_spread_evenly(self, count, expected):
        look = task.make_look(Config(lag=2, ahead=1), count)
        (windows,), lengths = look.take({"series": jnp.arange(20.0)[:, None], "validation": jnp.arange(5, 10)})
        assert windows[:, 0, 0].tolist() == expected
        assert windows.shape == (len(expected), 2, 1)
        assert lengths is None
        assert look.score(jnp.array([[1.0, 2.0]])).tolist() == [3.0]


@pytest.mark.parametrize("in_order", [True, False])
def test_times_out_of_order_are_no_axis(tmp_path, monkeypatch, in_order):
    config = parse(Config, ["--num_hours=500", "--lag=24"])
    forecast = task.read(config)
    forecast = forecast if in_order else dataclasses.replace(forecast, times=forecast.times[::-1])
    axes = []
    monkeypatch.setattr(report.plots, "forecast_days", lambda path, times, *rest: axes.append(times))
    monkeypatch.setattr(report.plots, "error_histogram", lambda *args: None)
    monkeypatch.setattr(report.training, "loss_curves", lambda *args: None)
    targets = forecast.targets(forecast.test)
    (tmp_path / "metrics.jsonl").touch()
    report.plot(config, tmp_path, forecast, targets, {"persistence": targets + 1})
    expected = forecast.times[forecast.test + 24] if in_order else forecast.test + 24
    np.testing.assert_array_equal(axes[0], expected)


def test_the_loss_of_a_model_that_answers_nothing():
    """The mean squared target, in training and in validation, of standardized values."""
    config = parse(Config, ["--num_hours=500", "--lag=6"])
    forecast = task.read(config)
    made = task.make_training_task(config, forecast, lambda params, windows, rngs=None: jnp.zeros((len(windows), 1)))
    data = jax.device_put(task.device_data(config, forecast))
    assert made.num_examples == len(forecast.train)
    scaled = forecast.standardized[:, 0].astype(np.float64)
    batch = made.batch(data, jnp.array([0, 7]))
    loss, _ = made.loss(None, batch, jax.random.key(0))
    assert float(loss) == pytest.approx(np.mean(scaled[forecast.train[[0, 7]] + 6] ** 2), rel=1e-5)
    validation = made.evaluate(None, data)["loss"]
    assert float(validation) == pytest.approx(np.mean(scaled[forecast.validation + 6] ** 2), rel=1e-5)
