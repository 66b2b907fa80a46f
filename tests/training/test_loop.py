"""The loop: interrupted anywhere it goes on to the same bits; it stops at what is not finite."""

import math
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.toy_tasks import (
    BATCH,
    PER_EPOCH,
    assert_same_bits,
    counting_optimizer,
    counting_task,
    regression_data,
    regression_functions,
    regression_task,
    run_epochs,
    seeds_by_sign,
    start,
)
from jax.experimental import io_callback

from rnn_jax.training.checkpoints import Checkpoints
from rnn_jax.training.errors import Interrupted, TrainingError
from rnn_jax.training.functions import make_functions
from rnn_jax.training.interrupt import InterruptRequest
from rnn_jax.training.log import read_log
from rnn_jax.training.loop import Schedule, steps_per_dispatch, train

SEEDS = [3, 11]
EPOCHS = 5
SCHEDULE = Schedule(PER_EPOCH, EPOCHS, steps_per_dispatch=3)
"""Dispatches of 3, 3 and 1 steps: they end at steps 3, 6, 7, 10, 13, 14, ..."""


def learning_rate(step):
    return 0.5 / (step + 1)


def run(folder, functions=None, schedule=SCHEDULE, rate=learning_rate):
    return train(functions or regression_functions(), SEEDS, regression_data(), schedule, folder, rate)


