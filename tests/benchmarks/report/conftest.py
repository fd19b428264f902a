"""A headless Chromium, spoken to over its debugging pipe."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Browser:
    """One page of a browser: what it says on its console and what it asks the network for."""

    pipe_out: IO[bytes]
    pipe_in: IO[bytes]
    session: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    _sent: int = 0
    _read: bytes = b""

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.pipe_out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._sent:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def complaints(self) -> list[dict[str, Any]]:
        kinds = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [e for e in self.events if e.get("method") in kinds]

    def requests(self) -> list[str]:
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [e["params"]["request"]["url"] for e in sent]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            block = self.pipe_in.read(1 << 16)
            assert block, "the browser has ended"
            self._read += block
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser that has nothing open yet."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    (commands_out, commands_in), (answers_out, answers_in) = os.pipe(), os.pipe()
    # The browser reads commands from descriptor 3 and answers on 4; the shell puts them there.
    options = "--headless=new --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe"
    line = f'exec "$0" {options} --user-data-dir="$1" 3<&{commands_out} 4>&{answers_in}'
    process = subprocess.Popen(  # noqa: S603 - the browser that was found, and a folder of ours
        ["/bin/bash", "-c", line, program, str(tmp_path / "profile")],
        pass_fds=(commands_out, answers_in),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_out)
    os.close(answers_in)
    with open(commands_in, "wb", buffering=0) as pipe_out, open(answers_out, "rb", buffering=0) as pipe_in:  # noqa: PTH123
        yield Browser(pipe_out, pipe_in)
    process.terminate()
    process.wait(20)
