"""HTML by small pieces: whatever a person wrote goes through `escape`, once, where it enters."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("report.css")


def page(title: str, body: str, up: str = "") -> str:
    """A whole document; `up` is where the index lies, if this is not it."""
    back = f'<p><a href="{escape(up)}">All recordings</a></p>' if up else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing is loaded from anywhere but beside the page.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' file:; "
        "media-src 'self' file:; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE.read_text('utf-8')}</style>\n</head>\n<body>\n<main>\n{back}{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def player(name: str, source: str) -> str:
    """A sound with its name."""
    return (
        f'<div><span class="quiet">{escape(name)}</span>'
        f'<audio controls preload="none" src="{escape(source)}" aria-label="{escape(name)}"></audio></div>'
    )


def picture(source: str, words: str) -> str:
    """A picture with what it shows in words."""
    image = f'<img src="{escape(source)}" alt="{escape(words)}" loading="lazy">'
    return f"<figure>{image}<figcaption>{escape(words)}</figcaption></figure>"


def table(caption: str, rows: Mapping[str, str]) -> str:
    """Two columns: names and values."""
    lines = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>' for key, value in rows.items()
    )
    return f'<table><caption class="quiet">{escape(caption)}</caption>{lines}</table>'


def bars(caption: str, values: Mapping[str, float]) -> str:
    """Numbers from 0 to 1 as bars, with the number in words for who does not see them."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><meter min="0" max="1" value="{value:.3f}"></meter>'
        f" {value:.2f}</td></tr>"
        for name, value in values.items()
    )
    return f'<table><caption class="quiet">{escape(caption)}</caption>{lines}</table>'


def cards(items: Iterable[str]) -> str:
    """A list of cards."""
    return '<ul class="cards">' + "".join(f'<li class="card">{item}</li>' for item in items) + "</ul>"
