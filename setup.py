"""All is in pyproject.toml, except what it cannot say: the wheel carries `assets/` inside the package."""

from setuptools import find_packages, setup

CARRIED = {"lmaczs.assets.releases": "assets/releases", "lmaczs.assets.examples": "assets/examples"}

setup(packages=[*find_packages(include=["lmaczs", "lmaczs.*"]), *CARRIED], package_dir=CARRIED)
