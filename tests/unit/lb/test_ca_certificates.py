"""CA certificates are read from a file; a file without one is refused."""

from pathlib import Path

import pytest

from harness.proxy.tls import make_certificate
from lb.ca_certificates import read_ca_certificates


def test_only_certificates_are_read_from_a_file(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    authority, certificate = files.authority.read_text(), files.certificate.read_text()
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"# Autorità di Łódź\n{authority}\nmore - words\n{files.key.read_text()}{certificate}")
    assert read_ca_certificates(bundle).split() == f"{authority}\n{certificate}".split()


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_one_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"ca\.pem: expected a PEM file with an authority's certificate"):
        read_ca_certificates(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pem: cannot be read \(No such file or directory\)"):
        read_ca_certificates(tmp_path / "none.pem")
    with pytest.raises(ValueError, match="cannot be read"):
        read_ca_certificates(tmp_path)
