"""The paths of the lab's own folders."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"
ENVOY_TEMPLATES = ROOT / "envoy"
RESULTS = ROOT / "results"
