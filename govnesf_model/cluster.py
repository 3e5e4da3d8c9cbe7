"""One function over many scenes: in this process, or as Ray tasks on many machines.

    tasks = [Task(scene.name, key, argument), ...]
    store = ResultStore(out / "scenes")
    for task, result in run_stored(measure, tasks, store, ClusterOptions(address="auto")):
        ...

The function is a module's own (so that other machines can import it), takes the task's argument
and returns what JSON can hold; large results it writes itself, to storage that all machines see.
What is done is kept by the store under the task's key, so a run that was cut off goes on where it
stopped.
Ray comes with `pip install govnesf[cluster]`; without an address nothing of it is imported.
"""

import argparse
import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

LOCAL = "local"
_LOCAL_STORE = 256 * 2**20  # bytes of shared memory: arguments and results are small


class TasksFailed(ValueError):
    """Some tasks failed; the message names them, and what the others found is kept."""


@dataclass(frozen=True)
class Task:
    """One call of the function.

    Attributes:
        name: for progress and errors; different for each task of a run.
        key: a text that changes whenever the result would.
        argument: of the function; it is pickled where Ray is used.
    """

    name: str
    key: str
    argument: Any


@dataclass(frozen=True)
class ClusterOptions:
    """Where tasks run."""

    address: str = ""
    """Empty: in this process. "local": a Ray started here; "auto": the one that runs on this
    machine; "ray://HOST:PORT" or "HOST:PORT": another one."""
    cpus: float = 1.0
    """CPU cores that Ray sets aside for a task."""
    gpus: float = 0.0
    """GPUs, or a part of one, that Ray sets aside for a task."""
    workers: int = 0
    """Cores of a Ray that is started here; 0: all."""

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> "ClusterOptions":
        """Take the options from a parsed command line."""
        return cls(
            arguments.ray or "", arguments.ray_cpus, arguments.ray_gpus, arguments.ray_workers
        )


IN_PROCESS = ClusterOptions()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    group = parser.add_argument_group("cluster (docs/evaluation.md)")
    group.add_argument(
        "--ray", metavar="ADDRESS", help="run scenes as Ray tasks: local, auto, ray://HOST:PORT"
    )
    group.add_argument("--ray-cpus", type=float, default=1.0, metavar="N", help="per scene")
    group.add_argument("--ray-gpus", type=float, default=0.0, metavar="N", help="per scene")
    group.add_argument(
        "--ray-workers", type=int, default=0, metavar="N", help="cores of --ray local; 0: all"
    )


class ResultStore:
    """Results on disk, one JSON file a task, each with the key that it belongs to."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, name: str) -> Path:
        """Return the file of a task: readable, and different for different names."""
        readable = re.sub(r"[^\w.-]+", "_", name)[-80:]
        return self.folder / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"

    def read(self, name: str, key: str) -> Any | None:
        """Return the result of a task, None if it is not there, damaged, or of another key."""
        try:
            held = json.loads(self.path(name).read_text())
        except (OSError, ValueError):
            return None
        if not isinstance(held, dict) or held.get("key") != key or held.get("name") != name:
            return None
        return held.get("result")

    def write(self, name: str, key: str, result: Any) -> None:
        """Keep a result; readers see the old file or the new one, never half of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"name": name, "key": key, "result": result}))
        temporary.replace(path)


def key_of(*parts: object) -> str:
    """Return a short key of anything that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def run_stored(
    function: Callable[[Any], Any],
    tasks: Sequence[Task],
    store: ResultStore,
    options: ClusterOptions = IN_PROCESS,
    title: str = "scenes",
) -> dict[str, Any]:
    """Return the result of every task by name; only those that the store lacks are run.

    Raises:
        TasksFailed: after all others were run and kept.
    """
    results = {task.name: store.read(task.name, task.key) for task in tasks}
    missing = [task for task in tasks if results[task.name] is None]
    if len(missing) < len(tasks):
        print(f"{len(tasks) - len(missing)} of {len(tasks)} {title} are done: {store.folder}")
    for task, result in run_tasks(function, missing, options, title):
        store.write(task.name, task.key, result)
        results[task.name] = result
    return results


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Task],
    options: ClusterOptions = IN_PROCESS,
    title: str = "scenes",
) -> Iterator[tuple[Task, Any]]:
    """Yield each task with its result, in the order in which they come.

    A task that fails does not stop the others.

    Raises:
        TasksFailed: at the end, if any failed.
        ValueError: an address was given, and Ray is not installed.
        ConnectionError: no Ray answers at the address.
    """
    if not tasks:
        return
    failed: dict[str, BaseException] = {}
    finished = _on_ray if options.address else _in_process
    with tqdm(total=len(tasks), desc=title, unit="scene", disable=len(tasks) < 2) as bar:
        for task, result, error in finished(function, tasks, options):
            bar.update()
            if error is None:
                yield task, result
            else:
                failed[task.name] = error
    if len(tasks) == 1 and failed:
        raise next(iter(failed.values()))
    if failed:
        sentences = "; ".join(f"{name}: {_sentence(error)}" for name, error in failed.items())
        raise TasksFailed(
            f"{len(failed)} of {len(tasks)} {title} failed, the others are kept: {sentences}"
        )


def _in_process(
    function: Callable, tasks: Iterable[Task], _: ClusterOptions
) -> Iterator[tuple[Task, Any, Exception | None]]:
    for task in tasks:
        try:
            result = function(task.argument)
        except Exception as error:
            yield task, None, error
        else:
            yield task, result, None


def _on_ray(
    function: Callable, tasks: Sequence[Task], options: ClusterOptions
) -> Iterator[tuple[Task, Any, Exception | None]]:
    ray = _import_ray()
    started = _connect(ray, options)
    try:
        remote = ray.remote(num_cpus=options.cpus, num_gpus=options.gpus, max_retries=2)(function)
        running = {remote.remote(task.argument): task for task in tasks}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                task = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    # The function's own error says it better than the trace of a remote call.
                    yield task, None, error.cause if error.cause is not None else error
                except ray.exceptions.RayError as error:
                    yield task, None, error
                else:
                    yield task, result, None
    finally:
        if started:
            ray.shutdown()


def _import_ray():
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ValueError(
            "--ray needs the package ray: pip install 'govnesf[cluster]', or leave --ray out"
        ) from error
    return ray


def _connect(ray: Any, options: ClusterOptions) -> bool:
    """Connect to a Ray; tell whether this call did it."""
    if ray.is_initialized():
        return False
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if options.address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
        # Workers import the same modules from the same places as this process.
        paths = os.pathsep.join(path for path in sys.path if path)
        settings |= {
            "num_cpus": options.workers or None,
            "include_dashboard": False,
            "object_store_memory": _LOCAL_STORE,
            "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
        }
    try:
        _knock(options.address)
        ray.init(address=options.address, **settings)
    except (ConnectionError, OSError, ValueError) as error:
        raise ConnectionError(
            f"no Ray answers at {options.address!r} ({_sentence(error)}): start one with "
            "'ray start --head', or use --ray local; for one that asks for a token, set "
            "RAY_AUTH_MODE=token"
        ) from error
    return True


def _knock(address: str) -> None:
    """Raise OSError where an address of the form HOST:PORT does not answer: Ray tries minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (
        text
        if isinstance(error, (ValueError, OSError)) and text
        else f"{type(error).__name__}: {text}"
    )
