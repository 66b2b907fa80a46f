"""Which packages a wheel has, and where; everything else about the project is in pyproject.toml.

The programs go inside the library, see `rnn_jax_command.py`. They are found and not listed, so that none is forgotten.
"""

from setuptools import find_packages, setup

PROGRAMS = ("experiments", "benchmarks")
INSIDE = "rnn_jax._programs"

setup(
    packages=[
        *find_packages(include=["rnn_jax", "rnn_jax.*"]),
        *(f"{INSIDE}.{name}" for top in PROGRAMS for name in find_packages(include=[top, f"{top}.*"])),
    ],
    py_modules=["rnn_jax_command"],
    package_dir={f"{INSIDE}.{top}": top for top in PROGRAMS},
)
