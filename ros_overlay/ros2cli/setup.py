from setuptools import find_packages, setup

setup(
    name="ros2cli",
    version="0.32.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ros2cli"]),
        ("share/ros2cli", ["package.xml"]),
    ],
    entry_points={"console_scripts": ["ros2 = ros2cli.cli:main"]},
    description="Stand-in for the ros2 command where no ROS distro is installed.",
    license="Apache-2.0",
)
