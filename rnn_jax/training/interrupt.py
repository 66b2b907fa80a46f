"""Ctrl-C and SIGTERM as a request to save and end."""

import signal
from types import FrameType


class InterruptRequest:
    """Inside its `with`, the first SIGINT or SIGTERM only sets `signal_number`; a second acts at once, as usual.

    A training step must not be torn apart, so the loop looks at `signal_number` between two dispatches.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __enter__(self) -> "InterruptRequest":
        self.before = {number: signal.signal(number, self._request) for number in self.SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        for each, handler in self.before.items():
            signal.signal(each, handler)
