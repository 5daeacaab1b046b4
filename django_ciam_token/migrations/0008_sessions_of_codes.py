"""Whether a session has a refresh token: one that began with a code may have none."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('django_ciam_token', '0007_provisional_signing_key'),
    ]

    operations = [
        migrations.AddField(
            model_name='refreshtoken',
            name='has_refresh_token',
            field=models.BooleanField(db_default=True, default=True, editable=False),
        ),
    ]
