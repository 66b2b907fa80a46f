"""Lists the experiments, or runs one: `python launch.py NAME --flag=value`."""
