"""ros_overlay/launch: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import overlay_processes
import pytest

overlay_processes.use_sources()

import launch.logging  # noqa: E402
from launch import LaunchContext, LaunchDescription, LaunchService  # noqa: E402
from launch.actions import (  # noqa: E402
    AppendEnvironmentVariable,
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
    UnregisterEventHandler,
)
from launch.conditions import (  # noqa: E402
    IfCondition,
    InvalidConditionExpressionError,
    LaunchConfigurationEquals,
    LaunchConfigurationNotEquals,
    UnlessCondition,
)
from launch.event_handlers import (  # noqa: E402
    OnExecutionComplete,
    OnProcessExit,
    OnProcessIO,
    OnProcessStart,
    OnShutdown,
)
from launch.events import matches_action  # noqa: E402
from launch.events.process import ShutdownProcess, SignalProcess  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch.substitutions import (  # noqa: E402
    AndSubstitution,
    Command,
    EnvironmentVariable,
    EqualsSubstitution,
    FindExecutable,
    IfElseSubstitution,
    LaunchConfiguration,
    LocalSubstitution,
    NotEqualsSubstitution,
    NotSubstitution,
    OrSubstitution,
    PathJoinSubstitution,
    PythonExpression,
    SubstitutionFailure,
    TextSubstitution,
)
from overlay_processes import eventually, is_running  # noqa: E402


@pytest.fixture(autouse=True)
def _log_folder(tmp_path: Path) -> None:
    launch.logging.launch_config.log_dir = str(tmp_path / "log")


def run(*entities, **configurations: str) -> tuple[int, LaunchContext]:
    """Launch entities until all is done; return the exit code and the final context."""
    service = LaunchService()
    service.context.launch_configurations.update(configurations)
    service.include_launch_description(LaunchDescription(entities))
    return service.run(), service.context


def shell(command: str, **options) -> ExecuteProcess:
    return ExecuteProcess(cmd=["bash", "-c", command], **{"output": "screen", **options})


def test_argument_takes_its_default_or_the_value_given():
    argument = DeclareLaunchArgument("rate", default_value=["1", TextSubstitution(text="0")])
    assert run(argument)[1].launch_configurations["rate"] == "10"
    assert run(argument, rate="3")[1].launch_configurations["rate"] == "3"


def test_argument_outside_its_choices_or_missing_ends_the_launch_with_1(capfd):
    choices = DeclareLaunchArgument("mode", default_value="a", choices=["a", "b"])
    assert run(choices, mode="b")[0] == 0
    assert run(choices, mode="c")[0] == 1
    assert 'Argument "mode" provided value "c" is not valid' in capfd.readouterr().out
    assert run(DeclareLaunchArgument("file"))[0] == 1
    assert "Required launch argument 'file'" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("substitution", "expected"),
    [
        (LaunchConfiguration("n"), "3"),
        (LaunchConfiguration("absent", default="x"), "x"),
        (PathJoinSubstitution(["/a", ["b", LaunchConfiguration("n")], "c.yaml"]), "/a/b3/c.yaml"),
        (PythonExpression(["int(", LaunchConfiguration("n"), ") > 2"]), "True"),
        (PythonExpression(["'", LaunchConfiguration("n"), "'.startswith('bag:')"]), "False"),
        (PythonExpression("math.floor(2.5)", ["math"]), "2"),
        (EnvironmentVariable("NOT_SET_ANYWHERE", default_value="d"), "d"),
        (Command("echo hi"), "hi\n"),
        (FindExecutable(name="bash"), subprocess.getoutput("command -v bash")),
        (EqualsSubstitution(LaunchConfiguration("n"), 3), "true"),
        (EqualsSubstitution("1.0", "1"), "true"),
        (EqualsSubstitution("true", "True"), "true"),
        (NotEqualsSubstitution("a", "b"), "true"),
        (NotSubstitution("true"), "false"),
        (AndSubstitution("true", "0"), "false"),
        (OrSubstitution("false", "1"), "true"),
        (IfElseSubstitution(EqualsSubstitution("a", "a"), "yes", "no"), "yes"),
    ],
)
def test_substitution(substitution, expected):
    context = LaunchContext()
    context.launch_configurations["n"] = "3"
    assert substitution.perform(context) == expected


def test_substitution_without_a_text_says_its_name():
    with pytest.raises(SubstitutionFailure, match="'absent' does not exist"):
        LaunchConfiguration("absent").perform(LaunchContext())
    with pytest.raises(SubstitutionFailure, match="NOT_SET_ANYWHERE"):
        EnvironmentVariable("NOT_SET_ANYWHERE").perform(LaunchContext())
    with pytest.raises(SubstitutionFailure, match="exit code 3"):
        Command("bash -c 'exit 3'").perform(LaunchContext())


def test_conditions_choose_actions(capfd):
    run(
        LogInfo(msg="if", condition=IfCondition(LaunchConfiguration("on"))),
        LogInfo(msg="unless", condition=UnlessCondition(LaunchConfiguration("on"))),
        LogInfo(msg="equals", condition=LaunchConfigurationEquals("on", "True")),
        LogInfo(msg="differs", condition=LaunchConfigurationNotEquals("on", "True")),
        LogInfo(msg="unset", condition=LaunchConfigurationEquals("absent", None)),
        on="True",
    )
    lines = capfd.readouterr().out.splitlines()
    assert lines == [f"[INFO] [launch.user]: {word}" for word in ("if", "equals", "unset")]
    with pytest.raises(InvalidConditionExpressionError, match="maybe"):
        IfCondition("maybe").evaluate(LaunchContext())


def test_group_keeps_configurations_and_environment_to_itself(capfd):
    code, context = run(
        GroupAction(
            [
                SetLaunchConfiguration("a", "inside"),
                SetEnvironmentVariable("GROUP_A", "one"),
                AppendEnvironmentVariable("GROUP_A", "two"),
                AppendEnvironmentVariable("GROUP_A", "zero", prepend=True),
                shell("echo $GROUP_A"),
            ]
        ),
        GroupAction([SetLaunchConfiguration("b", "leaks")], scoped=False),
        a="outside",
    )
    assert code == 0
    assert "[bash-1] zero:one:two" in capfd.readouterr().out
    assert context.launch_configurations == {"a": "outside", "b": "leaks"}
    assert "GROUP_A" not in os.environ


CHILD = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("color", description="Which color"),
        DeclareLaunchArgument("size", default_value=["1", "2"], description="How big"),
        DeclareLaunchArgument("extra", default_value="", condition=IfCondition("true")),
        LogInfo(msg=[LaunchConfiguration("color"), " in ", ThisLaunchFileDir()]),
    ])
"""


