"""Whom to trust over TLS: certificates of authorities, as PEM text."""

import re
import ssl
from pathlib import Path

MAX_BYTES = 10_000_000
# Bundles have comments in any language between their certificates, and some files a private key.
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def read_ca_certificates(path: Path) -> str:
    """The PEM text of a file's certificates, one or more, and of nothing else that is in it.

    Raises ValueError, with a message for the user, when there is no such file or no certificate in it.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    certificates = "".join(f"{certificate}\n" for certificate in CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{path}: expected a PEM file with an authority's certificate") from error
    return certificates
