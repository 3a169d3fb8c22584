"""A self-contained HTML document: no script, nothing from outside; every text is escaped."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1000px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em; margin-bottom: 0 } h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #ccc }
h3 { font-size: 1.05em; margin: 1.5em 0 .3em } p.note { color: #555 } figure { margin: 0 }
table { border-collapse: collapse; margin: .5em 0 } th, td { padding: .2em .8em .2em 0; text-align: left;
vertical-align: top } th { border-bottom: 1px solid #999 } td { border-bottom: 1px solid #eee }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.row { display: flex; flex-wrap: wrap; gap: 1.5em } figcaption { font-weight: 600 } img { display: block }
svg text { font: 11px system-ui, sans-serif; fill: #444 } .legend span { margin-right: 1em; white-space: nowrap }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px }
.empty { color: #777 } summary { cursor: pointer } @media print { details { display: block } }
"""


def document(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """The whole file.

    Args:
        title: heading.
        sections: heading and HTML of each; those without HTML are left out.
    """
    body = "".join(f"<section><h2>{escape(name)}</h2>{html}</section>" for name, html in sections if html)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of plain values; numbers are aligned right, floats have three decimals, None is a dash."""
    rows = [list(row) for row in rows]
    if not rows:
        return ""
    numeric = [all(row[n] is None or isinstance(row[n], (int, float)) for row in rows) for n in range(len(header))]
    kinds = [' class="number"' if found else "" for found in numeric]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, header))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(_text(value))}</td>" for kind, value in zip(kinds, row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def picture(png: bytes, description: str) -> str:
    """An image inside the document."""
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{b64encode(png).decode("ascii")}">'


def swatches(colours: Iterable[tuple[str, Sequence[int]]]) -> str:
    """A legend of names and colours (RGB, 0-255)."""
    parts = (
        f'<span><i style="background:rgb({int(r)},{int(g)},{int(b)})"></i>{escape(name)}</span>'
        for name, (r, g, b) in colours
    )
    return f'<div class="legend">{"".join(parts)}</div>'


def figure(caption: str, html: str) -> str:
    """Something with a caption above; "" when there is nothing."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{html}</figure>" if html else ""


def details(summary: str, html: str) -> str:
    """Something that unfolds at a click; "" when there is nothing."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>" if html else ""