def test_include_passes_arguments_and_knows_its_folder(tmp_path, capfd):
    file = tmp_path / "sub" / "child.launch.py"
    file.parent.mkdir()
    file.write_text(CHILD)
    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource([str(tmp_path), "/sub/child.launch.py"]),
        launch_arguments={"color": LaunchConfiguration("tint")}.items(),
    )
    code, context = run(include, tint="red")
    assert code == 0
    assert f"red in {file.parent}" in capfd.readouterr().out
    assert context.launch_configurations["size"] == "12"
    assert run(IncludeLaunchDescription(PythonLaunchDescriptionSource(str(file))))[0] == 1
    assert "missing required argument 'color'" in capfd.readouterr().out


def test_arguments_of_included_files_are_listed_unless_passed(tmp_path):
    file = tmp_path / "child.launch.py"
    file.write_text(CHILD)
    description = LaunchDescription(
        [
            DeclareLaunchArgument("own", default_value="1"),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(file)), launch_arguments=[("color", "red")]
            ),
        ]
    )
    arguments = {a.name: a for a in description.get_launch_arguments()}
    assert list(arguments) == ["own", "size", "extra"]
    assert arguments["extra"]._conditionally_included
    assert not arguments["size"]._conditionally_included


def test_lines_carry_the_name_of_their_process(capfd):
    noisy = shell("printf 'a\\nb'; printf '\\xff' >&2", name="noisy")
    run(noisy, shell("echo c"))
    captured = capfd.readouterr()
    for line in ("[noisy-1] a", "[noisy-1] b", "[noisy-1] \ufffd", "[bash-2] c"):
        assert line in captured.out.splitlines()
    assert "process has finished cleanly [pid" in captured.out


