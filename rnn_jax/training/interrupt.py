"""Ctrl-C, SIGTERM and SIGHUP as a request to save and end."""

import signal
import threading
from types import FrameType


class InterruptRequest:
    """Inside its `with`, SIGINT, SIGTERM and SIGHUP only set `signal_number`; a second SIGINT acts at once, as usual.

    A training step must not be torn apart, so the loop looks at `signal_number` between two dispatches. A second
    SIGTERM or SIGHUP says nothing new: a terminal that closes sends two of them. A request that came too late for the
    loop acts as usual when the `with` ends.

    SIGHUP stays ignored where it is, as `nohup` asks. In another thread than the main one, which alone may have
    handlers, nothing is changed.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __enter__(self) -> "InterruptRequest":
        self.before = {number: signal.getsignal(number) for number in self.SIGNALS}
        if threading.current_thread() is not threading.main_thread():
            self.before = {}
        for number, handler in self.before.items():
            if number == signal.SIGINT or handler is not signal.SIG_IGN:
                signal.signal(number, self._request)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if kind is None and self.signal_number is not None:
            signal.raise_signal(self.signal_number)

    def _request(self, number: int, frame: FrameType | None) -> None:
        usual = self.before[number]
        if number == signal.SIGINT == self.signal_number and callable(usual):
            usual(number, frame)
        self.signal_number = number
