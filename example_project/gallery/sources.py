"""The code of the examples, read from what runs."""

from __future__ import annotations

import inspect
import io
import keyword
import re
import tokenize
from functools import cache
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.template.loader import get_template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

__all__ = ["Source", "load"]


class Source(NamedTuple):
    """A piece of source, ready to be shown."""

    file: str
    line: int
    text: str
    html: SafeString


@cache
def load(name: str) -> Source:
    """Return the source of ``module.name`` of this package, or of a template (``….html``)."""
    if name.endswith(".html"):
        template = get_template(name).template  # type: ignore[attr-defined]
        return Source(_relative(template.origin.name), 1, template.source, _template(template.source))
    module_name, _, attribute = name.rpartition(".")
    module = import_module(f".{module_name}", __package__)
    lines, start = inspect.getsourcelines(getattr(module, attribute))
    text = "".join(lines)
    return Source(_relative(inspect.getfile(module)), start, text, _python(text))


def _relative(path: str) -> str:
    return str(Path(path).relative_to(settings.BASE_DIR))


_TEMPLATE = re.compile(
    r"(?P<comment>\{#.*?#\})|(?P<keyword>\{%.*?%\})|(?P<name>\{\{.*?\}\})|(?P<tag></?[a-z][^>{]*>?)", re.S
)


def _template(text: str) -> SafeString:
    """Return a template as HTML."""
    parts, end = [], 0
    for match in _TEMPLATE.finditer(text):
        parts += [escape(text[end : match.start()]), _span(match.lastgroup, match[0])]
        end = match.end()
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 - every part is escaped


def _python(text: str) -> SafeString:
    """Return Python as HTML."""
    starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    parts, end, before = [], 0, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        start, stop = (starts[row - 1] + column for row, column in (token.start, token.end))
        if token.string.strip():
            parts += [escape(text[end:start]), _span(_kind(token, before), text[start:stop])]
            end = stop
        if token.type not in (tokenize.INDENT, tokenize.DEDENT):
            before = token.string
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 - every part is escaped


def _kind(token: tokenize.TokenInfo, before: str) -> str | None:
    """Return the class of a token, if it stands out."""
    if token.type == tokenize.COMMENT:
        return "comment"
    if token.type == tokenize.STRING or tokenize.tok_name[token.type].startswith("FSTRING"):
        return "string"
    if token.type == tokenize.NUMBER:
        return "number"
    if token.type == tokenize.NAME:
        if before in ("def", "class"):
            return "definition"
        if before == "@":
            return "decorator"
        if keyword.iskeyword(token.string) or (token.string in ("match", "case") and before in ("", "\n")):
            return "keyword"
    return None


def _span(kind: str | None, text: str) -> str:
    return f'<span class="code-{kind}">{escape(text)}</span>' if kind else escape(text)