def test_output_log_shows_stderr_only_and_files_both(capfd):
    run(shell("echo quiet; echo loud >&2", output="log"))
    screen = capfd.readouterr().out
    assert "[bash-1] loud" in screen
    assert "quiet" not in screen
    text = (Path(launch.logging.launch_config.log_dir) / "launch.log").read_text()
    assert "[bash-1] quiet" in text
    assert "[bash-1] loud" in text


@pytest.mark.parametrize("emulate_tty", [True, False])
def test_emulate_tty_gives_a_terminal(capfd, emulate_tty):
    run(shell("test -t 1 && test -t 2 && echo tty || echo pipe", emulate_tty=emulate_tty))
    assert f"[bash-1] {'tty' if emulate_tty else 'pipe'}" in capfd.readouterr().out


def test_environment_folder_and_prefix_of_a_process(tmp_path, capfd):
    run(
        shell("echo $A-$B-$PWD", cwd=str(tmp_path), additional_env={"A": "1"}, prefix="env B=2"),
        shell("echo [$HOME]", env={"PATH": os.environ["PATH"]}),
        ExecuteProcess(cmd=["echo one | cat; echo two"], shell=True, output="screen", name="sh"),
    )
    out = capfd.readouterr().out
    assert f"[bash-1] 1-2-{tmp_path}" in out
    assert "[bash-2] []" in out
    assert "[sh-3] one" in out
    assert "[sh-3] two" in out


def test_respawn_starts_again_as_often_as_allowed(tmp_path, capfd):
    counter = tmp_path / "count"
    start = time.monotonic()
    code, _ = run(
        shell(
            f"echo x >> {counter}; exit 3", respawn=True, respawn_delay=0.2, respawn_max_retries=2
        )
    )
    assert code == 0
    assert counter.read_text() == "x\n" * 3
    assert time.monotonic() - start > 0.4
    assert capfd.readouterr().out.count("exit code 3") == 3


def test_shutdown_ends_the_wait_for_a_respawn():
    start = time.monotonic()
    process = shell("true", respawn=True, respawn_delay=60.0)
    run(process, TimerAction(period=0.3, actions=[Shutdown(reason="enough")]))
    assert time.monotonic() - start < 5


def test_on_exit_shutdown_stops_the_others(capfd):
    start = time.monotonic()
    sleeper = shell("sleep 60")
    code, _ = run(sleeper, shell("sleep 0.2", on_exit=Shutdown(reason="done")))
    assert code == 0
    assert sleeper.return_code == -signal.SIGINT
    assert time.monotonic() - start < 5


def test_stubborn_process_gets_sigint_sigterm_sigkill_with_its_children(tmp_path, capfd):
    pids = tmp_path / "pids"
    stubborn = shell(
        f"trap '' INT TERM; (while :; do sleep 0.1; done) & echo $$ $! > {pids}; wait; wait",
        sigterm_timeout="0.4",
        sigkill_timeout=0.4,
    )
    run(stubborn, TimerAction(period=0.4, actions=[Shutdown()]))
    out = capfd.readouterr().out
    assert "failed to terminate '0.4' seconds after receiving 'SIGINT', escalating to" in out
    assert "sending signal 'SIGTERM' to process[bash-1]" in out
    assert "sending signal 'SIGKILL' to process[bash-1]" in out
    assert stubborn.return_code == -signal.SIGKILL
    assert not any(is_running(int(pid)) for pid in pids.read_text().split())


