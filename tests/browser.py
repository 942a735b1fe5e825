"""A real browser for tests, as pages are looked at in one."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """A headless Chromium driven through the pipes of its DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # to the browser, and from it

        def wire() -> None:
            os.dup2(os.dup(ours[0]), 3)
            os.dup2(os.dup(theirs[1]), 4)

        words = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            [str(CHROMIUM), *words], preexec_fn=wire, close_fds=False, stderr=subprocess.DEVNULL
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.send, self.receive, self.number, self.session = ours[1], os.fdopen(theirs[0], "rb"), 0, ""
        self.requested: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while True:
            text = b"".join(iter(lambda: self.receive.read(1), b"\0"))
            answer = json.loads(text)
            if answer.get("method") == "Network.requestWillBeSent":
                self.requested.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                return dict(answer["result"])

    def open(self, url: str) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable")
        self.call("Page.navigate", url=url)

    def look(self, width: int, colours: str) -> None:
        """Show the page on a screen so many pixels wide; `colours` is "light" or "dark"."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])

    def wait_for(self, expression: str, seconds: int = 60) -> Any:
        for _ in range(seconds * 5):
            found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(expression)
