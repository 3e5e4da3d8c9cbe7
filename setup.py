"""`pip install .` for machines without ROS; colcon builds from CMakeLists.txt and ignores this."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["govnesf_model", "govnesf_model.*"]),
        "govnesf_model.weights",
        "govnesf_model.assets",
    ],
    package_dir={"govnesf_model.weights": "weights", "govnesf_model.assets": "assets"},
    package_data={
        "govnesf_model": ["**/*.json", "**/*.toml", "**/*.csv", "**/*.yaml"],
        "govnesf_model.weights": ["**/*"],
        "govnesf_model.assets": ["**/*"],
    },
)
