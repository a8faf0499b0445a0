"""What is done to the finished pages: equations become MathML, and nothing may ask the network.

Equations are set when the site is built, by latex2mathml, and shown by the browser itself: no
script, no font and no network are needed, and a reader of the screen can speak them.
"""

import functools
import html
import re
from pathlib import Path

from ._execute import PageError

_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\s*\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]\s*</(?P=tag)>',
    re.S,
)
#: What a page would load: a link that a reader may click is none.
_LOADS = re.compile(
    r'<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc="(https?:)?//[^"]*"'
    r'|<link\b(?=[^>]*\brel="(?:stylesheet|preload|preconnect|icon)")[^>]*\bhref="(https?:)?//[^"]*"'
    r"|@import\s+url\(.?https?:|url\(.?https?://"
)


def finish(site: Path) -> None:
    """Set the equations of every page of a built site.

    **Raises:** PageError for an equation that cannot be set, or a page that loads from elsewhere.
    """
    for file in sorted(site.rglob("*.html")):
        text = file.read_text()
        page = str(file.relative_to(site))
        text = _EQUATION.sub(functools.partial(_math, page), text)
        if 'class="arithmatex"' in text:
            raise PageError(f"{page}: an equation is not closed.")
        if loads := _LOADS.search(text):
            raise PageError(f"{page} loads from the network: {loads[0][:120]}")
        file.write_text(text)
    for file in site.rglob("*.css"):
        if loads := _LOADS.search(file.read_text()):
            raise PageError(f"{file.relative_to(site)} loads from the network: {loads[0][:120]}")


def _math(page: str, found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    tex = html.unescape(found["tex"]).strip()
    display = "block" if found["open"] == "[" else "inline"
    try:
        made = convert(tex, display=display)
    except Exception as error:  # its errors have no common class
        raise PageError(f"{page}: the equation {tex!r} cannot be set: {error!r}") from error
    if re.search(r"<m[io]>(\\|&amp;)", made):
        raise PageError(f"{page}: latex2mathml does not know a part of {tex!r}.")
    return f'<div class="equation">{made}</div>' if display == "block" else made
