"""How a project of somebody's own may recognise programs: by a token, which here is a name."""

from __future__ import annotations

from types import ModuleType

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from tests.api.documents import code

__all__ = ["TokenMiddleware", "documented", "user_of"]


def user_of(token: str) -> User | None:
    return User.objects.filter(username=token).first()


def documented(get_response: object) -> object:
    """Make the middleware that docs/api.md shows."""
    module = ModuleType("tests.api.middleware")
    module.__package__ = __package__
    exec(compile(code("middleware.py"), "docs/api.md", "exec"), vars(module))
    return module.TokenMiddleware(get_response)


class TokenMiddleware(MiddlewareMixin):
    """Puts the user of a token into the request: found when somebody asks, as Django's own does."""

    def process_request(self, request: HttpRequest) -> None:
        name = request.headers.get("X-Token")
        if name:
            request.user = SimpleLazyObject(lambda: user_of(name))
