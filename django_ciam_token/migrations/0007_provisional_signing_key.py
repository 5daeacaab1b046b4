"""Which signing key `migrate` made and has not signed yet; of the keys that there are, none."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('django_ciam_token', '0006_audit_of_clients'),
    ]

    operations = [
        migrations.AddField(
            model_name='signingkey',
            name='is_provisional',
            field=models.BooleanField(default=False, editable=False),
        ),
    ]
