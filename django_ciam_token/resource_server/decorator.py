"""Protecting Django's own views, functions and classes, sync and async, by an access token."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.functional import empty
from django.views import View
from rest_framework.exceptions import NotAuthenticated, PermissionDenied

from django_ciam_token.resource_server.door import Door, Refused, has_scopes, insufficient_scope
from django_ciam_token.resource_server.lazy_user import LazyUser
from django_ciam_token.resource_server.permissions import scope_names
from django_ciam_token.tokens.access_tokens import LiveAccessToken
from django_ciam_token.tokens.bearer import challenge

V = TypeVar("V", bound=Callable[..., Any])


def access_token_required(
    *, scopes: Collection[str] = (), realm: str = "api", stateless: bool | None = None
) -> Callable[[V], V]:
    """Return a decorator for a view that is served only with an access token of this site.

    It is for functions and for subclasses of `View`, sync and async. In the view ``request.user`` is the user
    or a `MachineUser`, and ``request.auth`` the `LiveAccessToken`. The challenges of refusals are the same as
    those of `AccessTokenAuthentication`. The view needs no CSRF token: no browser adds this header by itself.

    Args:
        scopes: those that the token must have, all of them.
        realm: for the challenges.
        stateless: whether the database is not asked; None for the setting ``RESOURCE_STATELESS``.

    Raises:
        ImproperlyConfigured: ``scopes`` is not a list of scope names.
    """
    # There is no other class that a foreign token could be left to.
    guard = _Guard(Door(realm=realm, stateless=stateless, pass_on=False), scope_names(scopes))

    def decorate(view: V) -> V:
        if isinstance(view, type) and issubclass(view, View):
            guard.protect_class(view)
            return view
        return cast("V", guard.protected(view))

    return decorate


class _Guard:
    def __init__(self, door: Door, scopes: tuple[str, ...]) -> None:
        self._door = door
        self._scopes = scopes

    def protected(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function view that this guard stands before."""
        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                return await self._answer_async(request, partial(view, request, *args, **kwargs))

            guarded_async.csrf_exempt = True  # type: ignore[attr-defined]
            return guarded_async

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return self._answer(request, partial(view, request, *args, **kwargs))

        guarded.csrf_exempt = True  # type: ignore[attr-defined]
        return guarded

    def protect_class(self, view: type[View]) -> None:
        """Stand before every method of a class."""
        dispatch: Callable[..., Any] = view.dispatch

        @wraps(dispatch)
        def guarded(instance: View, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            respond = partial(dispatch, instance, request, *args, **kwargs)
            # Of the class that serves: one that is derived from this may be async where this is nothing yet.
            answer = self._answer_async if instance.view_is_async else self._answer
            return answer(request, respond)

        # `as_view` takes it over.
        guarded.csrf_exempt = True  # type: ignore[attr-defined]
        view.dispatch = guarded  # type: ignore[method-assign,assignment]

    def _answer(self, request: HttpRequest, respond: Callable[[], Any]) -> HttpResponseBase:
        try:
            self._admit(request)
            response: HttpResponseBase = respond()
        except Refused as refused:
            return refusal_response(refused)
        return response

    async def _answer_async(self, request: HttpRequest, respond: Callable[[], Any]) -> HttpResponseBase:
        try:
            await sync_to_async(self._admit)(request)
            response: HttpResponseBase = await respond()
        except Refused as refused:
            return refusal_response(refused)
        return response

    def _admit(self, request: HttpRequest) -> None:
        found = self._door.authenticate(request)
        if found is None:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                NotAuthenticated.default_code,
                str(NotAuthenticated.default_detail),
                challenge=challenge(realm=self._door.realm),
            )
        user, token = found
        if not has_scopes(token, self._scopes):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "insufficient_scope",
                str(PermissionDenied.default_detail),
                challenge=insufficient_scope(self._door.realm, self._scopes),
            )
        remember(request, user, token)


def remember(request: HttpRequest, user: Any, token: LiveAccessToken) -> None:
    """Let a request have its user and its token: ``user``, ``await auser()`` and ``auth``."""
    request.user = user
    request.auth = token  # type: ignore[attr-defined]
    request.auser = partial(_read_user, user)


async def _read_user(user: Any) -> Any:
    if isinstance(user, LazyUser) and user._wrapped is empty:
        await sync_to_async(user._setup)()
    return user


def refusal_response(refused: Refused) -> JsonResponse:
    """Return the answer of a refusal, in the form of Django REST framework's."""
    return JsonResponse({"detail": refused.detail}, status=refused.status, headers=refused.headers())
