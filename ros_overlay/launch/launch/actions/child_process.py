"""One child process in a session of its own: output as it comes, signals to its whole group."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ChildProcess:
    """A running child; its descendants share its process group and are stopped with it.

    Args:
        cmd: the arguments; one shell command line if `shell`.
        emulate_tty: give it pseudo terminals, so that it buffers lines and shows colours.
        on_output: called with (1 or 2, bytes) for what it writes to stdout or stderr.
    """

    def __init__(
        self,
        cmd: list[str],
        *,
        cwd: str | None,
        env: dict[str, str],
        shell: bool,
        emulate_tty: bool,
        on_output: Callable[[int, bytes], None],
    ) -> None:
        self._cmd = cmd
        self._cwd = cwd
        self._env = env
        self._shell = shell
        self._emulate_tty = emulate_tty
        self._on_output = on_output
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> None:
        """Start it.

        Raises:
            OSError: if there is no such executable or folder.
        """
        streams = [os.openpty() if self._emulate_tty else os.pipe() for _ in range(2)]
        ours, theirs = zip(*streams, strict=True)
        options = dict(
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs[0],
            stderr=theirs[1],
            cwd=self._cwd,
            env=self._env,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            if self._shell:
                command = " ".join(self._cmd)
                self._process = await asyncio.create_subprocess_shell(command, **options)
            else:
                self._process = await asyncio.create_subprocess_exec(*self._cmd, **options)
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._readers = [
            asyncio.create_task(self._read(number, descriptor))
            for number, descriptor in enumerate(ours, start=1)
        ]

    def signal_group(self, number: int) -> bool:
        """Send a signal to the process and its descendants; return whether any was there."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    async def wait(self) -> int:
        """Return the exit code, negative for a signal, once its output has been handed on."""
        return_code = await self._process.wait()
        # A descendant that lives on may hold the streams open, so they are not waited for long.
        await asyncio.wait(self._readers, timeout=0.5)
        return return_code

    async def reap_group(self, timeout: float) -> None:
        """Stop the descendants that the process left behind: SIGTERM, after `timeout` s SIGKILL."""
        if self.signal_group(signal.SIGTERM):
            deadline = asyncio.get_running_loop().time() + timeout
            while _group_is_alive(self.pid):
                if asyncio.get_running_loop().time() > deadline:
                    self.signal_group(signal.SIGKILL)
                    break
                await asyncio.sleep(0.02)
        for reader in self._readers:
            reader.cancel()

    async def _read(self, number: int, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        file = os.fdopen(descriptor, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), file
        )
        try:
            # The end of a pseudo terminal is an error (EIO), the end of a pipe is not.
            with contextlib.suppress(OSError):
                while data := await stream.read(65536):
                    self._on_output(number, data)
        finally:
            transport.close()


def _group_is_alive(group: int) -> bool:
    """Return whether the group has members other than zombies that nobody has reaped."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, member_of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(member_of) == group and state not in "ZX":
                return True
    return False


def _die_with_parent() -> None:
    """Let the kernel stop the child if launch itself is killed and cannot."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
