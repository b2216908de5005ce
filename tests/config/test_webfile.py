"""The web config file: what it says, and the exact words for every mistake in it."""

from pathlib import Path

import pytest

from poller.config.webfile import read_web_file
from poller.domain.errors import ConfigError

HASH = "$2y$04$" + "." * 22 + "hGR8nPJMQCNSyNQ.NZ3MQ8vJkY2zZXe"
DATA = Path(__file__).parent / "data" / "web-mistakes.txt"


def cases() -> list[tuple[str, list[str]]]:
    """Files, and what is said of them, each after the file's name."""
    halves = (case.split("-" * 20 + "\n") for case in DATA.read_text("utf-8").split("=" * 20 + "\n"))
    return [(text, said.splitlines()) for text, said in halves]


def write(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(("text", "said"), cases())
def test_every_mistake_is_told_where_it_is(tmp_path: Path, text: str, said: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        read_web_file(path)
    assert str(raised.value).splitlines() == [f"{path}{line}" for line in said]
    assert "hunter2" not in str(raised.value)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"web\.yml: does not exist, a file that can be read is allowed$"):
        read_web_file(tmp_path / "web.yml")


def test_everything_may_be_left_out(tmp_path: Path) -> None:
    read = read_web_file(write(tmp_path, "{}"))
    assert (read.tls, dict(read.users)) == (None, {})


def test_paths_are_beside_the_file_and_versions_have_defaults(tmp_path: Path) -> None:
    text = "tls_server_config: {cert_file: tls/a.crt, key_file: /b.key}\nhttp_server_config: {http2: false}\n"
    tls = read_web_file(write(tmp_path, text)).tls
    assert tls is not None
    assert (tls.cert_file, tls.key_file, tls.client_ca_file) == (tmp_path / "tls/a.crt", Path("/b.key"), None)
    assert (tls.min_version, tls.max_version, tls.client_auth_type) == ("TLS12", "TLS13", "NoClientCert")
    assert not tls.verifies_clients


@pytest.mark.parametrize("kind", ["RequestClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"])
def test_client_certificates_may_be_verified(tmp_path: Path, kind: str) -> None:
    keys = "cert_file: a, key_file: b, client_ca_file: c"
    tls = read_web_file(write(tmp_path, f"tls_server_config: {{{keys}, client_auth_type: {kind}}}")).tls
    assert tls is not None
    assert tls.verifies_clients == kind.endswith(("IfGiven", "AndVerifyClientCert"))


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
def test_users_have_hashes_that_show_nowhere(tmp_path: Path, version: str) -> None:
    hashed = HASH.replace("2y", version)
    read = read_web_file(write(tmp_path, f"basic_auth_users: {{ann: {hashed}}}"))
    assert read.users == {"ann": hashed}
    assert hashed not in repr(read)
