"""Progress of work that has no steps to tell: a library is busy for minutes and says nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from trainer.state import Run

BEAT_SECONDS = 1.0
SIGN_OF_LIFE = 0.01  # seconds of computing since the last beat


@contextmanager
def signs_of_life(run: Run) -> Iterator[None]:
    """Reports progress for as long as this process computes: what stands still counts as hung."""
    done = threading.Event()

    def beat() -> None:
        worked = time.process_time()
        while not done.wait(BEAT_SECONDS):
            if time.process_time() - worked > SIGN_OF_LIFE:
                worked = time.process_time()
                run.report.progress()

    thread = threading.Thread(target=beat, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
