"""`ros2 bag play` and `ros2 bag info`."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError

from ros2cli import bag_player

UNITS = ("B", "KiB", "MiB", "GiB")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    verb = verbs.add_parser("info", help="Print information about a bag")
    verb.add_argument("bag_path", help="Bag to look at")
    verb.add_argument("-t", "--topic-name", action="store_true", help="Only names of topics")
    verb.set_defaults(run=info)

    verb = verbs.add_parser("play", help="Play back ROS data from a bag")
    verb.add_argument("bag_path", help="Bag to play back")
    verb.add_argument("-r", "--rate", type=float, default=1.0, help="Speed (default: 1.0)")
    verb.add_argument("-l", "--loop", action="store_true", help="Start again at the end")
    verb.add_argument("-d", "--delay", type=float, default=0.0, help="Seconds before the start")
    verb.add_argument("--topics", nargs="+", default=[], help="Only these topics")
    verb.add_argument("--exclude-topics", nargs="+", default=[], help="Not these topics")
    verb.add_argument("-m", "--remap", nargs="+", default=[], help="Topics to rename: 'old:=new'")
    verb.add_argument("--start-offset", type=float, default=0.0, help="Seconds to leave out")
    verb.add_argument(
        "--playback-duration", type=float, default=-1.0, help="Seconds to play (default: all)"
    )
    verb.add_argument(
        "--clock",
        type=float,
        nargs="?",
        const=40.0,
        default=0.0,
        help="Publish /clock at a rate in Hz (default: 40)",
    )
    verb.add_argument(
        "--qos-profile-overrides-path", help="YAML file with a QoS profile for some topics"
    )
    verb.add_argument(
        "--disable-keyboard-controls", action="store_true", help="There are none; for scripts"
    )
    verb.add_argument("-s", "--storage", help="Found by itself; for scripts")
    verb.add_argument("--read-ahead-queue-size", type=int, help="Not needed; for scripts")
    verb.set_defaults(run=play)


@contextlib.contextmanager
def open_bag(path: str) -> Iterator[Reader]:
    """Yield an open bag; a file inside a bag stands for its folder.

    Raises:
        RuntimeError: if it cannot be read.
    """
    if not Path(path).exists():
        raise RuntimeError(f"Bag path '{path}' does not exist!")
    folder = Path(path).parent if Path(path).is_file() else Path(path)
    try:
        reader = Reader(folder)
        reader.open()
    except (ReaderError, OSError) as error:
        raise RuntimeError(f"'{path}' is no bag that can be read: {error}") from error
    try:
        yield reader
    finally:
        reader.close()


def play(args: argparse.Namespace) -> None:
    """Play a bag; see `bag_player`."""
    if args.rate <= 0 or args.clock < 0:
        raise RuntimeError("rate and clock frequency must be greater than zero")
    with open_bag(args.bag_path) as reader:
        bag_player.play(reader, args)


def info(args: argparse.Namespace) -> None:
    """Print size, time and topics of a bag."""
    with open_bag(args.bag_path) as reader:
        connections = sorted(reader.connections, key=lambda connection: connection.topic)
        if args.topic_name:
            print("\n".join(connection.topic for connection in connections))
            return
        files = sorted(p for p in reader.path.iterdir() if p.suffix not in (".yaml", ".md"))
        ros_distro = reader.ros_distro or "unknown"
        storage = {".mcap": "mcap", ".db3": "sqlite3"}.get(files[0].suffix if files else "", "?")
        topics = [
            f"Topic: {c.topic} | Type: {c.msgtype} | Count: {c.msgcount} | "
            f"Serialization Format: {c.ext.serialization_format}"
            for c in connections
        ]
        # The reader counts to the nanosecond after the last message.
        duration = max(reader.duration - 1, 0)
        lines = {
            "Files": ("\n" + " " * 19).join(file.name for file in files),
            "Bag size": _size(sum(file.stat().st_size for file in files)),
            "Storage id": storage,
            "ROS Distro": ros_distro,
            "Duration": f"{duration / 1e9:.9f}s",
            "Start": _time(reader.start_time),
            "End": _time(reader.start_time + duration),
            "Messages": str(reader.message_count),
            "Topic information": ("\n" + " " * 19).join(topics),
        }
    sys.stdout.write("\n")
    for name, value in lines.items():
        print(f"{name + ':':<18} {value}")
    print()


def _size(count: float) -> str:
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.1f} {UNITS[unit]}"


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    moment = datetime.datetime.fromtimestamp(seconds)
    return f"{moment:%b %e %Y %H:%M:%S}.{rest:09d} ({seconds}.{rest:09d})"
