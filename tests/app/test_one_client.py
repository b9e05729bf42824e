"""One client and the others: conditions of a list, the time of a read, requests at once."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from forge_min.app import Running
from forge_min.testing import Client, TestDatabase, running_app

pytestmark = pytest.mark.db
LISTS = ("/api/v1/documents", "/documents", "/documents.csv")


@pytest.mark.parametrize("path", LISTS)
def test_a_list_takes_twenty_conditions_and_identical_ones_count_once(
    site: Running, path: str
) -> None:
    def ask(*pairs: tuple[str, str]) -> tuple[int, str]:
        answer = Client(site).get(f"{path}?{urlencode(pairs)}")
        return answer.status, answer.text

    several = [("email[contains]", f"e{n}") for n in range(20)]
    assert ask(*several, *[several[0]] * 300)[0] == 200
    status, text = ask(*several, ("int[gte]", "1"))
    assert status == 400 and "at most 20 conditions" in text
    if path != "/documents":  # which shows the list's page with it
        assert '"code": "F643"' in text and '"pointer": "/int[gte]"' in text


def test_the_number_of_conditions_is_configured(wide_database: TestDatabase) -> None:
    with running_app(wide_database, FORGE_API_MAX_CONDITIONS="1") as running:
        for path in LISTS:
            assert Client(running).get(f"{path}?int=1&int=1").status == 200
            assert Client(running).get(f"{path}?int=1&int=2").status == 400
