"""Certificates of an authority of the tests' own, with the names that a test wants."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.file = self._write("ca.pem", self._certificate("authority", self._key, [], is_authority=True))

    def issue(self, *names: str) -> tuple[Path, Path]:
        """The files of a certificate for 127.0.0.1 with these DNS names or URIs, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        key_bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        label = "".join(character if character.isalnum() else "-" for character in names[0])
        certificate = self._certificate(names[0], key, list(names))
        return self._write(f"{label}.pem", certificate), self._write(f"{label}.key", key_bytes)

    def _certificate(
        self, subject: str, key: ec.EllipticCurvePrivateKey, names: list[str], is_authority: bool = False
    ) -> bytes:
        now = datetime.now(UTC)
        general = [x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name) for name in names]
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(hours=1),
            not_valid_after=now + timedelta(hours=1),
        )
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        alternatives = x509.SubjectAlternativeName([*general, x509.IPAddress(IPv4Address("127.0.0.1"))])
        signed = builder.add_extension(alternatives, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM)

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path
