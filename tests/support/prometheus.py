"""A real Prometheus on loopback, which reads real processes every second."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str
    session: aiohttp.ClientSession

    async def values(self, expr: str) -> list[float]:
        """What a query answers now: real numbers only. Fails if Prometheus cannot read it."""
        data = await self._get("query", query=expr)
        return [value for one in data["result"] if not math.isnan(value := float(one["value"][1]))]

    async def rules(self) -> dict[str, dict[str, Any]]:
        """Its alert rules by name, as they were evaluated last."""
        groups = (await self._get("rules"))["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    async def sees(self, expr: str, *, seconds: float = 30) -> list[float]:
        """Wait until a query has an answer."""
        deadline = time.monotonic() + seconds
        while not (found := await self.values(expr)):
            assert time.monotonic() < deadline, f"no data within {seconds} s: {expr}"
            await asyncio.sleep(0.2)
        return found

    async def ready(self, *, seconds: float = 60) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + seconds
        while not await self._serves():
            assert time.monotonic() < deadline, "Prometheus does not begin"
            await asyncio.sleep(0.2)

    async def _serves(self) -> bool:
        try:
            async with self.session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def _get(self, what: str, **query: str) -> dict[str, Any]:
        async with self.session.get(f"{self.url}/api/v1/{what}", params=query) as answer:
            told = await answer.json()
        assert told["status"] == "success", told
        data: dict[str, Any] = told["data"]
        return data


@asynccontextmanager
async def prometheus(
    program: Path, folder: Path, *, port: int, rules: Path, targets: Mapping[str, int]
) -> AsyncIterator[Prometheus]:
    """One that evaluates ``rules`` and reads ``targets`` (ports by job) as a ServiceMonitor that honours our labels makes it."""
    jobs = [
        {"job_name": job, "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{number}"]}]}
        for job, number in targets.items()
    ]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": every, "rule_files": [str(rules)], "scrape_configs": jobs}))
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(program),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            running = Prometheus(f"http://127.0.0.1:{port}", session)
            await running.ready()
            yield running
    finally:
        process.kill()
        await process.wait()
