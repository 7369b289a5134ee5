from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_progress", "0005_workflows"),
    ]

    operations = [
        migrations.AddField(
            model_name="process",
            name="keep_finished",
            field=models.FloatField(blank=True, editable=False, null=True, verbose_name="kept after its end"),
        ),
        migrations.AddField(
            model_name="process",
            name="remove_at",
            field=models.DateTimeField(blank=True, db_index=True, editable=False, null=True),
        ),
    ]
