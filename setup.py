"""The packages of the wheel. pyproject.toml has everything else.

The clone's folders of data travel as packages below harness.data, where harness/paths.py finds them. They
need a file of their own, because pyproject.toml takes either found packages or mapped ones. What the image
of --testbed docker is built with lies in the clone's root, so it is copied file by file.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

OF_DATA = {"harness.data.experiments": "experiments", "harness.data.envoy": "envoy"}
OF_IMAGE = {
    name: f"harness/data/image/{name}"
    for name in ("Dockerfile", ".dockerignore", "docker-compose.yml", "requirements.txt", "LICENSE")
}


class BuildWithImage(build_py):
    """Also copies the files of the image."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the clone has them
        for name, place in OF_IMAGE.items():
            target = Path(self.build_lib, place)
            self.mkpath(str(target.parent))
            self.copy_file(name, str(target), preserve_mode=False)

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *OF_IMAGE]


setup(
    packages=[*find_packages(include=["services*", "lb*", "load*", "simulator*", "harness*"]), *OF_DATA],
    package_dir=OF_DATA,
    cmdclass={"build_py": BuildWithImage},
)
