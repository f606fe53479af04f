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
