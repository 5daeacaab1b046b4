"""The tables of clients, secrets, signing keys and sessions."""

from typing import Any

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import django_ciam_token.database.uuid7
import django_ciam_token.models.case_sensitive
import django_ciam_token.models.client
import django_ciam_token.models.validators
from django.conf import settings
from django.db import migrations, models


def leave_room_on_pages(apps: Any, schema_editor: Any) -> None:
    """Leave a fifth of each page of the session table free for new versions of its rows.

    A rotation writes no indexed column. If there is room on the page, PostgreSQL makes it a heap-only
    update, and the table and its indexes do not grow with the number of refreshes.
    """
    if schema_editor.connection.vendor == "postgresql":
        table = schema_editor.quote_name(apps.get_model("django_ciam_token", "RefreshToken")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = 80)")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Client',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('client_id', django_ciam_token.models.case_sensitive.CaseSensitiveCharField(default=django_ciam_token.models.client.new_client_id, max_length=100, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9._~-]+\\Z', 'Use only letters, digits and the characters . _ ~ -')], verbose_name='client_id')),
                ('name', models.CharField(max_length=200, verbose_name='name')),
                ('application_type', models.CharField(choices=[('web', 'Web application'), ('spa', 'Single-page application'), ('mobile', 'Mobile application'), ('m2m', 'Machine to machine')], help_text="Web and machine-to-machine applications run on a server and get a secret. Single-page and mobile applications can't keep a secret.", max_length=10, verbose_name='application type')),
                ('scope', models.TextField(default=django_ciam_token.models.client.default_scope, help_text="Names separated by spaces. If you remove a scope, sessions that were granted it can no longer be refreshed.", validators=[django_ciam_token.models.validators.validate_scope], verbose_name='allowed scopes')),
                ('is_active', models.BooleanField(default=True, help_text="A disabled application can't refresh tokens.", verbose_name='active')),
                ('refresh_tokens_enabled', models.BooleanField(default=True, verbose_name='refresh tokens enabled')),
                ('access_token_lifetime', models.DurationField(blank=True, null=True, validators=[django_ciam_token.models.validators.validate_lifetime], verbose_name='access token lifetime')),
                ('id_token_lifetime', models.DurationField(blank=True, null=True, validators=[django_ciam_token.models.validators.validate_lifetime], verbose_name='id_token lifetime')),
                ('refresh_token_lifetime', models.DurationField(blank=True, help_text='How long a refresh token may stay unused. Every refresh restarts this time.', null=True, validators=[django_ciam_token.models.validators.validate_lifetime], verbose_name='refresh token lifetime')),
                ('session_lifetime', models.DurationField(blank=True, help_text='How long a session lasts from its first tokens, however often it is refreshed.', null=True, validators=[django_ciam_token.models.validators.validate_lifetime], verbose_name='session lifetime')),
                ('refresh_token_grace_period', models.DurationField(blank=True, help_text='How long the previous refresh token, when used again, gets the same successor again. 0 means strict one-time use: an application that uses a token twice is signed out.', null=True, validators=[django_ciam_token.models.validators.validate_grace_period], verbose_name='grace period')),
                ('audience', models.CharField(blank=True, help_text='The aud of access tokens. If empty, the client_id.', max_length=255, verbose_name='audience')),
                ('allowed_origins', models.TextField(blank=True, help_text='Origins from which browsers may call, for example https://app.example.com, separated by spaces.', validators=[django_ciam_token.models.validators.validate_origins], verbose_name='allowed origins')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
            ],
            options={
                'verbose_name': 'client',
                'verbose_name_plural': 'clients',
                'ordering': ('name', 'pk'),
            },
        ),
        migrations.CreateModel(
            name='SigningKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kid', models.CharField(editable=False, max_length=64, unique=True, verbose_name='kid')),
                ('algorithm', models.CharField(editable=False, max_length=10, verbose_name='algorithm')),
                ('public_jwk', models.JSONField(editable=False, verbose_name='public key')),
                ('encrypted_private_key', models.TextField(editable=False)),
                ('created_at', models.DateTimeField(editable=False, verbose_name='published')),
                ('active_at', models.DateTimeField(editable=False, verbose_name='active')),
                ('retired_at', models.DateTimeField(editable=False, null=True, verbose_name='retired')),
                ('removed_at', models.DateTimeField(editable=False, null=True, verbose_name='removed')),
            ],
            options={
                'verbose_name': 'signing key',
                'verbose_name_plural': 'signing keys',
                'ordering': ('-active_at', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='ClientSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('secret_digest', models.CharField(editable=False, max_length=255, verbose_name='digest')),
                ('last_four', models.CharField(editable=False, max_length=4, verbose_name='ends with')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('expires_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='expires')),
                ('client', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='secrets', to='django_ciam_token.client')),
            ],
            options={
                'verbose_name': 'client secret',
                'verbose_name_plural': 'client secrets',
                'ordering': ('-pk',),
            },
        ),
        migrations.CreateModel(
            name='RefreshToken',
            fields=[
                ('id', models.UUIDField(default=django_ciam_token.database.uuid7.uuid7, editable=False, primary_key=True, serialize=False)),
                ('scope', models.TextField(verbose_name='scope')),
                ('generation', models.PositiveIntegerField(default=0, verbose_name='generation')),
                ('secret_digest', models.BinaryField(max_length=32)),
                ('nonce', models.BinaryField(max_length=16)),
                ('session_auth_hash', models.CharField(blank=True, editable=False, max_length=64)),
                ('auth_time', models.DateTimeField(blank=True, null=True, verbose_name='signed in')),
                ('issued_at', models.DateTimeField(verbose_name='started')),
                ('rotated_at', models.DateTimeField(blank=True, null=True, verbose_name='last refreshed')),
                ('expires_at', models.DateTimeField(verbose_name='expires')),
                ('revoked_at', models.DateTimeField(blank=True, null=True, verbose_name='revoked')),
                ('revoked_reason', models.CharField(blank=True, choices=[('reuse', 'a superseded refresh token was used'), ('client', 'by the application'), ('operator', 'by an operator'), ('user', 'by the user')], max_length=20, verbose_name='reason')),
                ('last_address', models.GenericIPAddressField(blank=True, null=True, verbose_name='address')),
                ('last_user_agent', models.CharField(blank=True, max_length=200, verbose_name='user agent')),
                ('client', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='refresh_tokens', to='django_ciam_token.client', verbose_name='client')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='ciam_refresh_tokens', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'session',
                'verbose_name_plural': 'sessions',
            },
        ),
        migrations.RunPython(leave_room_on_pages, migrations.RunPython.noop, elidable=False),
    ]
