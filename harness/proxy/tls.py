"""Creates a temporary certificate, so that clients can call the lab's servers over TLS.

The command `up` and the standalone proxy use it, and so do measured arms with `tls`. All other arms use clear
text (h2c).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.spec.arm import CertificateKey

HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class TlsFiles:
    """PEM files in `folder`: the server's certificate, its private key, and the CA certificate to trust."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"


def make_certificate(folder: Path, names: Sequence[str] = (), key: CertificateKey = "ecdsa") -> TlsFiles:
    """Create `folder` (mode 0700) with a certificate for HOSTS and `names`, and its private key (mode 0600).

    A new certificate authority signs it; the authority's own key is never written. Raises OSError when the
    folder exists already or cannot be created.
    """
    # A local import, because few commands need it and it loads all of OpenSSL.
    import trustme

    folder.mkdir(mode=0o700)
    files = TlsFiles(folder)
    authority = trustme.CA(organization_name="lb-lab")
    kind = trustme.KeyType[key.upper()]
    issued = authority.issue_cert(*HOSTS, *names, organization_name="lb-lab", key_type=kind)
    authority.cert_pem.write_to_path(files.authority)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(files.certificate, append=True)
    descriptor = os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(issued.private_key_pem.bytes())
    return files
