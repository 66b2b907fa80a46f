"""Lists the experiments, or runs one: `python launch.py NAME --flag=value`."""

import sys

from experiments import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
