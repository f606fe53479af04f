"""What every group of calls is made of: one answer, or the items of a list, page by page."""

from collections.abc import Iterator
from typing import TypeVar

from pydantic import BaseModel

from core.wire.base import Page
from trainyard.transport import Call, Parameters, Transport, read

Item = TypeVar("Item", bound=BaseModel)
PAGE = 100


class Calls:
    """Methods that speak through one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _post(
        self, model: type[Item], path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None, is_repeatable: bool = True
    ) -> Item:
        call = Call(method="POST", path=path, body=body, headers=headers, is_repeatable=is_repeatable)
        return read(model, self._transport.answer(call))

    def _items(self, page: type[Page[Item]], path: str, params: Parameters | None = None, *, limit: int | None = None) -> Iterator[Item]:
        after: str | None = None
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            answer = self._transport.get(page, path, {**(params or {}), "after": after, "limit": size})
            yield from answer.data
            left = None if left is None else left - len(answer.data)
            after = answer.last_id
            if not answer.has_more or not after:
                return
