"""What the jobs page shows, as HTML. Takes what `jobs.control` gives; asks nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any
from urllib.parse import urlencode

from ...data import files
from ...jobs.control import STATES, duration, limits, moment
from ...wsgi import Raw, escape, join, tag

Shown = Mapping[str, Any]
_PAGE = Template((files(__package__) / "page.html").read_text("utf-8"))
_WAIT = ("available", "running", "scheduled", "retryable", "discarded")
_MINUTES, _WIDTH, _HEIGHT = 60, 200, 40
_WHAT = {"retry": "Run again", "cancel": "Cancel", "discard": "Discard"}


def page(project: str, title: str, content: str) -> str:
    """A whole page; `content` is HTML."""
    return _PAGE.substitute(project=escape(project), title=escape(title), content=content)


def overview(stats: Shown, minutes: Mapping[str, Sequence[Any]], now: float, csrf: Raw) -> Raw:
    """Queues, workers, schedules, the table."""
    return _fresh(
        [
            tag("h1", "Queues"),
            _waiting("a kind", stats["unknown"]),
            _waiting("a queue", stats["unworked"]),
            _queues(stats["queues"], minutes, now, csrf),
            tag("h2", "Workers"),
            _workers(stats["workers"]),
            *([tag("h2", "Schedules"), _schedules(stats["periodic"])] if stats["periodic"] else []),
            tag("h2", "Table"),
            _storage(stats["storage"]),
        ]
    )


def listing(found: Sequence[Shown], asked: Mapping[str, str], limit: int) -> Raw:
    """Jobs, the newest first, and the form that chooses them. asked: the query's filters."""
    rows = [
        tag("tr", join([
            tag("th", link(job["id"]), scope="row"), tag("td", state(job["state"])),
            tag("td", tag("code", job["kind"])), tag("td", job["queue"]),
            tag("td", f"{job['attempt']}/{job['max_attempts']}", class_="number"),
            tag("td", moment(job["scheduled_at"])), tag("td", _first_line(job["error"])),
        ]))
        for job in found
    ]  # fmt: skip
    heads = ("Job", "State", "Kind", "Queue", "Attempt", "Due", "Last error")
    older: object = ""
    if len(found) == limit:
        query = urlencode({**asked, "before": str(found[-1]["id"])})
        older = tag("p", tag("a", "Older jobs", href=f"/jobs/list?{query}"), class_="more")
    shown = _fresh([table(heads, rows, "No matching jobs."), older])
    return join([tag("h1", "Jobs"), _filter(asked), shown])


def detail(job: Shown, csrf: Raw) -> Raw:
    """One job: what it is, its arguments, each failed attempt, what can be done."""
    trace = str(job["metadata"].get("traceparent", "")).split("-")
    worker = job.get("worker")
    facts = {
        "State": state(job["state"]),
        "Kind": tag("code", job["kind"]),
        "Queue": job["queue"],
        "Priority": job["priority"],
        "Attempt": f"{job['attempt']} of {job['max_attempts']}",
        "Created": moment(job["created_at"]),
        "Due": moment(job["scheduled_at"]),
        "Last taken": moment(job["attempted_at"]),
        "Ended": moment(job["finalized_at"]),
        "Asked to cancel": moment(job["cancel_requested_at"]),
        "Runs on": worker and f"{worker['host']}, process {worker['pid']}",
        "By": job["metadata"].get("user"),
        "Tenant": job["metadata"].get("tenant"),
        "Trace": trace[1] if len(trace) == 4 else None,
        "Unique by": job["unique_key"] or job.get("begun_key"),
        "Limit key": job["limit_key"],
        "Tags": ", ".join(job["tags"]),
        "Tells of": link(job["metadata"]["discarded"]) if "discarded" in job["metadata"] else None,
    }
    shown = [(name, value) for name, value in facts.items() if value not in (None, "")]
    errors = [_error(error) for error in reversed(job["errors"])]
    return join([
        tag("h1", join([f"Job {job['id']} ", tag("small", job["kind"])])),
        _fresh([
            tag("dl", join(part for n, v in shown for part in (tag("dt", n), tag("dd", v))),
                class_="facts card"),
            tag("div", join(_button(f"/jobs/{job['id']}/{does}", _WHAT[does], csrf,
                                    "strong" if does == "discard" else None)
                            for does in _possible(job["state"])), class_="actions"),
        ]),
        tag("h2", "Arguments"), tag("pre", _json(job["args"]), class_="card", tabindex="0"),
        tag("h2", "Metadata"), tag("pre", _json(job["metadata"]), class_="card", tabindex="0"),
        _fresh([tag("h2", "Failed attempts"), *errors] if errors else []),
    ])  # fmt: skip


