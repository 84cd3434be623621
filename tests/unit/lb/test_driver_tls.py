"""The driver's options --tls and --ca, and its errors for wrong ones."""

from pathlib import Path

import pytest

from harness.proxy.tls import make_certificate
from lb.driver_options import parse


def test_ca_is_read(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    given = parse(["--tls", "--ca", str(files.authority), "localhost:443"])
    assert (given.tls, given.ca.split()) == (True, files.authority.read_text().split())
    assert (parse(["--tls", "localhost:443"]).ca, parse(["localhost:443"]).tls) == (None, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ca", "{authority}"], "argument --ca: has no effect without --tls; give both, or neither"),
        (
            ["--tls", "--ca", "{key}"],
            "argument --ca: {key}: expected a PEM file with an authority's certificate",
        ),
        (
            ["--tls", "--ca", "none.pem"],
            "argument --ca: none.pem: cannot be read (No such file or directory)",
        ),
    ],
)
def test_bad_options_are_one_clear_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make_certificate(tmp_path / "tls")
    names = {"authority": files.authority, "key": files.key}
    with pytest.raises(SystemExit) as end:
        parse([*(word.format(**names) for word in words), "localhost:443"])
    assert end.value.code == 2
    assert message.format(**names) in capsys.readouterr().err
