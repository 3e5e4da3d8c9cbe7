"""Processes: start, output, respawn, stop."""

from __future__ import annotations

import asyncio
import codecs
import os
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import launch.logging
from launch.action import Action
from launch.actions.child_process import ChildProcess
from launch.conditions import evaluate_condition_expression
from launch.event import Event
from launch.event_handler import BaseEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import (
    ProcessExited,
    ProcessStarted,
    ProcessStderr,
    ProcessStdout,
    ShutdownProcess,
    SignalProcess,
)
from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.utilities import normalize_to_list_of_substitutions, perform_text, perform_typed


class ExecuteProcess(Action):
    """A process.

    Args:
        cmd: the arguments; each a text, a substitution or several that are joined.
        prefix: words in front of the command, such as "gdb -ex run --args".
        name: name for output lines instead of the name of the executable.
        cwd: folder to start in.
        env: the whole environment instead of the inherited one.
        additional_env: variables on top of it.
        shell: whether a shell reads the command.
        sigterm_timeout: seconds from SIGINT to SIGTERM.
        sigkill_timeout: seconds from SIGTERM to SIGKILL.
        emulate_tty: whether it believes that it writes to a terminal.
        output: "screen", "log" or "both"; see `launch.logging.get_output_loggers`.
        on_exit: action(s), or a function of event and context, for when it ends.
        respawn: whether to start it again when it ends.
        respawn_delay: seconds before that.
        respawn_max_retries: how often; negative means without end.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeSubstitutionsType],
        prefix: SomeSubstitutionsType | None = None,
        name: SomeSubstitutionsType | None = None,
        cwd: SomeSubstitutionsType | None = None,
        env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        additional_env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        shell: bool = False,
        sigterm_timeout: SomeSubstitutionsType | float = 5.0,
        sigkill_timeout: SomeSubstitutionsType | float = 5.0,
        emulate_tty: bool | SomeSubstitutionsType = False,
        output: SomeSubstitutionsType | dict = "log",
        on_exit: Any = None,
        respawn: bool | SomeSubstitutionsType = False,
        respawn_delay: float | None = None,
        respawn_max_retries: int = -1,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self._cmd = list(cmd)
        self._prefix = prefix
        self._name = name
        self._cwd = cwd
        self._env = env
        self._additional_env = additional_env
        self._shell = shell
        self._sigterm_timeout = sigterm_timeout
        self._sigkill_timeout = sigkill_timeout
        self._emulate_tty = emulate_tty
        self._output = output
        self._on_exit = on_exit
        self._respawn = respawn
        self._respawn_delay = respawn_delay
        self._respawn_max_retries = respawn_max_retries
        self.process_details: dict[str, Any] = {}
        self._child: ChildProcess | None = None
        self._task: asyncio.Task | None = None
        self._stop_task: asyncio.Task | None = None
        self._stop_wanted: asyncio.Event | None = None
        self.return_code: int | None = None

    @property
    def cmd(self) -> list:
        return self._cmd

    def get_asyncio_future(self) -> asyncio.Future | None:
        return self._task

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        if isinstance(self._on_exit, LaunchDescriptionEntity):
            return [self._on_exit]
        return list(self._on_exit) if isinstance(self._on_exit, list | tuple) else []

    def signal(self, number: int) -> None:
        """Send a signal to the process group if it runs."""
        if self._child is not None:
            self._child.signal_group(number)

    def execute(self, context: LaunchContext) -> None:
        """Start the process, unless the launch is already ending.

        Raises:
            RuntimeError: if this action is running.
        """
        if context.is_shutdown:
            return
        if self._task is not None and not self._task.done():
            raise RuntimeError(f"{self.describe()} was visited while its process is running")
        self._prepare(context)
        self._stop_wanted = asyncio.Event()
        handlers = [
            _Reaction(
                lambda e: isinstance(e, SignalProcess) and e.process_matcher(self),
                lambda event: self._child is not None and self._send(event.signal),
            ),
            _Reaction(
                lambda e: type(e) is ShutdownProcess and e.process_matcher(self),
                lambda event: self._stop(),
            ),
            _Reaction(lambda e: isinstance(e, Shutdown), lambda event: self._stop()),
        ]
        if self._on_exit is not None:
            handlers.append(OnProcessExit(target_action=self, on_exit=self._on_exit))

        def forget(event: _Finished) -> None:
            for handler in handlers:
                context.unregister_event_handler(handler)

        handlers.append(
            _Reaction(lambda e: isinstance(e, _Finished) and e.handlers is handlers, forget)
        )
        for handler in handlers:
            context.register_event_handler(handler)
        self._task = context.asyncio_loop.create_task(self._run(context, handlers))

    def describe(self) -> str:
        return f"{type(self).__name__}({self.process_details.get('name') or self._cmd})"

    # Before the start

    def _prepare(self, context: LaunchContext) -> None:
        cmd = [perform_text(context, part) for part in self._command(context)]
        name = perform_text(context, self._name) if self._name else os.path.basename(cmd[0])
        if self._prefix is not None:
            cmd = shlex.split(perform_text(context, self._prefix)) + cmd
        number = context.next_process_number()
        self.process_details = {
            "name": f"{name}-{number}",
            "cmd": cmd,
            "cwd": None if self._cwd is None else perform_text(context, self._cwd),
            "env": self._environment(context),
        }
        self._logger = launch.logging.get_logger(self.process_details["name"])
        output = (
            self._output if isinstance(self._output, dict) else perform_text(context, self._output)
        )
        self._output_loggers = launch.logging.get_output_loggers(
            self.process_details["name"], output
        )
        emulate_tty = context.launch_configurations.get("emulate_tty", self._emulate_tty)
        if not isinstance(emulate_tty, bool):
            emulate_tty = evaluate_condition_expression(
                context, normalize_to_list_of_substitutions(emulate_tty)
            )
        self._with_tty = emulate_tty
        self._respawns = perform_typed(context, self._respawn, bool)
        self._timeouts = (
            perform_typed(context, self._sigterm_timeout, float),
            perform_typed(context, self._sigkill_timeout, float),
        )

    def _command(self, context: LaunchContext) -> list[SomeSubstitutionsType]:
        """Return the command before its substitutions are performed; `Node` adds to it."""
        return self._cmd

    def _environment(self, context: LaunchContext) -> dict[str, str]:
        def performed(variables: Mapping | None) -> dict[str, str]:
            items = (variables or {}).items()
            return {perform_text(context, k): perform_text(context, v) for k, v in items}

        base = dict(context.environment) if self._env is None else performed(self._env)
        return {**base, **performed(self._additional_env)}

    # While it runs

    async def _run(self, context: LaunchContext, handlers: list) -> None:
        try:
            retries = 0
            while True:
                await self._run_once(context)
                retries_left = self._respawn_max_retries < 0 or retries < self._respawn_max_retries
                if not self._respawns or not retries_left or self._is_stopping(context):
                    return
                retries += 1
                if await self._stopped_within(self._respawn_delay or 0.0):
                    return
        finally:
            if self._stop_task is not None:
                self._stop_task.cancel()
            context.emit_event_sync(_Finished(handlers))

    async def _run_once(self, context: LaunchContext) -> None:
        details = self.process_details
        lines = {1: _Lines(self._output_loggers[0]), 2: _Lines(self._output_loggers[1])}
        event_types = {1: ProcessStdout, 2: ProcessStderr}

        def on_output(stream: int, data: bytes) -> None:
            lines[stream].feed(data)
            event = event_types[stream](text=data, action=self, **details)
            if context.would_handle_event(event):
                context.emit_event_sync(event)

        child = ChildProcess(
            details["cmd"],
            cwd=details["cwd"],
            env=details["env"],
            shell=self._shell,
            emulate_tty=self._with_tty,
            on_output=on_output,
        )
        details["pid"] = 0
        try:
            await child.start()
        except OSError as error:
            self._logger.error(f"cannot start '{' '.join(details['cmd'])}': {error}")
            self.return_code = 127
            self._respawns = False
            context.emit_event_sync(ProcessExited(returncode=127, action=self, **details))
            return
        self._child = child
        details["pid"] = child.pid
        self._logger.info(f"process started with pid [{child.pid}]")
        context.emit_event_sync(ProcessStarted(action=self, **details))
        if self._stop_wanted.is_set():
            self._begin_stop()
        code = self.return_code = await child.wait()
        await child.reap_group(self._timeouts[1])
        self._child = None
        for buffer in lines.values():
            buffer.flush()
        if code == 0:
            self._logger.info(f"process has finished cleanly [pid {child.pid}]")
        else:
            self._logger.error(
                f"process has died [pid {child.pid}, exit code {code}, "
                f"cmd '{' '.join(details['cmd'])}']."
            )
        context.emit_event_sync(ProcessExited(returncode=code, action=self, **details))

    def _is_stopping(self, context: LaunchContext) -> bool:
        return context.is_shutdown or self._stop_wanted.is_set()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop_wanted.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        return True

    # To the end

    def _stop(self) -> None:
        if self._stop_wanted.is_set():
            return
        self._stop_wanted.set()
        if self._child is not None:
            self._begin_stop()

    def _begin_stop(self) -> None:
        self._stop_task = asyncio.get_running_loop().create_task(self._escalate())

    async def _escalate(self) -> None:
        self._child.signal_group(signal.SIGINT)
        sent = "SIGINT"
        for next_signal, seconds in zip(("SIGTERM", "SIGKILL"), self._timeouts, strict=True):
            await asyncio.sleep(seconds)
            name = self.process_details["name"]
            self._logger.error(
                f"process[{name}] failed to terminate '{seconds:g}' seconds after "
                f"receiving '{sent}', escalating to '{next_signal}'"
            )
            self._send(signal.Signals[next_signal])
            sent = next_signal

    def _send(self, number: signal.Signals) -> None:
        name = self.process_details["name"]
        self._logger.info(f"sending signal '{number.name}' to process[{name}]")
        self._child.signal_group(number)


ExecuteLocal = ExecuteProcess


class _Finished(Event):
    """All events of a process have been emitted, so that its handlers can go once it is reached."""

    name = "launch.actions.ExecuteProcess.finished"

    def __init__(self, handlers: list[BaseEventHandler]) -> None:
        self.handlers = handlers


class _Reaction(BaseEventHandler):
    """Calls a function of the event."""

    def __init__(self, matcher: Callable[[Event], bool], function: Callable[[Event], Any]) -> None:
        super().__init__(matcher=matcher)
        self._function = function

    def handle(self, event: Event, context: LaunchContext) -> None:
        self._function(event)


class _Lines:
    """Cuts bytes into lines for a logger."""

    def __init__(self, logger) -> None:
        self._logger = logger
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._logger.info(line.rstrip("\r"))

    def flush(self) -> None:
        if self._rest:
            self._logger.info(self._rest)
            self._rest = ""