# -- parts -----------------------------------------------------------------------------------------


def _fresh(parts: Sequence[object]) -> Raw:
    """Content that admin.js keeps up to date."""
    return tag("div", join(parts), data_fresh="")


def table(heads: Sequence[str | tuple[str, str]], rows: Sequence[object], empty: str) -> Raw:
    """A table that scrolls in its own frame. heads: names, perhaps each with its class. empty: what
    it says without rows.
    """
    if not rows:
        return tag("div", tag("p", empty, class_="empty"), class_="card")
    named = [(head, "") if isinstance(head, str) else head for head in heads]
    cells = join(tag("th", name, scope="col", class_=of or None) for name, of in named)
    head = tag("thead", tag("tr", cells))
    return tag("div", tag("table", join([head, tag("tbody", join(rows))])), class_="scroll")


def link(id: object) -> Raw:
    """A job's number, which leads to its page."""
    return tag("a", id, href=f"/jobs/{id}")


def state(name: str) -> Raw:
    """A state, in its colour and its word."""
    return tag("span", name, class_=f"state {name}")


def plot(minutes: Sequence[Any], now: float) -> Raw:
    """What ended in the last hour, a bar a minute: completed, and failed on top in red."""
    last = int(now // 60)
    bars = {last - int(at) // 60: (done, failed) for at, done, failed, _ in minutes}
    most = max([sum(bar) for bar in bars.values()], default=0) or 1
    width = _WIDTH / _MINUTES
    shapes = [f'<line class="base" x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>']
    for ago, bar in bars.items():
        top = float(_HEIGHT)
        for name, number in zip(("done", "failed"), bar):
            height = number / most * _HEIGHT
            top -= height
            if number and 0 <= ago < _MINUTES:
                x = _WIDTH - (ago + 1) * width
                shapes.append(f'<rect class="{name}" x="{x:.1f}" y="{top:.1f}"'
                              f' width="{width - 0.6:.1f}" height="{height:.1f}"/>')  # fmt: skip
    done, failed = (sum(bar[n] for bar in bars.values()) for n in (0, 1))
    told = f"{done} completed and {failed} failed in the last hour, at most {most} in a minute"
    return Raw(
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(told)}"><title>{escape(told)}</title>{"".join(shapes)}</svg>'
    )


def _queues(
    queues: Sequence[Shown], minutes: Mapping[str, Sequence[Any]], now: float, csrf: Raw
) -> Raw:
    rows = []
    for queue in queues:
        name, paused = queue["name"], bool(queue["paused_at"])
        does = "resume" if paused else "pause"
        path = f"/jobs/queues/{does}?{urlencode({'queue': name})}"
        asked = {of: urlencode({"queue": name, "state": of}) for of in _WAIT}
        told = tag("span", limits(queue), class_="limits")
        rows.append(tag("tr", join([
            tag("th", join([name, " ", state("paused") if paused else "", told]), scope="row"),
            *(tag("td", tag("a", queue["counts"].get(of, 0), href=f"/jobs/list?{asked[of]}"),
                  class_=_number(of)) for of in _WAIT),
            tag("td", duration(queue["oldest_seconds"]), class_="number"),
            tag("td", plot(minutes.get(name, ()), now)),
            tag("td", _mean(queue), class_="number wide"),
            tag("td", _button(path, does.capitalize(), csrf)),
        ])))  # fmt: skip
    waits = [(of.capitalize(), _number(of)) for of in _WAIT]
    more = [("Oldest", "number"), ("Last hour", ""), ("Mean", "number wide"), ("", "")]
    heads = [("Queue", ""), *waits, *more]
    return table(heads, rows, "No worker has a queue, and no job waits.")


def _number(state: str) -> str:
    return "number wide" if state in ("scheduled", "discarded") else "number"


def _mean(queue: Shown) -> str:
    runs = queue["completed_per_hour"] + queue["failed_per_hour"]
    return f"{queue['seconds_per_hour'] / runs * 1000:.1f} ms" if runs else ""


def _workers(workers: Sequence[Shown]) -> Raw:
    rows = []
    for worker in workers:
        says: list[object] = [state("silent")] if not worker["alive"] else []
        says += ["leads"] if worker["leader"] else []
        runs = [
            join([link(run["id"]), f" {run['kind']}, {duration(run['seconds'])}",
                  ", asked to end" if run["cancelling"] else "", Raw("<br>")])
            for run in worker["running"]
        ]  # fmt: skip
        threads = ", ".join(f"{name} {size}" for name, size in worker["queues"].items())
        rows.append(tag("tr", join([
            tag("th", f"{worker['host']}, process {worker['pid']}", scope="row"),
            tag("td", join(says)), tag("td", threads), tag("td", moment(worker["started_at"])),
            tag("td", join(runs) if runs else "nothing"),
        ])))  # fmt: skip
    heads = ("Process", "", "Threads", "Since", "Runs now")
    return table(heads, rows, "No worker lives: start serve, or worker.")


def _schedules(periodic: Sequence[Shown]) -> Raw:
    rows = [
        tag("tr", join([
            tag("th", each["name"], scope="row"), tag("td", each["schedule"]),
            tag("td", moment(each["due_at"])), tag("td", moment(each["last_at"])),
            tag("td", link(each["last_job"]) if each["last_job"] else ""),
        ]))
        for each in periodic
    ]  # fmt: skip
    return table(("Name", "Schedule", "Next", "Last", "Its job"), rows, "")


def _storage(size: Shown) -> Raw:
    rows = [("forge_job", size["table_bytes"], size["live_rows"], size["dead_rows"], "")]
    rows += [(name, i["bytes"], i["rows"], "", i["scans"]) for name, i in size["indexes"].items()]
    shown = [
        tag("tr", join([
            tag("th", tag("code", name), scope="row"),
            tag("td", f"{bytes / 1024 / 1024:.1f} MiB", class_="number"),
            *(tag("td", f"{n:.0f}" if isinstance(n, int | float) else n, class_="number")
              for n in numbers),
        ]))
        for name, bytes, *numbers in rows
    ]  # fmt: skip
    return table(("Relation", "Size", "Rows", "Dead rows", "Scans"), shown, "")


def _waiting(what: str, names: Sequence[str]) -> Raw:
    if not names:
        return Raw("")
    told = ", ".join(names)
    return tag("p", f"Jobs wait for {what} that no living worker has: {told}.", class_="note")


def _filter(asked: Mapping[str, str]) -> Raw:
    chosen = asked.get("state", "")
    options = [tag("option", "any", value="")]
    options += [
        tag("option", name, value=name, selected="selected" if name == chosen else None)
        for name in STATES
    ]
    inputs = [tag("label", join(["State", tag("select", join(options), name="state")]))]
    for name in ("queue", "kind", "tag"):
        field = Raw(f'<input name="{name}" value="{escape(asked.get(name, ""))}">')
        inputs.append(tag("label", join([name.capitalize(), field])))
    inputs.append(tag("button", "Show"))
    return tag("form", join(inputs), class_="filter", action="/jobs/list", role="search")


def _error(error: Shown) -> Raw:
    head = f"Attempt {error.get('attempt')} at {moment(error.get('at'))}: {error.get('error')}"
    trace = error.get("trace")
    if not trace:
        return tag("div", tag("p", head, class_="empty"), class_="card")
    inside = join([tag("summary", head), tag("pre", trace, tabindex="0")])
    return tag("details", inside, class_="card", open="open")


def _first_line(text: str | None) -> str:
    return (text or "").split("\n")[0][:120]


def _button(path: str, text: str, csrf: Raw, kind: str | None = None) -> Raw:
    return tag("form", join([csrf, tag("button", text, class_=kind)]), method="post", action=path)


def _possible(state: str) -> list[str]:
    if state == "running":
        return ["cancel"]
    waits = state in ("available", "scheduled", "retryable")
    return (["retry"] if state != "available" else []) + (["cancel", "discard"] if waits else [])


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
