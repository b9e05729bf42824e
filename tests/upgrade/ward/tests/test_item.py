"""Items, from the API to the page and the job."""

from forge_min.app import Running
from forge_min.auth import Identity
from forge_min import jobs
from forge_min.testing import Answer, Client, drain_jobs

ADMIN = Identity("ann", frozenset({"admin"}))


def test_a_new_item_is_on_the_page_and_has_its_job_done(site: Running) -> None:
    client = Client(site, ADMIN)
    answer: Answer = client.post("/api/v1/items", json={"title": "Hello"})
    assert answer.status == 201, answer.text
    assert "Hello" in client.get("/").text
    assert [run.job.kind for run in drain_jobs(site)] == ["ItemCreated"]


def test_an_item_without_a_title_is_refused(site: Running) -> None:
    answer = Client(site, ADMIN).post("/api/v1/items", json={"title": ""})
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == "/title"


def test_jobs_are_inserted_by_a_client(site: Running) -> None:
    assert jobs.Client(site.database).insert


def test_a_user_is_known_by_a_method_of_the_application(site: Running) -> None:
    answer = Client(site).get("/api/v1/items", headers={"X-User": "ann"})
    assert answer.status == 200, answer.text


def test_pages_of_the_application_and_of_accounts_are_there(site: Running) -> None:
    assert Client(site, ADMIN).get("/hello").text == "<p>yes</p>"
    assert Client(site).get("/account/forgot").status == 200
