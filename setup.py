"""The packages of the wheel. pyproject.toml has everything else.

The clone's folders of data travel as packages below harness.data, where harness/paths.py finds them. They
need a file of their own, because pyproject.toml takes either found packages or mapped ones.
"""

from setuptools import find_packages, setup

OF_DATA = {"harness.data.experiments": "experiments", "harness.data.envoy": "envoy"}

setup(
    packages=[*find_packages(include=["services*", "lb*", "load*", "simulator*", "harness*"]), *OF_DATA],
    package_dir=OF_DATA,
)
