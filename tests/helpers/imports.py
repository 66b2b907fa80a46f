"""What importing a module brings along."""

import subprocess
import sys

PROGRAM = """
import importlib, sys
import rnn_jax
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*{name.partition(".")[0] for name in set(sys.modules) - before} - {"rnn_jax"} - sys.stdlib_module_names)
"""


def third_party_imports(*modules: str) -> set[str]:
    """The packages that importing these modules loads in a new process, beyond those of `import rnn_jax`."""
    command = [sys.executable, "-c", PROGRAM, *modules]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
