"""TLS towards clients and towards the model server."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from driftgauge.agent.gateway import worker
from driftgauge.agent.gateway.parts import Parts
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from tests.gateway.upstream import Hit, Upstream, answer_of, run
from tests.kafka.certificates import Authority

CHAT = "/v1/chat/completions"
BODY = b'{"model": "m", "messages": []}'


def settings_with(**gateway: str) -> Settings:
    return load_settings(overrides={f"gateway.{name}": value for name, value in gateway.items()})


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[int]:
    """The port of the door of a worker with these settings."""
    proxy = worker.proxy_of(settings.gateway, Parts(settings, CollectorRegistry()))
    async with proxy.connected() as server:
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=worker._tls(settings.gateway)).start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


async def post(port: int) -> tuple[int, bytes]:
    url = f"http://127.0.0.1:{port}{CHAT}"
    async with aiohttp.ClientSession() as client, client.post(url, data=BODY) as answer:
        return answer.status, await answer.read()


def test_a_gateway_speaks_tls_to_its_clients_and_to_an_upstream_that_it_trusts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One gateway is the upstream of two others, of which one does not trust it."""
    authority = Authority(tmp_path, "ours")
    chain, key = authority.issue("localhost", "server")

    async def work() -> None:
        async with (
            Upstream().listening() as url,
            listening(settings_with(upstream=url, tls_certfile=str(chain), tls_keyfile=str(key))) as inner,
        ):
            there = f"https://localhost:{inner}"
            async with listening(settings_with(upstream=there, upstream_cafile=str(authority.file))) as trusting:
                assert await post(trusting) == (200, answer_of(Hit("POST", CHAT, [], BODY)))
            async with listening(settings_with(upstream=there)) as distrusting:
                status, body = await post(distrusting)
                assert (status, b"certificate is not trusted" in body) == (502, True)

    run(work())
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


@pytest.mark.parametrize("name", ["tls_certfile", "upstream_cafile"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_cannot_be_used_is_an_error_that_names_the_setting(
    name: str, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    more = {"tls_keyfile": str(file)} if name == "tls_certfile" else {}
    gateway = settings_with(**{name: str(file)}, **more).gateway
    with pytest.raises(ConnectorError, match=rf"gateway\.{name}: .*file\.pem") as caught:
        worker._tls(gateway) if more else worker._upstream(gateway)
    assert not caught.value.retriable


def test_a_gateway_whose_certificate_cannot_be_used_does_not_say_that_it_listens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = str(tmp_path / "nowhere.pem")
    settings = load_settings(
        overrides={
            "gateway.port": 0,
            "gateway.status_port": 0,
            "gateway.tls_certfile": file,
            "gateway.tls_keyfile": file,
        }
    )
    with caplog.at_level(logging.INFO, "driftgauge"), pytest.raises(ConnectorError, match=r"nowhere\.pem"):
        worker.run_worker(settings, threading.Event())
    assert "listens" not in caplog.text
