"""The lab as a wheel, outside of a clone: everything that it needs has travelled with it."""

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from lab_wheel import build_wheel, pip, tracked_files

from harness.spec.heads import experiment_names

PACKAGES = ("services", "lb", "load", "simulator", "harness")
DATA = {"experiments": "harness/data/experiments", "envoy": "harness/data/envoy"}
IMAGE_FILES = ("Dockerfile", ".dockerignore", "docker-compose.yml", "requirements.txt", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed") / "site-packages"
    pip("install", "--target", str(folder), str(wheel))
    return folder


def lab(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the installed command in `folder`. The other packages are those of the tests."""
    return subprocess.run(
        [site / "bin" / "lb-lab", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_every_file_of_the_packages_and_of_the_data_is_in_the_wheel(wheel: Path) -> None:
    tracked = tracked_files()
    wanted = {name for name in tracked if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    for folder, place in DATA.items():
        wanted |= {place + name.removeprefix(folder) for name in tracked if name.startswith(f"{folder}/")}
    wanted |= {f"harness/data/image/{name}" for name in IMAGE_FILES}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == wanted


def test_it_knows_its_experiments_and_says_how_it_is_called(site: Path, tmp_path: Path) -> None:
    done = lab(site, tmp_path, "list")
    assert (done.returncode, done.stderr) == (0, "")
    for name in experiment_names():
        assert f"  {name} " in done.stdout
    assert "Run one:     lb-lab sticky\n" in done.stdout
    assert not list(tmp_path.iterdir())


def test_an_experiment_of_ones_own_runs_and_its_results_lie_in_this_folder(
    site: Path, tmp_path: Path
) -> None:
    begun = lab(site, tmp_path, "init", "my.yaml")
    assert (begun.returncode, begun.stderr) == (0, "")
    assert "run it:     lb-lab ./my.yaml\n" in begun.stdout
    schema = re.search(r"\$schema=(.+)", (tmp_path / "my.yaml").read_text())
    assert schema
    assert json.loads(Path(schema[1]).read_text())["title"]
    done = lab(site, tmp_path, "my.yaml", "--quick", "--no-prediction", "--warm-up", "0.2", "--duration", "1")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    run = tmp_path / "results" / "my" / "latest"
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["arms"]) == {"sticky", "round_robin"}
    assert all(arm["ledgers"]["reconciled"] for arm in summary["arms"].values())
    page = (run / "report.html").read_text()
    assert "lb-lab my" in page
    assert "run_experiment" not in page
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["git_commit"], manifest["versions"]["lb-lab"]) == (None, lab_version(site))
    assert lab(site, tmp_path, "history", "./my.yaml").returncode == 0


def lab_version(site: Path) -> str:
    (info,) = site.glob("lb_lab-*.dist-info")
    return info.name.removeprefix("lb_lab-").removesuffix(".dist-info")


def test_the_site_is_made_of_what_travelled(site: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    done = lab(site, tmp_path, "site")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  lb-lab sticky\n" in done.stdout
    pages = [path.read_text() for path in (tmp_path / "results" / "site").rglob("*.html")]
    assert len(pages) > len(experiment_names())
    assert not [page for page in pages if "run_experiment" in page]
