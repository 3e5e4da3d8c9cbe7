"""Lines on the screen and in `launch.log`.

Messages of launch look like `[INFO] [launch]: text`, lines of processes like `[name-1] text`.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import socket
import sys
from pathlib import Path

__all__ = ["get_logger", "get_output_loggers", "launch_config"]

# Which of (stdout, stderr) go to (the screen, the log file).
OUTPUTS = {
    "screen": {"stdout": {"screen"}, "stderr": {"screen"}, "both": {"log"}},
    "log": {"both": {"log"}, "stderr": {"screen"}},
    "both": {"both": {"screen", "log"}},
    "own_log": {"both": {"log"}},
    "full": {"both": {"screen", "log"}},
}


class LaunchConfig:
    """Where launch writes its log; the folder is made when it is first needed."""

    def __init__(self) -> None:
        self._log_dir: Path | None = None
        self._file_handler: logging.Handler | None = None
        self.screen_handler = _ScreenHandler()
        self.level = logging.INFO

    @property
    def log_dir(self) -> str:
        """The folder of this launch's log, below $ROS_LOG_DIR, $ROS_HOME/log or ~/.ros/log."""
        if self._log_dir is None:
            moment = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S-%f")
            self._log_dir = _log_root() / f"{moment}-{socket.gethostname()}-{os.getpid()}"
            self._log_dir.mkdir(parents=True, exist_ok=True)
        return str(self._log_dir)

    @log_dir.setter
    def log_dir(self, path: str) -> None:
        self._file_handler = None
        self._log_dir = Path(path)
        self._log_dir.mkdir(parents=True, exist_ok=True)

    @property
    def file_handler(self) -> logging.Handler:
        """The handler that appends to `launch.log`; nothing is written where no folder can be."""
        if self._file_handler is None:
            try:
                self._file_handler = logging.FileHandler(Path(self.log_dir) / "launch.log")
            except OSError as error:
                self._file_handler = logging.NullHandler()
                print(f"no launch.log is written: {error}", file=sys.stderr)
            self._file_handler.setFormatter(_Formatter(timestamps=True))
        return self._file_handler


def get_logger(name: str | None = None) -> logging.Logger:
    """Return the logger that writes `[LEVEL] [name]: text` to the screen and to the log file."""
    logger = _detached_logger(name or "launch", {"screen", "log"})
    logger.setLevel(launch_config.level)
    return logger


def get_output_loggers(
    process_name: str, output: str | dict
) -> tuple[logging.Logger, logging.Logger]:
    """Return the loggers of a process's stdout and stderr.

    Args:
        process_name: prefix of its lines.
        output: "screen", "log", "both", "own_log", "full", or a dict from "stdout", "stderr",
            "both" to a subset of {"screen", "log"}. $OVERRIDE_LAUNCH_PROCESS_OUTPUT wins.

    Raises:
        ValueError: if the word is unknown.
    """
    output = os.environ.get("OVERRIDE_LAUNCH_PROCESS_OUTPUT") or output
    if isinstance(output, str):
        if output not in OUTPUTS:
            raise ValueError(
                f"output of '{process_name}' is '{output}', not one of {list(OUTPUTS)}"
            )
        output = OUTPUTS[output]

    def sinks(stream: str) -> set[str]:
        chosen: set[str] = set()
        for key in (stream, "both"):
            value = output.get(key, set())
            chosen |= {value} if isinstance(value, str) else set(value)
        return chosen

    return tuple(
        _detached_logger(process_name, sinks(stream), level_name=False)
        for stream in ("stdout", "stderr")
    )


class _Formatter(logging.Formatter):
    def __init__(self, timestamps: bool = False) -> None:
        super().__init__()
        self._timestamps = timestamps

    def format(self, record: logging.LogRecord) -> str:
        time = f"{record.created:.7f} " if self._timestamps else ""
        if getattr(record, "level_name", True):
            return f"{time}[{record.levelname}] [{record.name}]: {record.getMessage()}"
        return f"{time}[{record.name}] {record.getMessage()}"


class _ScreenHandler(logging.Handler):
    """Writes to the stdout of the moment, and goes on when its reader is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            print(self.format(record), file=sys.stdout, flush=True)


class _Logger(logging.Logger):
    """A logger outside Python's hierarchy, so that a process may have any name."""

    def __init__(self, name: str, sinks: set[str], level_name: bool) -> None:
        super().__init__(name)
        self._sinks = sinks
        self._level_name = level_name

    def handle(self, record: logging.LogRecord) -> None:
        record.level_name = self._level_name
        if "screen" in self._sinks:
            launch_config.screen_handler.handle(record)
        if "log" in self._sinks:
            launch_config.file_handler.handle(record)

    def isEnabledFor(self, level: int) -> bool:
        return level >= (self.level or logging.DEBUG)


def _detached_logger(name: str, sinks: set[str], level_name: bool = True) -> logging.Logger:
    return _Logger(name, sinks, level_name)


def _log_root() -> Path:
    if os.environ.get("ROS_LOG_DIR"):
        return Path(os.environ["ROS_LOG_DIR"]).expanduser()
    return Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser() / "log"


launch_config = LaunchConfig()
