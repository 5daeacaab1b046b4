from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('django_ciam_token', '0009_consent_given'),
    ]

    operations = [
        migrations.AlterField(
            model_name='securityevent',
            name='event',
            field=models.CharField(choices=[('issued', 'first tokens issued'), ('replayed', 'answer repeated'), ('reuse_detected', 'superseded refresh token used'), ('revoked', 'revoked'), ('client_auth_failed', 'client authentication failed'), ('key_rotated', 'signing key rotated'), ('secret_rotated', 'client secret rotated'), ('client_changed', 'client changed'), ('consent_given', 'consent given'), ('consent_withdrawn', 'consent withdrawn'), ('alerted', 'alert sent')], max_length=20, verbose_name='event'),
        ),
    ]
