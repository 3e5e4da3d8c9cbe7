"""The node `viewer`: a web page on the map, in a process of its own.

ros2 run govnesf_ros viewer_node
ros2 run govnesf_ros viewer_node --ros-args -p mapper:=/robot_1/govnesf -p port:=8090
"""

import importlib.util
import sys

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from govnesf_ros.parameter_values import ParameterProblem


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until asked to end; return the exit code."""
    if importlib.util.find_spec("viser") is None:
        print(
            "viewer: the Python package viser is not installed; requirements/ros.txt has the "
            "version: pip install viser, or script/bootstrap",
            file=sys.stderr,
        )
        return 2
    from govnesf_ros.viewer import ViewerNode
    from govnesf_ros.viewer_server import ServerProblem

    node = None
    try:
        rclpy.init(args=arguments)
        node = ViewerNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ParameterProblem, ServerProblem) as error:
        print(f"viewer: {error}", file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():
            raise
        # Asked to end while a callback or the executor still used the context.
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
