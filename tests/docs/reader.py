"""Somebody who does what the tutorial says, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import django_ciam_token

ROOT = Path(__file__).resolve().parent.parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(
    r"(<!-- not run[^\n]*-->\n)?(?:(At the end of )?`([\w/]+\.\w+)`:\n\n)?```(\w+)\n(.*?)```\n", re.DOTALL
)
END = "--end-of-the-output--"


class Reader:
    """Types what the tutorial says into one shell, and compares the output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.answers: list[dict[str, object]] = []
        (folder / "shop").mkdir()
        (folder / "django_ciam_token").symlink_to(ROOT)  # the clone that the documentation speaks of
        self._install_commands(folder / "bin")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
        self._environment = {
            **variables,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            # The package that these tests import, however it was installed.
            "PYTHONPATH": str(Path(django_ciam_token.__file__).resolve().parent.parent),
        }
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=folder / "shop",
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._server: subprocess.Popen[bytes] | None = None

    def _install_commands(self, folder: Path) -> None:
        # Scripts, because a link would hide the virtual environment that the interpreter is in.
        folder.mkdir()
        for name, arguments in (("python", '"$@"'), ("django-admin", '-m django "$@"')):
            script = folder / name
            script.write_text(f"#!/bin/sh\nexec {sys.executable} {arguments}\n")
            script.chmod(0o755)

    def follow(self, text: str) -> None:
        """Do what each block says, in order."""
        for match in BLOCK.finditer(text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")):
            not_run, at_the_end, name, language, content = match.groups()
            if not_run:
                continue
            if name:
                self._write(self.folder / "shop" / name, content, add=bool(at_the_end))
            elif language == "console":
                self.type_block(content)
            elif language == "sh":
                self.type_block("".join(f"$ {line}\n…\n" for line in content.splitlines()))
            else:
                pytest.fail(f"a block that is neither a file nor commands: {content}")

    def _write(self, path: Path, content: str, *, add: bool) -> None:
        path.write_text(path.read_text() + "\n" + content if add else content)
        if self._server:
            self.start_server()

    def type_block(self, block: str) -> None:
        """Type the commands of a block, and compare what they print."""
        commands = re.split(r"^\$ ", block, flags=re.MULTILINE)
        assert commands.pop(0) == "", "console blocks begin with a command"
        for command in commands:
            line, _, expected = command.partition("\n")
            if line == "python manage.py runserver":
                self.start_server()
            else:
                self._compare(line, expected, self._run(line))

    def _run(self, line: str) -> str:
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{line}\necho; echo {END} $?\n")
        self._shell.stdin.flush()
        output = "".join(iter(self._line, None))
        if output.startswith('{"access_token"'):
            self.answers.append(json.loads(output))
        return output

    def _line(self) -> str | None:
        assert self._shell.stdout
        line = self._shell.stdout.readline()
        assert line, "the shell has ended"
        if line.startswith(END):
            assert line.split()[1] == "0", "the command failed"
            return None
        return line

    def _compare(self, line: str, expected: str, output: str) -> None:
        pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
        assert re.fullmatch(pattern, output.strip(), re.DOTALL), f"$ {line}\n{output}\nis not\n{expected}"

    def start_server(self) -> None:
        """Start the site, or start it again, since a file has changed."""
        self._stop_server()
        command = [sys.executable, "manage.py", "runserver", "--noreload", str(self.port)]
        self._server = subprocess.Popen(
            command,
            cwd=self.folder / "shop",
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("the site does not start")

    def _stop_server(self) -> None:
        if self._server:
            self._server.terminate()
            self._server.wait(10)

    def close(self) -> None:
        """Leave."""
        self._stop_server()
        assert self._shell.stdin
        self._shell.stdin.close()
        self._shell.wait(10)
        assert self._shell.stdout
        self._shell.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
