"""``python -m tests.bed``: says what the suite runs on, without starting anything."""

from tests.bed.servers import describe

if __name__ == "__main__":
    print(describe())
