"""The router finds the handler, or says exactly what is there instead."""

from __future__ import annotations

import pytest
from forge_min.errors import NotFound, ServerError
from forge_min.wsgi import MethodNotAllowed, Response, Router


def handler(name):
    return lambda request: Response(200, name.encode())


def router(*routes):
    made = Router()
    for method, pattern in routes:
        made.add(method, pattern, handler(f"{method} {pattern}"))
    return made


def found(made, method, path):
    route, params = made.match(method, path)
    return route.handler(None).body.decode(), params, route.pattern


def test_fixed_paths_and_parameters_are_found():
    made = router(("GET", "/"), ("GET", "/flights"), ("GET", "/flights/{id}"))
    assert found(made, "GET", "/") == ("GET /", {}, "/")
    assert found(made, "GET", "/flights") == ("GET /flights", {}, "/flights")
    assert found(made, "GET", "/flights/7") == ("GET /flights/{id}", {"id": "7"}, "/flights/{id}")


def test_a_literal_wins_over_a_parameter_and_a_parameter_over_the_rest():
    made = router(("GET", "/f/{path...}"), ("GET", "/f/{id}"), ("GET", "/f/new"))
    assert found(made, "GET", "/f/new")[0] == "GET /f/new"
    assert found(made, "GET", "/f/old")[0] == "GET /f/{id}"
    assert found(made, "GET", "/f/a/b") == ("GET /f/{path...}", {"path": "a/b"}, "/f/{path...}")


def test_a_literal_that_leads_nowhere_falls_back_to_the_parameter():
    made = router(
        ("GET", "/f/new/x"), ("GET", "/f/{id}/y"), ("DELETE", "/f/{id}"), ("GET", "/f/new")
    )
    assert found(made, "GET", "/f/new/y")[1] == {"id": "new"}
    assert found(made, "DELETE", "/f/new")[1] == {"id": "new"}


def test_two_patterns_may_name_one_segment_differently():
    made = router(("GET", "/a/{x}"), ("POST", "/a/{y}/b"))
    assert found(made, "GET", "/a/1")[1] == {"x": "1"}
    assert found(made, "POST", "/a/1/b")[1] == {"y": "1"}


@pytest.mark.parametrize("path", ["/nope", "/flights/", "/flights/1/2", "//", "/flights//x"])
def test_what_is_not_there_is_not_found(path):
    with pytest.raises(NotFound):
        router(("GET", "/flights/{id}")).match("GET", path)


def test_another_method_gets_what_is_allowed():
    made = router(("GET", "/f/{id}"), ("PUT", "/f/{id}"), ("DELETE", "/f/new"))
    with pytest.raises(MethodNotAllowed) as caught:
        made.match("POST", "/f/new")
    assert dict(caught.value.headers) == {"Allow": "DELETE, GET, HEAD, OPTIONS, PUT"}


def test_head_is_answered_by_get_unless_it_has_its_own_route():
    made = router(("GET", "/a"), ("GET", "/b"), ("HEAD", "/b"), ("GET", "/{id}"))
    assert found(made, "HEAD", "/a")[0] == "GET /a"
    assert found(made, "HEAD", "/b")[0] == "HEAD /b"


def test_options_tells_what_is_allowed_unless_it_has_its_own_route():
    made = router(("GET", "/a/{id}"), ("POST", "/b"), ("OPTIONS", "/b"))
    route, _ = made.match("OPTIONS", "/a/1")
    answer = route.handler(None)
    assert (answer.status, answer.header("allow")) == (204, "GET, HEAD, OPTIONS")
    assert route.pattern == "/a/{id}"
    assert found(made, "OPTIONS", "/b")[0] == "OPTIONS /b"
    assert made.match("OPTIONS", "*")[0].handler(None).header("Allow") == "GET, HEAD, OPTIONS, POST"
    with pytest.raises(NotFound):
        made.match("OPTIONS", "/c")


@pytest.mark.parametrize(
    "pattern", ["a", "", "/a{b}", "/{b}c", "/{B}", "/{a}/{a}", "/{a...}/b", "/{}", "/{a..}", "/}"]
)
def test_a_wrong_pattern_is_refused(pattern):
    with pytest.raises(ServerError, match="route"):
        router(("GET", pattern))


def test_a_route_is_declared_once():
    with pytest.raises(ServerError, match="declared twice"):
        router(("GET", "/a/{x}"), ("GET", "/a/{y}"))
    with pytest.raises(ServerError, match="not a method"):
        router(("get", "/a"))


def test_routes_are_listed_in_order():
    made = router(("GET", "/b"), ("POST", "/a/{id}"))
    made.add("PUT", "/c", handler("c"), name="put_c")
    assert [(r.method, r.pattern, r.name) for r in made.routes()] == [
        ("GET", "/b", ""),
        ("POST", "/a/{id}", ""),
        ("PUT", "/c", "put_c"),
    ]


def test_parameters_of_one_request_are_not_those_of_another():
    made = router(("GET", "/a"))
    made.match("GET", "/a")[1]["x"] = "y"
    assert made.match("GET", "/a")[1] == {}


def test_a_path_of_many_segments_costs_no_recursion():
    with pytest.raises(NotFound):
        router(("GET", "/a/{b}/{c}")).match("GET", "/a" * 4000)
