"""Lists the experiments, or runs one: `python launch.py NAME --flag=value`."""

import importlib
import sys

EXPERIMENTS = {
    "forecast": "forecast an hourly series, against persistence and linear autoregression",
    "imdb": "classify film reviews, against a linear classifier of word n-grams",
    "ntc_scv": "the same for Vietnamese restaurant reviews",
    "vanishing": "where the gradient goes: how fast it vanishes or explodes, by cell, initialization and length",
    "memory": "learn what takes a long memory: adding, copying, temporal order, MNIST a pixel at a time",
    "spelled_out": "train with nothing but the hand-derived gradient, on a noisy sine with trend",
    "gradcheck": "compare hand-derived, automatic and finite-difference gradients for every cell",
    "long_sequences": "memory, time and truncation bias of gradients through up to a million steps",
    "benchmark": "time a recurrent layer against PyTorch, Flax, Equinox, Haiku and Keras",
}


def main(arguments: list[str]) -> int:
    """Runs the named experiment, or prints the list; returns the exit status."""
    if not arguments or arguments[0] in ("--help", "-h"):
        print("python launch.py NAME [--flag=value ...]    (NAME --help lists its flags)\n")
        for name, about in EXPERIMENTS.items():
            print(f"  {name:<14} {about}")
        return 0
    name, *rest = arguments
    if name not in EXPERIMENTS:
        print(f"error: no experiment called {name!r}: take one of {', '.join(EXPERIMENTS)}", file=sys.stderr)
        return 2
    return importlib.import_module(f"experiments.{name}").main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
