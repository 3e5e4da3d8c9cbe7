"""The `ros2` command: launch, run, look at the graph, call services, play bags.

Each file with an `add_parser` is one command; `cli.py` collects them. Options and output are those
of the real command; the README of ros_overlay says which part of it is here.
"""
