"""A small table of hours for tests of the forecast: two targets, an input, a number that is known of the future."""

from pathlib import Path

import numpy as np
import pandas as pd

TABLE_FLAGS = ("--dataset=csv", "--time=when", "--hidden_size=4", "--epochs=2", "--batch_size=32", "--notrees")


def hours(rows: int, seed: int = 0) -> pd.DataFrame:
    """`when`, `load` (a day, the price and noise with a memory), `heat`, `wind`, `price`."""
    rng, t = np.random.default_rng(seed), np.arange(rows)
    price, noise, wind = rng.standard_normal((3, rows))
    memory = np.zeros(rows)
    for k in range(1, rows):
        memory[k] = 0.8 * memory[k - 1] + 0.3 * noise[k]
    load = 20 + 3 * np.sin(2 * np.pi * t / 24) + price + memory
    return pd.DataFrame(
        {
            "when": pd.date_range("2021-03-01", periods=rows, freq="h").strftime("%Y-%m-%d %H:%M"),
            "load": load,
            "heat": 5 - 0.5 * load + 0.2 * noise,
            "wind": wind,
            "price": price,
        }
    )


def write(table: pd.DataFrame, file: Path) -> Path:
    """The table as a CSV file, numbers to the last bit, missing ones as empty cells."""
    table.to_csv(file, index=False, float_format="%.17g")
    return file
