"""What templates need to show processes. Each tag only adapts the context to what views use too."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.template import Context, Library, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from .. import access
from ..conf import settings
from ..models import Process
from ..status import Status
from ..views import guards, wording
from ..views.listing import Listing
from ..views.live import Live

register = Library()

STYLE = "django_progress/django_progress.css"
SCRIPT = "django_progress/django_progress.js"
STREAM = "django_progress/stream.js"
HTMX = "django_htmx/htmx-2.min.js"
BROUGHT = "django_progress_assets"
SHOWN = "django_progress_shown"


@register.simple_tag(takes_context=True)
def progress_assets(context: Context) -> SafeString:
    """Bring the stylesheet and the scripts, once in a page; the script brings htmx where the page has none.

    Every fragment brings them too. In the page's head they are there before anything is drawn.
    The second script asks for a stream; it comes only where one is offered.
    """
    page = context.dicts[0]  # Seen by every template of this page, and gone with it.
    if BROUGHT in page:
        return mark_safe("")
    page[BROUGHT] = True
    scripts = [{"src": static(SCRIPT)}]
    if settings.HTMX == "auto":
        scripts[0]["data-dp-htmx"] = static(HTMX)
    if settings.STREAMS == "always" or (settings.STREAMS == "auto" and isinstance(request_of(context), ASGIRequest)):
        stream = reverse("django_progress:process-page-stream")
        scripts.append({"src": static(STREAM), "data-dp-stream": stream})
    nonce = {"nonce": str(context["csp_nonce"])} if context.get("csp_nonce") else {}
    return format_html(
        '<link rel="stylesheet" href="{}">{}',
        static(STYLE),
        format_html_join(
            "",
            "<script{} defer></script>",
            ([format_html_join("", ' {}="{}"', (script | nonce).items())] for script in scripts),
        ),
    )


@register.simple_tag(takes_context=True)
def live_view(context: Context, process: Any, mode: str) -> Live:
    """Return what a live region of ``process`` shows; the view's, if it has prepared one."""
    prepared = context.get("live")
    process = checked(process)
    if isinstance(prepared, Live) and (prepared.mode, prepared.key) == (mode, str(process.key)):
        return prepared
    return look(process, mode, context, copy=numbered(process, mode, context))


@register.simple_tag(takes_context=True)
def listing_view(context: Context) -> Listing:
    """Return the processes of whoever is looking; the view's choice of them, if it has made one."""
    prepared = context.get("listing")
    if isinstance(prepared, Listing):
        return prepared
    request = request_of(context)
    return Listing(access.Who() if request is None else access.who_asks(request))


@register.simple_tag(takes_context=True)
def may_control(context: Context, process: Process) -> bool:
    """Return whether whoever is looking may cancel or retry it."""
    request = request_of(context)
    return request is not None and bool(context.get("csrf_token")) and access.may_control(request, process)


@register.simple_tag(takes_context=True)
def here(context: Context) -> str:
    """Return the path of the page that is being looked at."""
    request = request_of(context)
    return guards.current_page(request) if request is not None and request.method == "GET" else ""


@register.simple_tag(takes_context=True)
def progress(context: Context, process: Any) -> str:
    """Show the bar of ``process``, live."""
    return shown(context, "fragments/bar.html", process=checked(process))


@register.simple_tag(takes_context=True)
def my_processes(context: Context) -> str:
    """Show the processes of whoever is looking, live."""
    return shown(context, "fragments/my_processes.html")


@register.tag
def processing(parser: Parser, token: Token) -> ProcessingNode:
    """Show what it encloses once ``process`` has succeeded, and until then how far that is.

    At success the page is fetched again, and the block is swapped. A failure, an expiry
    or a cancellation shows what can be done about it.
    """
    try:
        _tag, process = token.split_contents()
    except ValueError:
        raise TemplateSyntaxError("processing takes one argument, the process: {% processing process %}.") from None
    nodelist = parser.parse(("endprocessing",))
    parser.delete_first_token()
    return ProcessingNode(parser.compile_filter(process), nodelist)


class ProcessingNode(Node):
    """The block tag's node."""

    def __init__(self, process: FilterExpression, nodelist: NodeList) -> None:
        self.process = process
        self.nodelist = nodelist

    def render(self, context: Context) -> SafeString:
        process = checked(self.process.resolve(context))
        copy = numbered(process, "processing", context)
        # By what the view has read, and not by what is true by now: the view chose its content by that.
        if process.shown_status == Status.SUCCEEDED:
            content = self.nodelist.render(context)
            name = f"{process.key}-{copy}" if copy > 1 else process.key
            return format_html('<div id="dp-processing-{}" class="dp-processed">{}</div>', name, content)
        live = look(process, "processing", context, copy=copy)
        return mark_safe(shown(context, "fragments/processing.html", process=process, live=live))  # noqa: S308


@register.filter
def moment(value: datetime | None, now: datetime | None = None) -> str:
    """Return a time as an element that the script puts into the visitor's own time zone."""
    if value is None:
        return ""
    return format_html('<time datetime="{}" data-dp-time>{}</time>', value.isoformat(), wording.moment(value, now))


@register.filter
def duration(seconds: float | None) -> str:
    """Return a length of time in words: "2 min 10 s"."""
    return "" if seconds is None else wording.duration(seconds)


def numbered(process: Process, mode: str, context: Context) -> int:
    """Return the how-manieth time the page shows ``process`` in this way."""
    counts = context.dicts[0].setdefault(SHOWN, Counter())  # As for BROUGHT.
    counts[mode, process.key] += 1
    return int(counts[mode, process.key])


def look(process: Process, mode: str, context: Context, *, copy: int) -> Live:
    """Return what a live region shows, of a row that is read again unless it was read for that."""
    if "db_now" not in process.__dict__:
        rows = Process.objects.using(process._using).with_now().defer(*access.UNSEEN)
        process = rows.filter(pk=process.pk).first() or process
    request = request_of(context)
    if request is None:
        return Live(process, mode, copy=copy)
    host_url, polls = guards.current_page(request), access.may_see(request, process)
    access.hide_later(access.visible_to(request), process)
    is_personal = guards.is_logged_in(request)
    return Live(process, mode, host_url=host_url, polls=polls, is_personal=is_personal, copy=copy)


def shown(context: Context, template: str, **values: Any) -> SafeString:
    """Return a fragment, rendered in the context of the page that it is part of."""
    engine = context.template.engine  # type: ignore[union-attr]
    with context.push(**values):
        return engine.get_template(f"django_progress/{template}").render(context)


def checked(process: Any) -> Process:
    """Return ``process`` if it is one; else say what the template must be given."""
    if isinstance(process, Process):
        return process
    raise TypeError(
        f"The fragments of django_progress show a Process, not {process!r:.80}. Pass one to the template as "
        "'process', or name it: {% include … with process=order.process %}, {% progress order.process %}."
    )


def request_of(context: Context) -> HttpRequest | None:
    """Return the request, which a context has even where no context processor puts it there."""
    request = getattr(context, "request", None) or context.get("request")
    return request if isinstance(request, HttpRequest) else None
