"""The Qdrant store as the Index opens it, and what its checks of collections cost."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from deployments.config import IndexConfig
from deployments.index import build_store
from deployments.stores.base import Namespace
from deployments.stores.qdrant.store import QdrantStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT

NS = Namespace("acme", "docs")


def test_qdrant_gets_the_configured_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(QdrantStore, "__init__", lambda _, url, **rest: told.update(rest, url=url))
    key_file = tmp_path / "key"
    key_file.write_text("secret\n")
    config = IndexConfig(
        engine="qdrant",
        url="http://q:6333",
        api_key_file=str(key_file),
        shard_number=6,
        replication_factor=3,
        write_consistency_factor=2,
    )
    build_store(config)
    assert told == {
        "url": "http://q:6333",
        "api_key": "secret",
        "shard_number": 6,
        "replication_factor": 3,
        "write_consistency_factor": 2,
    }
    assert "secret" not in config.model_dump_json()
    key_file.unlink()
    with pytest.raises(FileNotFoundError):
        build_store(config)


async def test_concurrent_checks_share_one_read_of_qdrant(monkeypatch: pytest.MonkeyPatch) -> None:
    store = QdrantStore(":memory:", replication_factor=1)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    store._registry._read.clear()
    calls: list[str] = []
    for name in ("retrieve", "count"):
        ask = getattr(store._client, name)

        async def counted(*args: Any, name: str = name, ask: Any = ask, **rest: Any) -> Any:
            calls.append(name)
            await asyncio.sleep(0.01)
            return await ask(*args, **rest)

        monkeypatch.setattr(store._client, name, counted)
    asked = [asyncio.create_task(store.fingerprint(NS)) for _ in range(20)]
    await asyncio.sleep(0)
    asked[0].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[1:] == [FINGERPRINT] * 19
    assert calls == ["retrieve"]
    await store.close()
