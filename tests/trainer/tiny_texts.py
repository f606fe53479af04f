"""Small generated data for the tests of text recipes: reviews whose every second word or so tells what they think."""

import json
import random
from pathlib import Path

GOOD = ("great", "lovely", "moving", "funny", "bright", "warm")
BAD = ("awful", "dull", "boring", "weak", "cold", "flat")
PLAIN = ("the", "film", "a", "story", "of", "people", "and", "their", "house", "in", "town", "with", "music")


def review(draw: random.Random, is_good: bool) -> str:
    words = draw.choices(PLAIN, k=draw.randint(3, 9))
    for _ in range(2):
        words.insert(draw.randint(0, len(words)), draw.choice(GOOD if is_good else BAD))
    return " ".join(words)


def write_reviews(path: Path, num: int, seed: int = 0) -> Path:
    """JSON lines with ``sentence`` and ``label``, good and bad in turn."""
    draw = random.Random(seed)
    rows = [{"sentence": review(draw, row % 2 == 1), "label": ("bad", "good")[row % 2]} for row in range(num)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_lines(path: Path, num: int, seed: int = 0) -> Path:
    """A text on each line, of one word several times: what is masked can be told from the rest."""
    draw = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(" ".join([draw.choice(GOOD + BAD)] * draw.randint(6, 12)) + "\n" for _ in range(num)))
    return path