def test_what_a_process_leaves_behind_is_stopped(tmp_path):
    pid_file = tmp_path / "pid"
    run(shell(f"sleep 60 & echo $! > {pid_file}"))
    assert not is_running(int(pid_file.read_text()))


def test_missing_executable_is_an_error_and_not_the_end(capfd):
    code, _ = run(ExecuteProcess(cmd=["/no/such/thing"]), shell("echo alive"))
    out = capfd.readouterr().out
    assert code == 0
    assert "cannot start '/no/such/thing'" in out
    assert "alive" in out


def test_exception_in_a_launch_file_ends_the_launch_with_1(capfd):
    def fail(context):
        raise ValueError("wrong number")

    sleeper = shell("sleep 60")
    code, _ = run(sleeper, TimerAction(period=0.3, actions=[OpaqueFunction(function=fail)]))
    assert code == 1
    assert sleeper.return_code == -signal.SIGINT
    assert "wrong number" in capfd.readouterr().out


def test_event_handlers_see_start_output_exit_and_shutdown(capfd):
    first = shell("echo ready; exit 4")
    heard: list[str] = []
    run(
        RegisterEventHandler(
            OnProcessStart(target_action=first, on_start=[LogInfo(msg="started")])
        ),
        RegisterEventHandler(
            OnProcessIO(target_action=first, on_stdout=lambda e: heard.append(e.text.decode()))
        ),
        RegisterEventHandler(
            OnProcessExit(
                target_action=first,
                on_exit=lambda event, context: [shell(f"echo after {event.returncode}")],
            )
        ),
        RegisterEventHandler(
            OnShutdown(on_shutdown=[LogInfo(msg=["why: ", LocalSubstitution("event.reason")])])
        ),
        first,
    )
    out = capfd.readouterr().out
    assert "started" in out
    assert heard == ["ready\n"]
    assert "[bash-2] after 4" in out
    assert "why: idle" in out


def test_execution_complete_and_unregistered_handlers(capfd):
    log = LogInfo(msg="first")
    kept = OnExecutionComplete(target_action=log, on_completion=[LogInfo(msg="second")])
    removed = OnExecutionComplete(target_action=log, on_completion=[LogInfo(msg="never")])
    run(
        RegisterEventHandler(kept),
        RegisterEventHandler(removed),
        UnregisterEventHandler(removed),
        log,
    )
    out = capfd.readouterr().out
    assert "second" in out
    assert "never" not in out


def test_one_process_can_be_signalled_or_stopped():
    signalled, stopped = shell("sleep 60"), shell("sleep 60")
    usr1 = SignalProcess(signal_number="SIGUSR1", process_matcher=matches_action(signalled))
    stop = ShutdownProcess(process_matcher=matches_action(stopped))
    run(
        signalled,
        stopped,
        TimerAction(period=0.3, actions=[EmitEvent(event=usr1), EmitEvent(event=stop)]),
    )
    assert signalled.return_code == -signal.SIGUSR1
    assert stopped.return_code == -signal.SIGINT


def test_shutdown_from_another_thread_while_waiting_for_nothing():
    service = LaunchService()
    timer = threading.Timer(0.3, service.shutdown)
    timer.start()
    start = time.monotonic()
    assert service.run(shutdown_when_idle=False) == 0
    assert 0.2 < time.monotonic() - start < 5


def test_killed_launch_takes_its_processes_along(tmp_path):
    pid_file = tmp_path / "pid"
    program = (
        "from launch import *; from launch.actions import *; s = LaunchService();"
        "s.include_launch_description(LaunchDescription([ExecuteProcess("
        f"cmd=['bash', '-c', 'echo $$ > {pid_file}; exec sleep 60'])])); s.run()"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    assert eventually(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
    child = int(pid_file.read_text())
    assert is_running(child)
    launcher.kill()
    launcher.wait()
    assert eventually(lambda: not is_running(child))
