"""Messages through a real Postfix of the test's own, with its replies and its STARTTLS."""

from __future__ import annotations

import os
import pwd
import shutil
import smtplib
import ssl
import subprocess
import time
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from forge_min import jobs
from forge_min.mail import Mailer, Message, SMTPTransport

from artifact_runner import free_port
from mail_server import write_certificate

pytestmark = [pytest.mark.thorough, pytest.mark.slow]
MESSAGE = Message("p1", "anna@mail.test", "Grüße", "Hello\n.\nAnna", "<p>Hello</p>")
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"""
_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.test
mydestination =
virtual_mailbox_domains = mail.test
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {certificate}
smtpd_recipient_restrictions =
  check_recipient_access inline:{{
    {{ later@mail.test = 450 4.7.1 greylisted }}, {{ gone@mail.test = 550 5.1.1 unknown }} }},
  reject_unauth_destination
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
"""


@pytest.fixture
def postfix(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a running server, and the file of its only mailbox."""
    if not shutil.which("postfix") or os.getuid():
        assert os.environ.get("FORGE_REQUIRE_ALL") != "1", "Postfix is missing"
        pytest.skip("needs Postfix and root")
    # Its processes run as other users, which may not enter the folders of pytest.
    folder = Path(f"/tmp/forge-postfix-{os.getpid()}")
    port, user = free_port(), pwd.getpwnam("postfix")
    certificate = write_certificate(tmp_path / "cert.pem")
    try:
        for name in ("queue", "data", "mail"):
            (folder / name).mkdir(parents=True)
        for name in ("data", "mail"):
            os.chown(folder / name, user.pw_uid, user.pw_gid)
        (folder / "master.cf").write_text(_MASTER.format(port=port))
        values = {"folder": folder, "certificate": certificate}
        text = _MAIN.format(uid=user.pw_uid, gid=user.pw_gid, **values)
        (folder / "main.cf").write_text(text)
        subprocess.run(["postfix", "-c", str(folder), "start"], check=True, timeout=60)
        yield f"smtp+starttls://localhost:{port}?ca={certificate}", folder / "mail" / "box"
    finally:
        subprocess.run(["postfix", "-c", str(folder), "stop"], check=False, timeout=60)
        print((folder / "log").read_text() if (folder / "log").exists() else "no log")
        shutil.rmtree(folder, ignore_errors=True)


def test_postfix_delivers_defers_and_rejects(postfix: tuple[str, Path]) -> None:
    url, box = postfix
    mailer = Mailer(SMTPTransport(url), "Shop <shop@example.com>", "")
    mailer.send(MESSAGE)
    end = time.monotonic() + 30
    while not box.exists() or not box.read_bytes().endswith(b"\n\n"):
        assert time.monotonic() < end, "not delivered"
        time.sleep(0.1)
    mail = message_from_bytes(box.read_bytes().partition(b"\n")[2])
    assert mail["Message-ID"] == "<p1@example.com>" and "ESMTPS" in mail["Received"]
    with pytest.raises(jobs.Discard, match=r"550 .*unknown"):
        mailer.send(MESSAGE._replace(to="gone@mail.test"))
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        mailer.send(MESSAGE._replace(to="later@mail.test"))
    with pytest.raises(jobs.Discard, match="554"):
        mailer.send(MESSAGE._replace(to="relay@elsewhere.example"))
    with pytest.raises(ssl.SSLCertVerificationError):
        Mailer(SMTPTransport(url.partition("?")[0]), "shop@example.com", "").send(MESSAGE)
    plain = url.replace("smtp+starttls", "smtp").partition("?")[0]
    with pytest.raises(smtplib.SMTPException, match="STARTTLS"):
        Mailer(SMTPTransport(plain), "shop@example.com", "").send(MESSAGE)
