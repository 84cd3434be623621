"""The fixtures of tests that simulate."""

from tests.unit.cli.conftest import lab_here as lab_here
