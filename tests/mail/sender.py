"""sender.py DATABASE MAIL_URL: a child sends the mail of a database; a killed one is replaced."""

from __future__ import annotations

import os
import sys
import time

from forge_min import db, jobs
from forge_min.mail import Mailer, SendMail, SMTPTransport


def main() -> None:
    """Send."""
    database, url = sys.argv[1:]
    mailer = Mailer(SMTPTransport(url), "shop@example.com", "https://shop.example")
    kinds = {SendMail.kind: SendMail(mailer).work}
    worker = jobs.Worker(
        lambda: db.connect(database),
        kinds,
        queues={"default": 4},
        poll_interval=0.05,
        heartbeat=0.1,
        rescue_after=0.4,
    )
    worker.start()
    while True:
        time.sleep(60)


while True:
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        main()
