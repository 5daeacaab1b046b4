"""What the admin pages need: permissions, last use of a secret, refreshes per day, and two indexes."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('django_ciam_token', '0002_revocation_and_audit'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='RefreshCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(editable=False, verbose_name='day')),
                ('shard', models.PositiveSmallIntegerField(editable=False)),
                ('count', models.PositiveBigIntegerField(default=0, editable=False, verbose_name='refreshes')),
            ],
            options={
                'verbose_name': 'refresh count',
                'verbose_name_plural': 'refresh counts',
                'default_permissions': (),
            },
        ),
        migrations.AlterModelOptions(
            name='client',
            options={'ordering': ('name', 'pk'), 'permissions': (('rotate_client_secret', 'Can give a client a new secret'),), 'verbose_name': 'client', 'verbose_name_plural': 'clients'},
        ),
        migrations.AlterModelOptions(
            name='refreshtoken',
            options={'permissions': (('revoke_refreshtoken', 'Can end sessions'),), 'verbose_name': 'session', 'verbose_name_plural': 'sessions'},
        ),
        migrations.AlterModelOptions(
            name='signingkey',
            options={'ordering': ('-active_at', '-pk'), 'permissions': (('rotate_signingkey', 'Can rotate signing keys'),), 'verbose_name': 'signing key', 'verbose_name_plural': 'signing keys'},
        ),
        migrations.AddField(
            model_name='clientsecret',
            name='last_used_at',
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name='last used'),
        ),
        # First the index that begins with the foreign key: MariaDB requires one for every foreign key.
        migrations.AddIndex(
            model_name='refreshtoken',
            index=models.Index(fields=['client', 'id'], name='ciam_session_of_client'),
        ),
        migrations.AlterField(
            model_name='refreshtoken',
            name='client',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='refresh_tokens', to='django_ciam_token.client', verbose_name='client'),
        ),
        migrations.AddIndex(
            model_name='securityevent',
            index=models.Index(fields=['event', 'at'], name='ciam_event_at'),
        ),
        migrations.AddConstraint(
            model_name='refreshcount',
            constraint=models.UniqueConstraint(fields=('day', 'shard'), name='ciam_refresh_count_of_day'),
        ),
    ]
