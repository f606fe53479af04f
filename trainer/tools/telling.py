"""How a tool says how far it is, and hears that it should stop."""

from collections.abc import Callable

from trainer.state import Run

Tell = Callable[[int, int], None]


class StopAsked(Exception):
    """The run is to stop; a tool that hears it leaves nothing behind."""


def teller(run: Run) -> Tell:
    """``tell(done, total)``: writes progress a few times a second at most, and raises StopAsked once SIGTERM has come."""

    def tell(done: int, total: int) -> None:
        if run.stop.asked:
            raise StopAsked
        run.report.progress(step=done, total_steps=total)

    return tell


class Pace:
    """Where a tool is, told again for every bit of work: what works is seen to work, and hears soon that it should stop."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._place = tell, (0, 1)

    def at(self, done: int, total: int) -> None:
        self._place = (done, total)
        self.tick()

    def tick(self) -> None:
        self._tell(*self._place)
