"""The process of an experiment: ended by a signal wherever it is, with streams that are closed, full or read by nobody.

The programs here import the standard library alone, so a process of its own costs nothing.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import launch
from experiments import process
from experiments.process import OutputLost, Stream, farewell

ROOT = Path(launch.__file__).parent
PREPARED = "import ctypes, os, signal, sys, time\nfrom experiments import process\nprocess.prepare()\n"


def program(lines, **options):
    command = [sys.executable, "-c", PREPARED + lines]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, **{**pipes, **options})


def ended(child):
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


def shell(redirected, lines, **environment):
    """The program behind a shell's redirection: its status and what came out on stdout and stderr."""
    command = f'"$0" -c "$1" {redirected}'
    given = {**os.environ, **environment}
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, sys.executable, PREPARED + lines],
        cwd=ROOT,
        env=given,
        capture_output=True,
        check=False,
    )
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


class TestSignals:
    @pytest.mark.parametrize("number", process.SIGNALS)
    def test_one_line_and_the_status(self, number):
        child = program("print('ready')\ntime.sleep(60)")
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        assert ended(child) == (128 + number, "", "interrupted\n")

    def test_code_that_never_comes_back_to_python(self):
        """As a compiler: it waits without the interpreter, and no signal cuts it short."""
        wait = "print('ready')\nmutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock\n"
        wait += "lock(mutex)\nlock(mutex)"
        child = program(wait)
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert ended(child) == (130, "", "interrupted\n")

    @pytest.mark.parametrize(
        ("numbers", "status", "said"),
        [
            ((signal.SIGTERM, signal.SIGTERM, signal.SIGHUP), 0, ""),
            ((signal.SIGINT, signal.SIGINT), 130, "\ninterrupted\n"),
        ],
    )
    def test_in_training_a_second_ctrl_c_alone_ends_at_once(self, numbers, status, said):
        training = "asked = []\nfor number in process.SIGNALS:\n"
        training += "    signal.signal(number, lambda number, frame: asked.append(number))\n"
        training += f"print('ready')\nwhile len(asked) < {len(numbers)} and len(asked) < 3: time.sleep(0.01)\n"
        training += "time.sleep(0.2)\nprint(*asked)"
        child = program(training)
        assert child.stdout.readline() == "ready\n"
        for number in numbers:
            child.send_signal(number)
            signal.sigtimedwait([], 0.1)
        found = ended(child)
        assert found == (status, "15 15 1\n" if status == 0 else "", said)

    def test_nohup_is_respected(self):
        code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + PREPARED
        code += "os.kill(os.getpid(), signal.SIGHUP)\ntime.sleep(0.1)\nprint('goes on')"
        ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert ran.stdout == "goes on\n"

    def test_what_it_says(self, tmp_path):
        assert farewell(None) == farewell(tmp_path) == "interrupted"
        (tmp_path / "checkpoints" / "7").mkdir(parents=True)
        assert farewell(tmp_path) == "interrupted; the same command continues from the last checkpoint"

    @pytest.mark.parametrize(
        "command",
        [
            ["launch.py", "forecast"],
            ["-m", "experiments.forecast"],
            ["-m", "experiments.imdb"],
            ["-c", "import rnn_jax_command; rnn_jax_command.main()", "forecast"],
        ],
    )
    def test_every_command_is_prepared_before_anything_heavy(self, command, tmp_path):
        told = "import os\nfrom experiments.process import Process\nos._exit(7 if Process.output is not None else 0)\n"
        (tmp_path / "jax.py").write_text(told)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        assert subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=False).returncode == 7


class TestStreams:
    SAY = "print('a', flush=True)\nfor _ in range(9999): print('b' * 99)\nprint('end', file=sys.stderr)"

    @pytest.mark.parametrize("redirected", [">&-", "> /dev/full", "| head -c 1 > /dev/null"])
    def test_output_that_nobody_gets(self, redirected):
        assert shell(redirected, self.SAY) == (0, "", "end\n")

    @pytest.mark.parametrize("redirected", ["2>&-", "2> /dev/full", "2> >(true)"])
    def test_errors_that_nobody_gets(self, redirected):
        status, out, _ = shell(redirected, "for _ in range(9): print('x' * 99999, file=sys.stderr)\nprint('end')")
        assert (status, out) == (0, "end\n")

    def test_closed_files_are_not_taken_by_others(self):
        """What C++ writes to the number of stderr would land in a checkpoint."""
        lines = "print(open('README.md').fileno() > 2, sys.stdin.read() == '', os.isatty(0))"
        assert shell("<&- 2>&-", lines) == (0, "True True False\n", "")

    @pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
    def test_a_terminal_without_the_letters(self, environment):
        status, out, err = shell("", r"print('1 \xb1 2')" + "\n" + r"print('\xfc', file=sys.stderr)", **environment)
        assert status == 0
        assert out in ("1 \\xb1 2\n", "1 ± 2\n")
        assert err in ("\\xfc\n", "ü\n")

    def test_a_reader_that_takes_its_time(self):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        child = program("sys.stdout.write('x' * 300_000 + '\\n')", stdout=writer)
        os.close(writer)
        with open(reader, encoding="utf-8") as file:
            signal.sigtimedwait([], 0.3)
            assert len(file.read()) == 300_001
        assert ended(child)[0] == 0

    def test_the_first_error_is_kept(self):
        with open("/dev/full", "wb", buffering=0) as file:
            stream = Stream(file.fileno())
            stream.check()
            assert stream.write(b"abc") == 3
            with pytest.raises(OutputLost, match="standard output: No space left on device"):
                stream.check()

    def test_an_answer_that_nobody_gets_is_an_error_once(self):
        with open("/dev/full", "wb", buffering=0) as file:
            stream = Stream(file.fileno())
            stream.needed = True
            with pytest.raises(OutputLost):
                stream.write(b"abc")
            assert stream.write(b"abc") == 3
