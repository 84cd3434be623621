"""Ask a public advisory service whether the locked versions have known weaknesses.

usage: audit.py PIP_AUDIT FILE...      PIP_AUDIT: the program; FILE: requirements with hashes
Exit status: 1 there is a known weakness, 0 none is known, or the service could not be asked, which it says.
"""

import json
import subprocess
import sys
from typing import Any

WORDS = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]


def main(program: str, files: list[str]) -> int:
    """Ask, print the answer, and return the exit status."""
    sources = [word for file in files for word in ("-r", file)]
    done = subprocess.run([program, *WORDS, *sources], capture_output=True, text=True, check=False)  # noqa: S603
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"audit: skipped: no advisory service answers ({reason})")
        return 0
    asked = [package for package in found if "skip_reason" not in package]
    if not asked:
        print("audit: skipped: the service knows none of the packages")
        return 0
    if unknown := [package["name"] for package in found if "skip_reason" in package]:
        print(f"audit: skipped for {', '.join(unknown)}: the service does not know it")
    weak = [package for package in asked if package["vulns"]]
    for package in weak:
        for weakness in package["vulns"]:
            mended = ", ".join(weakness["fix_versions"]) or "no version"
            print(f"{package['name']} {package['version']}: {weakness['id']}, mended in {mended}")
    result = f"{len(weak)} with a known weakness" if weak else "no known weakness"
    print(f"audit: {len(asked)} packages, {result}")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
