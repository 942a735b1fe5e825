"""A headless Chromium to look at pages with, over its DevTools protocol."""

import asyncio
import base64
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One tab; `open`, then `ask` it in JavaScript, or keep a picture.

    Attributes:
        errors: what scripts raised on the page opened last.
    """

    def __init__(self, home: Path) -> None:
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={home}"]
        line = [str(CHROMIUM), *words, "--remote-debugging-port=0", "about:blank"]
        self.process = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.loop, self.number, self.errors = asyncio.new_event_loop(), 0, list[str]()
        port = self._until(lambda: (home / "DevToolsActivePort").read_text().split()[0])
        self.session, self.socket = self.loop.run_until_complete(self._connect(port))
        self("Page.enable")
        self("Runtime.enable")

    async def _connect(self, port: str) -> tuple[aiohttp.ClientSession, Any]:
        session = aiohttp.ClientSession()
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            (target,) = [target for target in await answer.json() if target["type"] == "page"]
        return session, await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)

    def _until(self, done: Any, patience: float = 60) -> Any:
        """What `done` gives once it gives something; it may fail until then."""
        deadline = time.monotonic() + patience
        while True:
            try:
                if found := done():
                    return found
            except (OSError, IndexError):
                pass
            assert time.monotonic() < deadline, "the browser does not come to it"
            time.sleep(0.1)

    def __call__(self, method: str, **params: Any) -> Any:
        """One command of the protocol, and its result."""

        async def exchange() -> Any:
            self.number += 1
            await self.socket.send_json({"id": self.number, "method": method, "params": params})
            while (message := await self.socket.receive_json(timeout=120)).get("id") != self.number:
                if message.get("method") == "Runtime.exceptionThrown":
                    self.errors.append(str(message["params"]["exceptionDetails"]))
            assert "error" not in message, message
            return message["result"]

        return self.loop.run_until_complete(exchange())

    def open(self, url: str, width: int = 1400, height: int = 900, dark: bool = False, until: str = "") -> None:
        """Show a page of so many CSS pixels; wait until a JavaScript expression holds."""
        phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self("Emulation.setDeviceMetricsOverride", **phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.errors.clear()
        self("Page.navigate", url="about:blank")
        self("Page.navigate", url=url)
        self.wait(f"location.href != 'about:blank' && document.readyState == 'complete' && ({until or 'true'})")

    def wait(self, condition: str) -> Any:
        """What a JavaScript expression gives, once that is true."""
        return self._until(lambda: self.ask(f"(() => {{ try {{ return {condition} }} catch {{ return false }} }})()"))

    def ask(self, expression: str) -> Any:
        """What a JavaScript expression gives, as plain values."""
        found = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path, whole: bool = True) -> None:
        """Keep what is shown, or the whole page, as a PNG."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    def close(self) -> None:
        """End the browser."""
        self.loop.run_until_complete(self.session.close())
        self.loop.close()
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for the tests of a module; they are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()
