"""What a page's language means, shown by running compiled pages."""

from __future__ import annotations

from types import SimpleNamespace as Row

import pytest
from forge_min.pages import compile_page
from forge_min.pages.tokens import PageSource
from forge_min.wsgi.markup import Raw

from .helpers import page, refused


def test_text_stays_as_it_is_and_values_are_escaped() -> None:
    render = page('<p title="$name">${name} costs $$5</p>\r\n<p>\\ {x} \'"""</p>')
    assert render(name="<b>&'\"") == (
        '<p title="&lt;b&gt;&amp;&#39;&#34;">&lt;b&gt;&amp;&#39;&#34; costs $5</p>\r\n'
        '<p>\\ {x} \'"""</p>'
    )


def test_a_missing_value_is_a_type_error_and_one_too_many_is_ignored() -> None:
    render = page("<p>${a} ${b.c}</p>")
    with pytest.raises(TypeError, match="'b'"):
        render(a=1)
    assert render(a=1, b=Row(c=2), unused=3) == "<p>1 2</p>"


def test_only_a_raw_value_may_go_in_raw() -> None:
    render = page("<p>${html!raw}</p>")
    assert render(html=Raw("<b>x</b>")) == "<p><b>x</b></p>"
    with pytest.raises(TypeError, match="Raw"):
        render(html="<b>x</b>")


def test_a_raw_value_cannot_leave_an_attribute() -> None:
    render = page('<p title="${x}">')
    assert render(x=Raw('" onclick=alert(1) x="')).count('"') == 2


def test_sections_repeat_choose_and_nest() -> None:
    render = page(
        "<ul><!--$for row in rows--><li>${row.name}"
        "<!--$if row.tags--><!--$for tag in row.tags-->[${tag}]<!--$end--><!--$else-->-<!--$end-->"
        "</li><!--$end--></ul><!--$if not rows-->none<!--$end-->"
    )
    rows = [Row(name="a", tags=["x", "y"]), Row(name="b", tags=[])]
    assert render(rows=rows) == "<ul><li>a[x][y]</li><li>b-</li></ul>"
    assert render(rows=[]) == "<ul></ul>none"


def test_a_marker_alone_on_its_line_takes_the_line_with_it() -> None:
    render = page("<ul>\n  <!--$for x in xs-->\n  <li>$x</li>\n  <!--$end-->\n</ul>\n")
    assert render(xs=[1, 2]) == "<ul>\n  <li>1</li>\n  <li>2</li>\n</ul>\n"


def test_an_empty_section_compiles() -> None:
    assert page("<!--$if x--><!--$else--><!--$end-->")(x=1) == ""
    assert page("<!--$for x in xs--><!--$end-->")(xs=[1]) == ""
    assert page("")() == ""


def test_a_section_may_stand_inside_a_tag_and_inside_a_value() -> None:
    render = page(
        '<option class="a<!--$if on--> b<!--$end-->" <!--$if on-->selected <!--$end-->value="1">'
    )
    assert render(on=True) == '<option class="a b" selected value="1">'
    assert render(on=False) == '<option class="a" value="1">'


def test_urls_are_checked_when_a_value_begins_them() -> None:
    render = page('<a href="${url}">x</a><a href="/x/${url}?q=${url}">y</a>')
    assert render(url="java\tscript:alert(1)").startswith('<a href="#">x</a>')
    assert render(url="a&b").endswith('<a href="/x/a&amp;b?q=a&amp;b">y</a>')


def test_a_layout_goes_around_and_parts_go_in() -> None:
    render = page(
        "<!--$layout base.html-->\n"
        "<!--$for row in rows-->\n<!--$include part.html-->\n<!--$end-->\n",
        base="<html><title>${title}</title>\n<!--$body-->\n</html>\n",
        part="<i>${row.x}</i>\n",
    )
    html = render(title="T", rows=[Row(x=1), Row(x=2)])
    assert html == "<html><title>T</title>\n<i>1</i>\n<i>2</i>\n</html>\n"


def test_names_of_builtins_and_of_the_compiler_are_free_to_use() -> None:
    render = page("<!--$for list in str-->${list}<!--$end-->${escape}${render}${Any}")
    assert render(str=[1], escape=2, render=3, Any=4) == "1234"


def test_a_file_name_cannot_put_code_into_the_page() -> None:
    source = compile_page(PageSource('a"""\nimport os\n', "<!--$if x-->1<!--$end-->"), "p", {}.get)
    assert "\nimport os" not in source
    compile(source, "p.py", "exec")


