"""Where applications may send people, what they may do without them, and what users allowed them."""

import django.db.models.deletion
import django.utils.timezone
import django_ciam_token.models.redirect_uris
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('django_ciam_token', '0003_admin_pages'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='client',
            name='asks_consent',
            field=models.BooleanField(default=False, help_text='For applications of other people: the user is asked what the application may do.', verbose_name='ask for consent'),
        ),
        migrations.AddField(
            model_name='client',
            name='may_use_client_credentials',
            field=models.BooleanField(default=False, help_text='For web applications that also act for themselves. Machine-to-machine applications always may.', verbose_name='may use client credentials'),
        ),
        migrations.AddField(
            model_name='client',
            name='post_logout_redirect_uris',
            field=models.TextField(blank=True, help_text='Where people may be sent after signing out, one address a line.', validators=[django_ciam_token.models.redirect_uris.validate_uris], verbose_name='post-logout redirect URIs'),
        ),
        migrations.AddField(
            model_name='client',
            name='redirect_uris',
            field=models.TextField(blank=True, help_text='Where people may be sent after signing in, one address a line, exactly as the application sends it. If there is none, nobody can sign in through this application.', validators=[django_ciam_token.models.redirect_uris.validate_uris], verbose_name='redirect URIs'),
        ),
        migrations.AddField(
            model_name='client',
            name='refreshes_client_credentials',
            field=models.BooleanField(default=False, help_text='Off, unless an application needs them: with its secret it can get an access token at any time.', verbose_name='refresh tokens with client credentials'),
        ),
        migrations.AddField(
            model_name='client',
            name='requires_pkce',
            field=models.BooleanField(default=False, help_text='Applications without a secret always must use it. Switch it on for a web application that uses it, so that nobody can leave it out.', verbose_name='require PKCE'),
        ),
        migrations.CreateModel(
            name='Consent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.TextField(verbose_name='scope')),
                ('given_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='given')),
                ('client', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='consents', to='django_ciam_token.client', verbose_name='client')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='ciam_consents', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'consent',
                'verbose_name_plural': 'consents',
                'permissions': (('withdraw_consent', 'Can withdraw consents'),),
                'default_permissions': ('view',),
                'constraints': [models.UniqueConstraint(fields=('client', 'user'), name='ciam_consent_of_client_and_user')],
            },
        ),
    ]
