"""tf2_msgs and vision_msgs are the real ones on the wire: their type hashes are the distro's."""

import importlib
import json
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory

# As published by ROS 2 Jazzy. A hash covers names, types and order of all fields, nested ones too.
JAZZY = {
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "tf2_msgs/msg/TF2Error": "db2485e7d6a0ec75bf087e058ee45df682acc3a621ca7780503d10aac141809a",
    "tf2_msgs/srv/FrameGraph": "0d1fbc6222c018ba5f33822904a2fdd4063705289956d3fdde07cd8c50fe8067",
    "vision_msgs/msg/Detection3DArray": (
        "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    ),
    "vision_msgs/msg/Detection2DArray": (
        "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968"
    ),
    "vision_msgs/msg/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "vision_msgs/msg/VisionInfo": (
        "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284"
    ),
    "vision_msgs/msg/Classification": (
        "f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143"
    ),
}

VISION = [
    "BoundingBox2D",
    "BoundingBox2DArray",
    "BoundingBox3D",
    "BoundingBox3DArray",
    "Classification",
    "Detection2D",
    "Detection2DArray",
    "Detection3D",
    "Detection3DArray",
    "LabelInfo",
    "ObjectHypothesis",
    "ObjectHypothesisWithPose",
    "Point2D",
    "Pose2D",
    "VisionClass",
    "VisionInfo",
]


@pytest.mark.parametrize("name", JAZZY)
def test_the_type_hash_is_the_one_of_the_distro(name):
    package, kind, message = name.split("/")
    description = Path(get_package_share_directory(package), kind, f"{message}.json")
    hashes = json.loads(description.read_text())["type_hashes"]
    found = {entry["type_name"]: entry["hash_string"] for entry in hashes}
    assert found[name] == f"RIHS01_{JAZZY[name]}"


def test_every_interface_of_the_packages_can_be_imported():
    vision = importlib.import_module("vision_msgs.msg")
    for name in VISION:
        getattr(vision, name)()
    goal = importlib.import_module("tf2_msgs.action").LookupTransform.Goal
    assert list(goal.get_fields_and_field_types()) == [
        "target_frame",
        "source_frame",
        "source_time",
        "timeout",
        "target_time",
        "fixed_frame",
        "advanced",
    ]
