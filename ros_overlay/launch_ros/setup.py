from setuptools import find_packages, setup

setup(
    name="launch_ros",
    version="0.26.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/launch_ros"]),
        ("share/launch_ros", ["package.xml"]),
    ],
    description="Stand-in for the launch_ros package where no ROS distro is installed.",
    license="Apache-2.0",
)
