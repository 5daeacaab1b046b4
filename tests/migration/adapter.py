"""An adapter of a site that stores another hash of its tokens."""

from allauth.idp.oidc.adapter import DefaultOIDCAdapter


class OtherHash(DefaultOIDCAdapter):
    def hash_token(self, token):
        return f"site${super().hash_token(token)}"
