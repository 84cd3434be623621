"""Certificates that the lab makes: the kind of their key, and the names that they are valid for."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from harness.proxy.tls import make_certificate
from harness.spec.arm import CertificateKey


@pytest.mark.parametrize(
    ("key", "kind", "bits"), [("ecdsa", EllipticCurvePublicKey, 256), ("rsa", RSAPublicKey, 2048)]
)
def test_a_certificate_has_the_key_and_the_names(
    key: CertificateKey, kind: type, bits: int, tmp_path: Path
) -> None:
    files = make_certificate(tmp_path / "tls", ["balancer.lab"], key)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    public = certificate.public_key()
    assert isinstance(public, kind)
    assert public.key_size == bits  # type: ignore[attr-defined]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "balancer.lab"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
