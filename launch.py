"""Lists the experiments, or runs one: `python launch.py NAME --flag=value`."""

import sys

from experiments import main, process

if __name__ == "__main__":
    process.prepare()
    sys.exit(main(sys.argv[1:]))
