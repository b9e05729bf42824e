"""The identity: who it is in this context, what the system may, what a job keeps of it."""

from __future__ import annotations

import json
import threading
from uuid import UUID

import pytest
from forge_min.auth import (
    ANONYMOUS,
    SYSTEM,
    Identity,
    as_identity,
    current_identity,
    for_job,
    require,
    to_metadata,
)
from forge_min.errors import Forbidden, Unauthenticated

TENANT = UUID("0190c0de-0000-7000-8000-000000000001")


def test_nobody_is_there_until_somebody_is_set_and_after_it():
    assert current_identity() is ANONYMOUS
    with as_identity(Identity("ann")):
        with as_identity(SYSTEM):
            assert current_identity() is SYSTEM
        assert current_identity().user == "ann"
    assert current_identity() is ANONYMOUS


def test_an_identity_stays_in_its_own_thread():
    found: list[Identity] = []
    with as_identity(Identity("ann")):
        thread = threading.Thread(target=lambda: found.append(current_identity()))
        thread.start()
        thread.join()
    assert found == [ANONYMOUS]


def test_require_wants_somebody_with_one_of_the_roles():
    with pytest.raises(Unauthenticated):
        require()
    with as_identity(Identity("ann", frozenset({"editor"}))):
        assert require().user == require("admin", "editor").user == "ann"
        with pytest.raises(Forbidden):
            require("admin")


def test_the_system_passes_every_rule_about_roles_and_has_no_tenant():
    with as_identity(SYSTEM):
        assert require("admin") is SYSTEM
    assert SYSTEM.tenant is None


def test_an_identity_has_the_time_zone_and_language_of_the_project_by_default():
    assert (Identity("ann").time_zone, Identity("ann").language) == ("", "")


@pytest.mark.parametrize(
    "cause", [ANONYMOUS, Identity("ann"), Identity("ann", frozenset({"admin"}), TENANT), SYSTEM]
)
def test_a_job_runs_as_the_system_in_the_name_and_tenant_of_its_cause(cause):
    kept = json.loads(json.dumps(to_metadata(cause)))
    assert set(kept) <= {"user", "tenant"} and all(kept.values())
    assert for_job(kept | {"traceparent": "00-x"}) == Identity(
        user=cause.user or "system", tenant=cause.tenant, system=True
    )


def test_a_tenant_that_is_none_never_becomes_no_tenant():
    with pytest.raises(ValueError, match="UUID"):
        for_job({"tenant": "everybody"})
