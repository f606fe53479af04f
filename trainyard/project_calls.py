"""The client's calls for the project itself: how long it keeps what it has."""

import json
from collections.abc import Iterator, Mapping

from core.wire.base import Page
from core.wire.projects import Kind, Project, Removal
from trainyard.calls import Calls
from trainyard.transport import Call, read


class ProjectCalls(Calls):
    """A part of ``Client``. ``project`` is another one than the key's own; operators only."""

    def project(self, *, project: str | None = None) -> Project:
        return self._transport.get(Project, "/v1/project", {"project": project})

    def retain(self, days: Mapping[Kind, int | None], *, project: str | None = None) -> Project:
        """Has the project keep these kinds so many days, or with None for ever; the others stay as they are."""
        body = json.dumps({f"{kind}_days": value for kind, value in days.items()}).encode()
        headers = {"Content-Type": "application/json"}
        call = Call(method="PATCH", path="/v1/project/retention", params={"project": project}, body=body, headers=headers)
        return read(Project, self._transport.answer(call))

    def removals(self, *, project: str | None = None) -> Iterator[Removal]:
        """What retention removed, newest first."""
        return self._items(Page[Removal], "/v1/project/removals", {"project": project})
