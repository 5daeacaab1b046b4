"""The resource server: how the site's own views accept access tokens.

``rest_framework.views`` must not be imported here. While that module is being imported, it imports the
classes named in the host's ``DEFAULT_AUTHENTICATION_CLASSES`` and ``DEFAULT_PERMISSION_CLASSES``.
"""

from django_ciam_token.resource_server.acceptance import UnreadAccessToken, accept, accept_unread
from django_ciam_token.resource_server.authentication import (
    AccessTokenAuthentication,
    AccessTokenRefused,
    AccessTokensUnavailable,
    MalformedAuthorization,
    StatelessAccessTokenAuthentication,
)
from django_ciam_token.resource_server.decorator import access_token_required
from django_ciam_token.resource_server.machine_user import MachineUser
from django_ciam_token.resource_server.permissions import (
    TokenHasAnyScope,
    TokenHasScopes,
    has_any_scope,
    has_scopes,
)
from django_ciam_token.tokens.access_tokens import LiveAccessToken

__all__ = [
    "AccessTokenAuthentication",
    "AccessTokenRefused",
    "AccessTokensUnavailable",
    "LiveAccessToken",
    "MachineUser",
    "MalformedAuthorization",
    "StatelessAccessTokenAuthentication",
    "TokenHasAnyScope",
    "TokenHasScopes",
    "UnreadAccessToken",
    "accept",
    "accept_unread",
    "access_token_required",
    "has_any_scope",
    "has_scopes",
]
