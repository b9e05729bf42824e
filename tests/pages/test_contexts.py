"""No value can leave its place in the HTML: what is refused, and that what is accepted holds."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from forge_min.errors import BuildError
from hypothesis import given, settings
from hypothesis import strategies as st

from .helpers import page, refused

REFUSED = [
    ("<script>var x = ${x}</script>", "F310"),
    ('<script>var x = "${x}"</script>', "F310"),
    ('<script type="application/json">${x}</script>', "F310"),
    ("<SCRIPT>${x}</SCRIPT>", "F310"),
    ("<script\n>${x}</script>", "F310"),
    ("<script></style>${x}</script>", "F317"),
    ("<script></scriptx>${x}</script>", "F317"),
    ("<script></script\x0b>${x}</script>", "F317"),
    ("<script>/*<!--$if x-->*/<!--$end--></script>", "F310"),
    ("<style>p { color: ${x} }</style>", "F310"),
    ("<iframe>${x}</iframe>", "F310"),
    ("<xmp>${x}</xmp>", "F310"),
    ("<noembed>${x}</noembed>", "F310"),
    ("<!-- ${x} -->", "F310"),
    ("<!-- > ${x} -->", "F310"),
    ("<!-- --!x> ${x} -->", "F310"),
    ("<!doctype ${x}>", "F317"),
    ("<? ${x} ?>", "F317"),
    ("</ ${x}>", "F317"),
    ("<${x}>", "F310"),
    ("</${x}>", "F310"),
    ("<!${x}>", "F310"),
    ("<!-${x}-->", "F317"),
    ("<p${x}>", "F310"),
    ("<p ${x}>", "F310"),
    ('<p ${x}="y">', "F310"),
    ('<p a${x}="y">', "F310"),
    ("<p a ${x}>", "F310"),
    ('<p a="x"${x}>', "F310"),
    ('</p title="${x}">', "F317"),
    ("<textarea>${x!raw}</textarea>", "F310"),
    ("<p title=${x}>", "F310"),
    ("<p title=a${x}>", "F310"),
    ("<p title= ${x}>", "F310"),
    ('<p onclick="${x}">', "F310"),
    ('<p ONCLICK="f(${x})">', "F310"),
    ("<p\x0conclick='${x}'>", "F310"),
    ('<p/onclick="${x}">', "F317"),
    ('<p a="b"onclick="${x}">', "F310"),
    ('<p style="color: ${x}">', "F310"),
    ('<iframe srcdoc="${x}">', "F310"),
    ('<img srcset="${x} 2x">', "F310"),
    ('<p data-on-click="${x}">', "F310"),
    ('<p data-on:click="${x}">', "F310"),
    ('<p data-signals="${x}">', "F310"),
    ('<svg><set attributeName="href" to="${x}"/></svg>', "F310"),
    ('<meta http-equiv="refresh" content="0; url=${x}">', "F310"),
    ('<meta content="${x}" http-equiv="refresh">', "F310"),
    ('<p title="${x!raw}">', "F310"),
    ('<a href="${x!raw}">', "F310"),
    ('<a href="javascript:${x}">', "F310"),
    ('<a href="&#106;avascript:${x}">', "F310"),
    ('<a href="java\nscript:/${x}">', "F310"),
    ('<a href="data:text/html,/${x}">', "F310"),
    ('<a href="java${x}">', "F310"),
    ('<a href="${x}${y}">', "F310"),
    ('<a href="${x}:${y}">', "F310"),
    ('<a href="//${x}">', "F310"),
    ('<a href="https://${x}/">', "F310"),
    ('<script src="${x}"></script>', "F310"),
    ('<script src="/${x}"></script>', "F310"),
    ('<script src="//${x}/a.js"></script>', "F310"),
    ('<script src="https://example.org/${x}"></script>', "F310"),
    ('<a href="<!--$if x-->javascript:<!--$end-->${y}">', "F314"),
    ("<!--$if x--><script><!--$end-->", "F317"),
    ('<!--$if x--><p title="<!--$end-->${y}">', "F314"),
    ('<p <!--$if x-->on<!--$end-->click="${y}">', "F314"),
    ('<p on<!--$if x-->click<!--$end-->="${y}">', "F314"),
    ('<p title=<!--$if x-->"<!--$end-->${y}">', "F310"),
    ('<p title="a<!--$if x-->" title=\'<!--$end-->">', "F317"),
    ("<<!--$if x-->p<!--$end-->>", "F314"),
    ("<p", "F317"),
    ('<p title="x', "F317"),
    ("<script>", "F317"),
    ("<!-- x", "F317"),
    ("x <", "F317"),
    ("<title>x", "F317"),
    ("<p title=>", "F310"),
    ('<p "x">', "F317"),
    ("<p <b>", "F317"),
    ("<p<b>", "F317"),
    ("<p a=b'c>", "F310"),
    ("<![CDATA[x]]>", "F317"),
    ("<svg><title><a href='${x}'></a></title></svg>", "F317"),
    ("<script><!-- <script> </script> --></script>", "F317"),
    ("<plaintext>${x}", "F317"),
    ("<select><iframe><script></iframe>${x}</script></select>", "F317"),
    ("<select><style><script></style>${x}</script></select>", "F317"),
    ("<svg><script>'<a onclick=\"</script>${x}'</script></svg>", "F317"),
    ("<script>x</\u017fcript>${x}</script>", "F317"),
    ("<\u017fcript>${x}</script>", "F317"),
    ('<p \u017ftyle="${x}">', "F317"),
    ("<script>if (1 < 2) {}</script>", "F317"),
    ("<script>x</script", "F317"),
    ("<title>${x!raw}</title>", "F310"),
    ("<noscript>${x}</noscript>", "F310"),
    ("<p>1 < 2</p>", "F317"),
    ("<!--><p>x</p>-->", "F317"),
    ("<!-- --!> -->", "F317"),
    ('<p a = "b">', "F310"),
    ("<br / >", "F317"),
    ('<meta http-equiv="refresh" content="30">', "F310"),
    ('<p data-text="${x}" >', "F310"),
    ('<p unheard-of="${x}">', "F310"),
    ('<base href="/a/${x}">', "F310"),
    ('<object data="${x}"></object>', "F310"),
    ('<a href="/${x}">', "F310"),
    ('<a href=" /a/${x}">', "F310"),
    ('<a href="/\t/${x}">', "F310"),
    ('<a href="https://example.org${x}">', "F310"),
    ('<a href="https://${x}@example.org/">', "F310"),
    ('<a href="${x}/${y}">', "F310"),
    ('<a href="${x}//a">', "F310"),
    ('<a href="${x}/\\a">', "F310"),
    ('<a href="${x}\\a">', "F310"),
    ('<a href="${x}/\t/a">', "F310"),
    ('<a href="${x}\n/a">', "F310"),
    ('<a href="${x}/ ${y}">', "F310"),
    ('<a href="${x}/&#47;a">', "F310"),
    ('<a href="${x}&#47;a">', "F310"),
    ('<a href="${x}:a">', "F310"),
    ('<a href="${x}a${y}">', "F310"),
    ('<a href="${x}a:b">', "F310"),
    ("<p <!--$if x-->on<!--$end--> click='1'>", "F314"),
    ('<p a="1" <!--$if x-->/<!--$end-->>', "F317"),
    ("<p<!--$if x--> a<!--$end-->>", "F314"),
    ("<p a<!--$if x-->b<!--$end-->>", "F314"),
    ('<p a <!--$if x--><!--$end-->="${x}">', "F317"),
    ("<title><!--$if x--></title><!--$end-->", "F314"),
    ("<p <!--$if x-->><p <!--$end-->>", "F314"),
    ("<noscript><p title='</noscript><script>${x}</script>'>", "F317"),
]


@pytest.mark.parametrize(("source", "code"), REFUSED, ids=[r[0] for r in REFUSED])
def test_an_unsafe_page_does_not_compile(source: str, code: str) -> None:
    assert refused(source).code == code


def test_a_tag_of_two_files_is_read_as_one() -> None:
    script = refused("<!--$layout base.html-->cript>${x}</script>", base="<s<!--$body-->")
    assert script.code == "F310"
    render = page("<!--$layout base.html-->/script>${x}", base="<script>y<<!--$body-->")
    assert render(x="<") == "<script>y</script>&lt;"
    assert page("<<!--$include p.html-->${x}", p="p>")(x="<") == "<p>&lt;"


ACCEPTED = [
    "<p>${x}</p>",
    '<p title="${x}" title=\'a ${x} b\' data-id="${x}">',
    "<title>${x}</title><textarea>${x}</textarea>",
    '<a href="${x}">${x}</a>',
    '<a href="/a/${x}?b=${x}#${x}">',
    '<a href="mailto:${x}">',
    '<a href="https://example.org/${x}">',
    '<a href="a/${x}">x</a><a href="?q=${x}">y</a><a href="#${x}">z</a>',
    '<a href="${x}/a?b=${x}">w</a><a href="${x}/@${x}">x</a><a href="${x}/">y</a>',
    '<a href="${x}/?a=${x}">w</a><a href="${x}?a=${x}">x</a><a href="${x}.png#${x}">y</a>',
    '<img src="${x}" alt="${x}">',
    '<form action="${x}"><input value="${x}" checked></form>',
    '<script src="/static/a.js" data-id="${x}" defer></script><p>${x}</p>',
    "<script>var a = 1;</script><p>${x}</p>",
    "<style>p > a { color: red }</style><p>${x}</p>",
    "<!-- a comment with <b> in it --><p>${x}</p><!----><p>${x}</p>",
    "<!DOCTYPE html><p>1 & 3 > 2 ${x}</p>",
    '<P\n  CLASS="${x}"\n  hidden\n>${x}</P >',
    '<br/><img src="/a.png" alt=""/>${x}',
    "<p>&${x};</p>",
    '<meta name="a" content="${x}">',
    '<svg><title>${x}</title><path d="${x}"/></svg><svg/><script>1</script>${x}',
    "<title>a<!--$if x--> ${x}<!--$end--></title><p <!--$if x-->hidden <!--$end-->id='${x}'>",
]
HOSTILE = [
    "<script>alert(1)</script>",
    '" onclick=alert(1) x="',
    "' onclick=alert(1) x='",
    "javascript:alert(1)",
    "-->",
    "]]>",
    "</textarea><script>",
    "</title>",
    "`",
    "&quot;",
    "\0",
    "a b=c>",
]


class _Shape(HTMLParser):
    """Tags with the names of their attributes, in order, and every URL."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.urls += [value or "" for name, value in attrs if name in ("href", "src", "action")]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(("/" + tag,))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("#comment",))


