"""Lists the experiments, or runs one: `python launch.py NAME --flag=value`."""

import sys

from experiments import EXPERIMENTS, launchable


def main(arguments: list[str]) -> int:
    """Runs the named experiment, or prints the list; returns the exit status."""
    if not arguments or arguments[0] in ("--help", "-h"):
        print("python launch.py NAME [--flag=value ...]    (NAME --help lists its flags)\n")
        for name, entry in EXPERIMENTS.items():
            print(f"  {name:<14} {entry.about}")
        return 0
    name, *rest = arguments
    experiment = launchable(name)
    if experiment is None:
        print(f"error: no experiment called {name!r}: take one of {', '.join(EXPERIMENTS)}", file=sys.stderr)
        return 2
    return experiment.main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
