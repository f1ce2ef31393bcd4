"""HTML and SVG written from Python: whatever isn't `Markup` is escaped, so that a label or a text stays text."""

import html
from collections.abc import Iterable, Sequence

from palmtop.errors import printable

VOID = ("br", "meta", "hr")
"""Elements without an end tag."""
LETTERS = 400
"""Of a longer text the page shows the beginning."""

Value = str | int | float | None


class Markup(str):
    """HTML that stands in the page as it is. Only this file makes it, of escaped pieces; and `as_it_is`, of files that
    we wrote."""

    __slots__ = ()


def as_it_is(written: str) -> Markup:
    """Trusted HTML or CSS: a template, a drawing of matplotlib's. Never a user's text."""
    return Markup(written)


def escaped(text: str) -> Markup:
    """A text as HTML, in content and in attributes; control characters are written out."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)))


def element(tag: str, /, *children: str, **attributes: Value) -> Markup:
    """An element.

    Args:
        attributes: `class_` is class and `stroke_width` stroke-width; None leaves one out.
    """
    written = "".join(
        f' {name.strip("_").replace("_", "-")}="{escaped(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(parts: Iterable[str], between: str = "") -> Markup:
    """Pieces one after another."""
    return Markup(escaped(between).join(escaped(part) for part in parts))


def part(title: str, *content: str, id_: str | None = None) -> Markup:
    """A subject of a task: its heading and what stands under it."""
    return element("section", element("h3", title), *content, class_="part", id=id_)


def pair(*sides: str) -> Markup:
    """Things side by side, where the page is wide enough."""
    return element("div", *(element("div", side) for side in sides), class_="pair")


def paragraph(*said: str, class_: str | None = None) -> Markup:
    """A sentence or two."""
    return element("p", *said, class_=class_)


def not_kept(what: str) -> Markup:
    """What isn't there, in words: nothing is drawn empty."""
    return paragraph(f"not kept in this run: {what}", class_="missing")


def folded(title: str, *content: str, opened: bool = False) -> Markup:
    """What is read by those who want it; opened by mouse and keyboard, and on paper."""
    return element("details", element("summary", title), *content, open="" if opened else None)


def items(lines: Iterable[str], class_: str | None = None) -> Markup:
    """A list."""
    return element("ul", *(element("li", line) for line in lines), class_=class_)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> Markup:
    """A table that scrolls in itself where the page is narrower.

    Args:
        words: columns of words, to the left; the others are numbers.
    """
    classes = ["words" if place < words else "number" for place in range(len(head))]
    titles = (element("th", title, scope="col", class_=kind) for title, kind in zip(head, classes, strict=True))
    lines = [
        element(
            "tr",
            *(
                element("td" if place else "th", cell, scope=None if place else "row", class_=kind)
                for place, (cell, kind) in enumerate(zip(row, classes, strict=True))
            ),
        )
        for row in rows
    ]
    whole = element(
        "table", element("caption", caption), element("thead", element("tr", *titles)), element("tbody", *lines)
    )
    return element("div", whole, class_="scrolls", tabindex=0, role="region", aria_label=caption)


def clip(text: str, letters: int = LETTERS) -> str:
    """The beginning of a long text."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
