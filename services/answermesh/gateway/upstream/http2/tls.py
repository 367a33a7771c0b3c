"""TLS towards the upstream: who is believed, and what is shown."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_context(
    *, ca_file: Path | None = None, certificate_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """A context that verifies the server by `ca_file` (else by the system's CAs), and shows a certificate if given.

    `key_file` may be left out where the certificate's file holds the key too. Raises OSError for files that cannot be
    read, ssl.SSLError for files that are no certificates or do not fit.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    return context