def shape(html: str) -> _Shape:
    parser = _Shape()
    parser.feed(html)
    parser.close()
    return parser


@pytest.mark.parametrize("source", ACCEPTED)
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_changes_no_tag_and_no_attribute(source: str, value: str) -> None:
    render = page(source)
    plain, attacked = shape(render(x="x")), shape(render(x=value))
    assert attacked.tags == plain.tags
    assert not [url for url in attacked.urls if url.strip().lower().startswith("javascript:")]


PIECES = st.sampled_from(
    ["<", ">", "/", "!", "--", "-", "=", '"', "'", " ", "\n", "p", "script", "title", "style"]
    + ["<p>", "</p>", "<script>", "</script>", "<title>", "</title>", "<!--", "-->", "href", "on"]
    + ["title=", 'title="', "${x}", "${x}", "<!--$if y-->", "<!--$else-->", "<!--$end-->", "&", ":"]
)


@given(st.lists(PIECES, max_size=14).map("".join), st.sampled_from(HOSTILE), st.booleans())
@settings(max_examples=1500, deadline=None)
@pytest.mark.thorough
def test_any_page_is_refused_or_keeps_its_shape(source: str, value: str, yes: bool) -> None:
    try:
        render = page(source)
    except BuildError as err:
        assert err.code.startswith("F31")
        assert err.message.startswith("page.html:")
        return
    assert shape(render(x=value, y=yes)).tags == shape(render(x="x", y=yes)).tags


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_compiles_or_is_a_build_error(source: str) -> None:
    try:
        page(source)
    except BuildError as err:
        assert err.code.startswith("F31")


@pytest.mark.parametrize("source", ["<p>\n<script>\n  ${x}</script>", "a\nb\n  <p title=${x}>"])
def test_the_place_of_the_placeholder_is_named(source: str) -> None:
    at = source.index("$")
    line, col = source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)
    assert refused(source).message.startswith(f"page.html:{line}:{col}: ")


def test_the_place_of_broken_html_is_named() -> None:
    assert refused('<p>\n<p\n  "x">').message.startswith("page.html:3:3: ")


def test_the_place_of_the_value_that_could_choose_the_host_is_named() -> None:
    error = refused('<p>\n<a href="${root}/${path}">')
    assert error.message.startswith("page.html:2:10: ") and error.code == "F310"
