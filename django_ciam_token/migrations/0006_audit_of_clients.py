"""What was changed of a client, in the audit trail; consents that were withdrawn."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('django_ciam_token', '0005_foreign_tokens'),
    ]

    operations = [
        migrations.AddField(
            model_name='securityevent',
            name='detail',
            field=models.JSONField(blank=True, null=True, verbose_name='changes'),
        ),
        migrations.AlterField(
            model_name='refreshtoken',
            name='revoked_reason',
            field=models.CharField(blank=True, choices=[('reuse', 'a superseded refresh token was used'), ('client', 'by the application'), ('operator', 'by an operator'), ('user', 'by the user'), ('consent_withdrawn', 'consent withdrawn')], max_length=20, verbose_name='reason'),
        ),
        migrations.AlterField(
            model_name='securityevent',
            name='event',
            field=models.CharField(choices=[('issued', 'first tokens issued'), ('replayed', 'answer repeated'), ('reuse_detected', 'superseded refresh token used'), ('revoked', 'revoked'), ('client_auth_failed', 'client authentication failed'), ('key_rotated', 'signing key rotated'), ('secret_rotated', 'client secret rotated'), ('client_changed', 'client changed'), ('consent_withdrawn', 'consent withdrawn')], max_length=20, verbose_name='event'),
        ),
    ]
