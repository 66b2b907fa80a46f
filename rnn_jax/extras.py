"""What to install where a package is missing that does not come with the core."""

import importlib.util


def need(who: str, *packages: str, extra: str = "experiments") -> None:
    """Passes if all packages are there; they are looked for and not imported.

    The core takes JAX, Flax, Optax and NumPy. Reading data, training and drawing take what the extra `experiments` has.

    Args:
        who: what cannot do without them, as a message names it.
        packages: the names that one imports.
        extra: what brings them.

    Raises: `ModuleNotFoundError`, one line that says what is missing and what to install.

    >>> need("reading", "json")
    >>> need("reading", "json", "no_such_package")
    Traceback (most recent call last):
    ModuleNotFoundError: reading needs no_such_package: pip install "rnn_jax[experiments]"
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f'{who} needs {", ".join(missing)}: pip install "rnn_jax[{extra}]"', name=missing[0])
