"""Small tables whose answers are known, for the tests of recipes that read tables."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

HEADER = ["id", "length", "colour", "weight", "label"]
NUM_USERS, NUM_ITEMS = 30, 24


def write(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def things(num: int = 240) -> list[list[Any]]:
    """Length and colour decide the class; some cells are missing; ``id`` is another text in each row."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(num):
        length, colour = random.normal(), random.choice(["red", "green", "blue"])
        label = "big" if length + {"red": 1.0, "green": 0.0, "blue": -1.0}[colour] > 0 else "small"
        cell = "NA" if number % 20 == 0 else f"{length:.4f}"
        rows.append([f"row-{number}", cell, "" if number % 30 == 1 else colour, round(length * 3 + 5, 3), label])
    return rows


def tastes() -> list[list[Any]]:
    """Two tastes: even users like even items. Users and items also differ in how much is given and got."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(NUM_USERS):
        for item in random.permutation(NUM_ITEMS)[:16]:
            liking = 2.0 if user % 2 == item % 2 else -2.0
            rows.append([f"u{user}", f"i{item}", round(min(max(5 + liking + user % 3 - 1 + item % 4 / 2, 0), 10), 1)])
    return [[*row, 1_000_000 + number] for number, row in enumerate(rows[position] for position in random.permutation(len(rows)))]
