"""Writes all generated files: python -m docs.pages. Everything in them is declared elsewhere, once."""

from docs.pages.events import events_page
from docs.pages.experiment_file import experiment_file_page
from docs.pages.lessons import lessons_page, readme_page
from docs.pages.policies import policies_page
from docs.pages.results_readme import results_readme
from docs.pages.schema import schema_text
from harness.paths import ROOT

README, RESULTS_README = ROOT / "README.md", ROOT / "results" / "README.md"


def generated() -> dict[str, str]:
    """Return path in the project -> text of each generated file."""
    return {
        "docs/policies.md": policies_page(),
        "docs/experiment-file.md": experiment_file_page(),
        "docs/events.md": events_page(),
        "docs/lessons.md": lessons_page(),
        "experiments/schema.json": schema_text(),
        "README.md": readme_page(README.read_text()),
        "results/README.md": results_readme(RESULTS_README.read_text()),
    }


def main() -> None:
    """Write each file anew. An interrupted run leaves every file whole."""
    for name, text in generated().items():
        new = ROOT / f"{name}.new"
        new.write_text(text)
        new.replace(ROOT / name)


if __name__ == "__main__":
    main()
