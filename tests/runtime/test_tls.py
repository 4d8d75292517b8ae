from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from services.runtime.channel import open_channel
from tests.runtime.echo import ask
from tests.runtime.test_server import ready

MAX_BYTES = 2**20


class Authority:
    """A certificate authority whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.certificate_file = self._write("ca.pem", self._certificate(self._name, self._key, is_authority=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        key_bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._write(f"{name}.pem", self._certificate(subject, key)), self._write(f"{name}.key", key_bytes)

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_authority: bool = False) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(hours=1),
            not_valid_after=now + timedelta(hours=1),
        )
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        return builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls(serving, authority):
    certificate, key = authority.issue("server")

    def trusting(address: str) -> grpc.aio.Channel:
        return open_channel(address, max_message_bytes=MAX_BYTES, ca_file=authority.certificate_file)

    async with serving(trusting, tls_certificate_file=certificate, tls_key_file=key) as served:
        await ready(served.channel)
        assert (await served.stub.Generate(ask("hello"))).text == "hello"
        async with open_channel(served.address, max_message_bytes=MAX_BYTES) as plaintext:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ready(plaintext)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_mtls_wants_the_clients_certificate(serving, authority):
    ca_file = authority.certificate_file
    (certificate, key), (own, own_key) = authority.issue("server"), authority.issue("client")

    def showing(address: str) -> grpc.aio.Channel:
        return open_channel(
            address, max_message_bytes=MAX_BYTES, ca_file=ca_file, certificate_file=own, key_file=own_key
        )

    files = {"tls_certificate_file": certificate, "tls_key_file": key, "tls_client_ca_file": ca_file}
    async with serving(showing, **files) as served:
        await ready(served.channel)
        assert (await served.stub.Generate(ask("hello"))).text == "hello"
        async with open_channel(served.address, max_message_bytes=MAX_BYTES, ca_file=ca_file) as nameless:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ready(nameless)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_half_a_client_certificate_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs its key"):
        open_channel("x", max_message_bytes=MAX_BYTES, ca_file=tmp_path / "ca", certificate_file=tmp_path / "c")