def records_of(folder):
    """The log without what a clock says."""
    return [
        {name: value for name, value in record.items() if name != "train_seconds"}
        for record in read_log(folder / "metrics.jsonl")
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return run(folder), records_of(folder)


def signal_in_learning_rate(number, at_step):
    """A learning rate that sends a signal while the record of `at_step` is made."""

    def rate(step):
        if step + 1 == at_step:
            os.kill(os.getpid(), number)
        return learning_rate(step)

    return rate


def signal_in_evaluate(number, at_epoch):
    functions = regression_functions()

    def signal_then_nothing(epoch):
        if epoch == at_epoch:
            os.kill(os.getpid(), number)
        return np.float32(0)

    @jax.jit
    def evaluate(states, data, epoch):
        states, measures = functions.evaluate(states, data, epoch)
        zero = io_callback(signal_then_nothing, jax.ShapeDtypeStruct((), jnp.float32), epoch)
        return states, {**measures, "loss": measures["loss"] + zero}

    return functions._replace(evaluate=evaluate)


class TestThrough:
    def test_is_the_plain_loop(self, uninterrupted):
        trained, _ = uninterrupted
        expected, _ = run_epochs(regression_functions(), SEEDS, regression_data(), EPOCHS, (3, 3, 1))
        assert_same_bits(trained.states, expected)
        assert trained.steps == EPOCHS * PER_EPOCH
        assert trained.train_seconds > 0

    def test_log(self, uninterrupted):
        trained, records = uninterrupted
        assert [r["step"] for r in records] == [7 * epoch + s for epoch in range(EPOCHS) for s in (3, 6, 7)]
        assert [r["epoch"] for r in records] == [epoch for epoch in range(EPOCHS) for _ in range(3)]
        names = {"step", "epoch", "loss", "grad_norm", "update_norm", "param_norm", "losses", "learning_rate", "mean_x"}
        validation = {"validation_loss", "best_validation_loss", "validation_losses", "active_seeds"}
        assert all(set(r) == (names | validation if r["step"] % 7 == 0 else names) for r in records)
        assert all(r["learning_rate"] == learning_rate(r["step"] - 1) for r in records)
        assert all(r["loss"] == pytest.approx(np.mean(r["losses"])) for r in records)
        last = records[-1]
        assert last["validation_losses"] == _evaluate(trained.states.params)
        assert last["best_validation_loss"] == pytest.approx(np.mean(trained.states.best_loss))
        assert last["active_seeds"] == 2

    def test_a_finished_run_is_left_alone(self, tmp_path, uninterrupted):
        run(tmp_path)
        before = (tmp_path / "metrics.jsonl").read_bytes()
        again = run(tmp_path)
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        assert_same_bits(again.states, uninterrupted[0].states)
        assert again.steps == EPOCHS * PER_EPOCH

    def test_checkpoints(self, tmp_path):
        run(tmp_path, schedule=SCHEDULE._replace(keep=2))
        checkpoints = Checkpoints(tmp_path, keep=2)
        steps = sorted(checkpoints.manager.all_steps())
        best = checkpoints.manager.best_step()
        checkpoints.close()
        losses = {r["step"]: r["validation_loss"] for r in records_of(tmp_path) if "validation_loss" in r}
        assert best == min(losses, key=losses.get)
        assert steps == sorted({28, 35, best})


def _evaluate(params):
    functions = regression_functions()
    states = start(functions, SEEDS)._replace(params=params)
    return np.asarray(functions.evaluate(states, regression_data(), 0)[1]["loss"]).tolist()


class TestInterrupted:
    @pytest.mark.parametrize("number", InterruptRequest.SIGNALS)
    @pytest.mark.parametrize("at_step", [3, 13, 21, 34])
    def test_between_dispatches(self, tmp_path, uninterrupted, number, at_step):
        with pytest.raises(Interrupted) as stopped:
            run(tmp_path, rate=signal_in_learning_rate(number, at_step))
        assert (stopped.value.signal_number, stopped.value.step) == (number, at_step)
        assert str(stopped.value) == f"stopped at step {at_step} and saved; the same command continues from there"
        assert records_of(tmp_path)[-1]["step"] == at_step
        trained = run(tmp_path)
        assert_same_bits(trained.states, uninterrupted[0].states)
        assert records_of(tmp_path) == uninterrupted[1]

    def test_again_and_again(self, tmp_path, uninterrupted):
        """In an evaluation, in the middle of an epoch, at once after a start, in the last evaluation."""
        clocks = []
        for functions, rate in (
            (signal_in_evaluate(signal.SIGTERM, 1), learning_rate),
            (None, signal_in_learning_rate(signal.SIGINT, 20)),
            (None, signal_in_learning_rate(signal.SIGTERM, 21)),
            (None, signal_in_learning_rate(signal.SIGTERM, 24)),
            (signal_in_evaluate(signal.SIGINT, EPOCHS - 1), learning_rate),
        ):
            with pytest.raises(Interrupted) as stopped:
                run(tmp_path, functions, rate=rate)
            clocks.append((stopped.value.step, read_log(tmp_path / "metrics.jsonl")[-1]["train_seconds"]))
        assert [step for step, _ in clocks] == [14, 20, 21, 24, 35]
        trained = run(tmp_path)
        assert_same_bits(trained.states, uninterrupted[0].states)
        assert records_of(tmp_path) == uninterrupted[1]
        seconds = [r["train_seconds"] for r in read_log(tmp_path / "metrics.jsonl")]
        assert seconds == sorted(set(seconds)), "time of training goes on across restarts"
        assert trained.train_seconds == seconds[-1] == clocks[-1][1]

    def test_killed_without_a_chance_to_save(self, tmp_path, uninterrupted):
        """Steps that were logged after the last checkpoint run again, and are logged once."""

        class Killed(BaseException):
            pass

        def rate(step):
            if step + 1 == 20:
                raise Killed
            return learning_rate(step)

        with pytest.raises(Killed):
            run(tmp_path, rate=rate)
        assert records_of(tmp_path)[-1]["step"] == 17
        trained = run(tmp_path)
        assert_same_bits(trained.states, uninterrupted[0].states)
        assert records_of(tmp_path) == uninterrupted[1]

    def test_a_damaged_checkpoint_takes_its_steps_again(self, tmp_path, uninterrupted, capsys):
        with pytest.raises(Interrupted):
            run(tmp_path, rate=signal_in_learning_rate(signal.SIGTERM, 24))
        (tmp_path / "checkpoints" / "24" / "about" / "metadata").write_text("{")
        trained = run(tmp_path)
        assert "checkpoint 24 is damaged and set aside" in capsys.readouterr().err
        assert_same_bits(trained.states, uninterrupted[0].states)
        assert records_of(tmp_path) == uninterrupted[1]

    def test_a_state_that_was_not_evaluated_is_not_the_best(self, tmp_path):
        with pytest.raises(Interrupted):
            run(tmp_path, rate=signal_in_learning_rate(signal.SIGTERM, 10))
        checkpoints = Checkpoints(tmp_path)
        assert sorted(checkpoints.manager.all_steps()) == [7, 10]
        assert checkpoints.manager.best_step() == 7
        checkpoints.close()

    def test_what_a_checkpoint_replaces_is_not_computed_again(self, tmp_path):
        """A task may take minutes for the parameters it begins with."""
        executed = []
        task = regression_task()

        def init(key):
            jax.debug.callback(lambda: executed.append(1))
            return task.init(key)

        functions = make_functions(task._replace(init=init), optax.adam(0.05), batch_size=BATCH, parallel=False)
        with pytest.raises(Interrupted):
            run(tmp_path, functions, rate=signal_in_learning_rate(signal.SIGTERM, 10))
        jax.effects_barrier()
        assert len(executed) == len(SEEDS)
        for _ in ("goes on", "is finished"):
            trained = run(tmp_path, functions)
            jax.effects_barrier()
            assert len(executed) == len(SEEDS)
        assert trained.steps == EPOCHS * PER_EPOCH

    def test_handlers_are_put_back(self, tmp_path):
        before = [signal.getsignal(number) for number in InterruptRequest.SIGNALS]
        with pytest.raises(Interrupted):
            run(tmp_path, rate=signal_in_learning_rate(signal.SIGTERM, 3))
        assert [signal.getsignal(number) for number in InterruptRequest.SIGNALS] == before

    @pytest.fixture
    def usual(self):
        """Every signal raises KeyboardInterrupt, as Ctrl-C does: a process in the background may ignore some."""
        before = {number: signal.signal(number, signal.default_int_handler) for number in InterruptRequest.SIGNALS}
        yield
        for number, handler in before.items():
            signal.signal(number, handler)

    @pytest.mark.parametrize(("number", "acts"), [(signal.SIGINT, 2), (signal.SIGTERM, None), (signal.SIGHUP, None)])
    def test_a_second_ctrl_c_acts_at_once(self, usual, number, acts):
        """Of the others it says nothing new: a terminal that closes sends two."""
        sent = []

        def ask():
            with InterruptRequest() as request:
                assert request.signal_number is None
                for time in (1, 2):
                    sent.append(time)
                    os.kill(os.getpid(), number)
                    assert request.signal_number == number
                raise Interrupted(number, 0)

        with pytest.raises(KeyboardInterrupt if acts else Interrupted):
            ask()
        assert sent == [1, 2]

    def test_nohup_is_respected(self, usual):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with InterruptRequest() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.signal_number is None

    def test_a_request_after_the_last_look_is_not_lost(self, usual):
        with pytest.raises(KeyboardInterrupt), InterruptRequest():
            os.kill(os.getpid(), signal.SIGTERM)

    def test_another_thread_may_train(self, tmp_path):
        with ThreadPoolExecutor(max_workers=1) as thread:
            assert thread.submit(run, tmp_path).result().steps == EPOCHS * PER_EPOCH


class TestEarlyStopping:
    def functions(self):
        task = counting_task(lambda t, sign: 100 + sign * t, loss=lambda t, sign: 10 + sign)
        return make_functions(task, counting_optimizer(), batch_size=BATCH, patience=2, parallel=False)

    def test_ends_when_all_have_stopped(self, tmp_path):
        functions = self.functions()
        _, worse = seeds_by_sign(functions)
        trained = train(functions, [worse], regression_data(), SCHEDULE._replace(epochs=20), tmp_path)
        assert trained.steps == 3 * PER_EPOCH
        assert records_of(tmp_path)[-1]["step"] == 3 * PER_EPOCH
        again = train(functions, [worse], regression_data(), SCHEDULE._replace(epochs=20), tmp_path)
        assert again.steps == 3 * PER_EPOCH, "and a restart does not wake it up"

    def test_the_log_leaves_out_who_has_stopped(self, tmp_path):
        functions = self.functions()
        better, worse = seeds_by_sign(functions)
        trained = train(functions, [worse, better], regression_data(), SCHEDULE, tmp_path)
        assert trained.steps == EPOCHS * PER_EPOCH
        assert trained.states.best_epoch.tolist() == [1, EPOCHS]
        records = records_of(tmp_path)
        early, late = ([r for r in records if (r["epoch"] < 3) == first] for first in (True, False))
        assert all((r["loss"], r["losses"]) == (10, [11, 9]) for r in early)
        assert all((r["loss"], r["losses"]) == (9, [None, 9]) for r in late)
        assert [r["active_seeds"] for r in records if "active_seeds" in r] == [2, 2, 1, 1, 1]


class TestNotFinite:
    def functions(self, limit, value=math.nan):
        """The seed with the sign 1 has a loss of `value` from the step after `limit` on."""

        def loss(t, sign):
            return jnp.where((sign > 0) & (t >= limit), value, 1.0).astype(jnp.float32)

        task = counting_task(lambda t, sign: 100 - t, loss=loss)
        return make_functions(task, counting_optimizer(), batch_size=BATCH, parallel=False)

    @pytest.mark.parametrize(("value", "name"), [(math.nan, "nan"), (math.inf, "inf")])
    def test_names_the_seed_and_the_steps(self, tmp_path, value, name):
        functions = self.functions(18, value)
        fine, bad = seeds_by_sign(functions)
        with pytest.raises(TrainingError) as error:
            train(functions, [fine, bad], regression_data(), SCHEDULE, tmp_path)
        assert str(error.value) == (
            f"loss of seed {bad} is {name} within steps 18 to 20; the last good checkpoint is step 14; "
            "lower learning_rate or clip_norm"
        )
        checkpoints = Checkpoints(tmp_path)
        restored = checkpoints.restore_latest(start(functions, [fine, bad]))
        checkpoints.close()
        assert restored.step == 14
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restored.state))
        assert restored.state.params["t"].tolist() == [14, 14]
        assert records_of(tmp_path)[-1]["step"] == 17

    def test_before_anything_was_saved(self, tmp_path):
        functions = self.functions(0)
        _, bad = seeds_by_sign(functions)
        message = f"^loss of seed {bad} is nan within steps 1 to 3; nothing was saved before it; lower learning_rate"
        with pytest.raises(TrainingError, match=message):
            train(functions, [bad], regression_data(), SCHEDULE, tmp_path)

    @pytest.mark.parametrize(("value", "name"), [(math.nan, "nan"), (math.inf, "inf")])
    def test_a_validation_loss_that_is_not(self, tmp_path, value, name):
        task = counting_task(lambda t, sign: jnp.where((sign > 0) & (t > 2 * PER_EPOCH), value, 100 - t))
        functions = make_functions(task, counting_optimizer(), batch_size=BATCH, parallel=False)
        fine, bad = seeds_by_sign(functions)
        with pytest.raises(TrainingError) as error:
            train(functions, [fine, bad], regression_data(), SCHEDULE, tmp_path)
        assert str(error.value) == (
            f"validation loss of seed {bad} is {name} after step 21; the last good checkpoint is step 14; "
            "lower learning_rate or clip_norm"
        )
        checkpoints = Checkpoints(tmp_path)
        assert sorted(checkpoints.manager.all_steps()) == [7, 14]
        checkpoints.close()

    def test_a_gradient_that_is_not(self, tmp_path):
        """sqrt at 0: the value is finite, the derivative is not."""
        task = counting_task(lambda t, sign: t)._replace(loss=lambda params, batch, key: (jnp.sqrt(params["t"]), {}))
        functions = make_functions(task, counting_optimizer(), batch_size=BATCH, parallel=False)
        with pytest.raises(TrainingError, match=r"^grad norm of seed 5 is inf within steps 1 to 1; nothing was saved"):
            train(functions, [5], regression_data(), SCHEDULE._replace(steps_per_dispatch=1), tmp_path)


@pytest.mark.parametrize("per_epoch", [1, 7, 199, 200, 201, 400, 401, 1205])
def test_steps_per_dispatch(per_epoch):
    each = steps_per_dispatch(per_epoch)
    assert 1 <= each <= 200
    dispatches = math.ceil(per_epoch / each)
    assert dispatches == math.ceil(per_epoch / 200), "no more dispatches than needed"
    assert per_epoch - (dispatches - 1) * each > each - dispatches, "parts of about equal length"


def test_a_start_traces_each_function_once(tmp_path):
    """Of a model that takes seconds: its shapes are known from what is then compiled."""
    traced = []
    task = regression_task()
    counted = task._replace(
        init=lambda key: traced.append("init") or task.init(key),
        evaluate=lambda params, data: traced.append("evaluate") or task.evaluate(params, data),
    )
    functions = make_functions(counted, optax.sgd(0.1), batch_size=BATCH)
    run(tmp_path, functions, Schedule(PER_EPOCH, 1))
    assert sorted(traced) == ["evaluate", "init"]
