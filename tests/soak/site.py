"""The site of the faults, with settings and an operator of its own, and the operator's commands."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.faults.site import Site


class SoakSite(Site):
    settings = "tests.soak.settings"
    operations = "tests.soak.operations"


class Operator:
    """Runs the operator's commands one after the other, without stopping the load."""

    def __init__(self, site: SoakSite) -> None:
        self._site = site
        self._turn = asyncio.Lock()

    async def __call__(self, command: str) -> Any:
        async with self._turn:
            return await asyncio.to_thread(self._site.operate, command)
