"""Revoked access tokens, the audit trail, and clients that may introspect all tokens."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('django_ciam_token', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='RevokedAccessToken',
            fields=[
                ('jti', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('expires_at', models.DateTimeField(db_index=True, editable=False, verbose_name='expires')),
            ],
            options={
                'verbose_name': 'revoked access token',
                'verbose_name_plural': 'revoked access tokens',
            },
        ),
        migrations.CreateModel(
            name='SecurityEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.CharField(choices=[('issued', 'first tokens issued'), ('replayed', 'answer repeated'), ('reuse_detected', 'superseded refresh token used'), ('revoked', 'revoked'), ('client_auth_failed', 'client authentication failed'), ('key_rotated', 'signing key rotated'), ('secret_rotated', 'client secret rotated')], max_length=20, verbose_name='event')),
                ('at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, verbose_name='time')),
                ('client_id', models.CharField(blank=True, max_length=100, verbose_name='client_id')),
                ('user_id', models.CharField(blank=True, max_length=64, verbose_name='user')),
                ('session_id', models.UUIDField(blank=True, db_index=True, null=True, verbose_name='session')),
                ('reason', models.CharField(blank=True, max_length=64, verbose_name='reason')),
                ('actor', models.CharField(blank=True, max_length=150, verbose_name='by')),
                ('address', models.GenericIPAddressField(blank=True, null=True, verbose_name='address')),
            ],
            options={
                'verbose_name': 'security event',
                'verbose_name_plural': 'security events',
                'ordering': ('-pk',),
            },
        ),
        migrations.AddField(
            model_name='client',
            name='may_introspect',
            field=models.BooleanField(default=False, help_text='For resource servers: the client may also introspect tokens of other applications.', verbose_name='may introspect all tokens'),
        ),
    ]
