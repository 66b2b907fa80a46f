"""What can end a training run early; each message is one line for the person who started it."""


class TrainingError(Exception):
    """Something that whoever started the run can put right."""


class OutOfMemory(TrainingError):
    """More memory is wanted than is free; the message has both."""


class Interrupted(Exception):
    """The run was asked to end (Ctrl-C, SIGTERM or SIGHUP) and has saved its state.

    Attributes:
        signal_number: the signal that asked.
        step: the step that was saved.
    """

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"stopped at step {step} and saved; the same command continues from there")
        self.signal_number = signal_number
        self.step = step
