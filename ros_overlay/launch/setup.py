from setuptools import find_packages, setup

setup(
    name="launch",
    version="3.4.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/launch"]),
        ("share/launch", ["package.xml"]),
    ],
    description="Stand-in for the launch package where no ROS distro is installed.",
    license="Apache-2.0",
)