@pytest.mark.parametrize(
    ("source", "code", "place"),
    [
        ("<p>\n $5</p>", "F314", "2:2"),
        ("<p>${}</p>", "F314", "1:4"),
        ("${a.__class__}", "F314", "1:1"),
        ("${_private}", "F314", "1:1"),
        ("${a + b}", "F314", "1:1"),
        ("${a!r}", "F314", "1:1"),
        ("${class}", "F314", "1:1"),
        ("${a.import}", "F314", "1:1"),
        ("<!--$for if in xs--><!--$end-->", "F314", "1:1"),
        ("<!--$for x in xs--><!--$for x in ys--><!--$end--><!--$end-->", "F314", "1:20"),
        ("${x}<!--$for x in xs-->${x}<!--$end-->", "F314", "1:5"),
        ("\n<!--$if x-->", "F314", "2:1"),
        ("<p>x</p><!--$end-->", "F314", "1:9"),
        ("<!--$else-->", "F314", "1:1"),
        ("<!--$if x--><!--$else--><!--$else--><!--$end-->", "F314", "1:25"),
        ("<!--$for x in xs--><!--$else--><!--$end-->", "F314", "1:20"),
        ("<!--$edn-->", "F314", "1:1"),
        ("<!--$if x or y--><!--$end-->", "F314", "1:1"),
        ("<!--$if x", "F314", "1:1"),
        ("<!--$body-->", "F316", "1:1"),
        ("<!--$include gone.html-->", "F316", "1:1"),
        ("<!--$include ../secret.html-->", "F314", "1:1"),
        ("<p></p><!--$layout base.html-->", "F316", "1:8"),
        ("<!--$layout nobody.html-->", "F316", "1:1"),
    ],
)
def test_a_mistake_is_an_error_with_its_place(source: str, code: str, place: str) -> None:
    error = refused(source, base="<!--$body-->", nobody="x")
    assert error.code == code
    assert error.message.startswith(f"page.html:{place}: ")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("<!--$include loop.html-->", "loop.html:1:4"),
        ("<!--$layout nested.html-->", "nested.html:1:1"),
        ("<!--$include script.html-->", "script.html:1:9"),
    ],
)
def test_a_mistake_in_another_file_has_its_place_there(source: str, place: str) -> None:
    error = refused(
        source,
        loop="<p><!--$include loop.html-->",
        base="<!--$body-->",
        nested="<!--$layout base.html--><!--$body-->",
        script="<script>${x}</script>",
    )
    assert error.message.startswith(f"{place}: ")


def test_text_of_braces_quotes_and_the_loops_name_stays_text() -> None:
    render = page(
        '{ "it\'s" } \\n {{x}} ${a}\n'
        "<!--$for row in rows-->row<b>row</b> ${row} {${row}}<!--$end-->"
    )
    expected = '{ "it\'s" } \\n {{x}} &lt;\nrow<b>row</b> 1 {1}row<b>row</b> 2 {2}'
    assert render(a="<", rows=[1, 2]) == expected


def test_what_a_loop_shows_twice_is_asked_for_once_and_only_where_it_is_shown() -> None:
    class Counted:
        asked = 0

        @property
        def id(self) -> int:
            self.asked += 1
            return self.asked

    render = page(
        "<!--$for r in rows-->${r.id} ${r.id}"
        "<!--$if no-->${r.other} ${r.other}<!--$end--><!--$end-->"
    )
    assert render(rows=[Counted()], no=False) == "1 1"


LIST = (
    '<h1>${title}</h1>\n<!--$block buttons--><a href="/new">New</a><!--$end-->\n'
    "<!--$block rows--><!--$for row in rows-->"
    "<!--$block row--><p>${row.x}</p><!--$end--><!--$end--><!--$end-->"
)


def test_blocks_of_a_page_replace_those_of_its_layout() -> None:
    values = {"title": "T", "rows": [Row(x=1), Row(x=2)], "extra": "E"}
    assert page(LIST)(**values) == '<h1>T</h1>\n<a href="/new">New</a>\n<p>1</p><p>2</p>'
    own = page(
        "<!--$layout list.html-->\n<!--$block buttons--><b>${extra}</b><!--$end-->\n", list=LIST
    )
    assert own(**values) == "<h1>T</h1>\n<b>E</b>\n<p>1</p><p>2</p>"
    inner = page("<!--$layout list.html--><!--$block row--><i>${row.x}</i><!--$end-->", list=LIST)
    assert inner(**values) == '<h1>T</h1>\n<a href="/new">New</a>\n<i>1</i><i>2</i>'
    both = page(
        "<!--$layout list.html--><!--$block rows--><!--$if rows-->${extra}<!--$end--><!--$end-->"
        "<!--$block buttons--><!--$end-->",
        list=LIST,
    )
    assert both(**values) == "<h1>T</h1>\n\nE"
    layout = "<main><!--$block head-->H<!--$end--><!--$body--></main>"
    assert page("<!--$layout base.html--><p>B</p>", base=layout)() == "<main>H<p>B</p></main>"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("<!--$layout list.html--><!--$block nothing--><!--$end-->", 'has no block "nothing"'),
        ("<!--$layout list.html--><!--$block rows-->", "the block has no <!--$end-->"),
        ("<!--$layout list.html--><p>outside</p>", "needs <!--$body--> exactly once"),
        ("<!--$layout none.html--><!--$block rows--><!--$end-->", "there is no file"),
        ("<!--$include list.html-->", "an included file has no blocks"),
        ("<!--$block a b--><!--$end-->", "cannot be understood"),
    ],
)
def test_a_block_that_is_not_there_is_refused(source: str, message: str) -> None:
    assert message in refused(source, list=LIST).message
