import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_progress", "0004_usual_duration"),
    ]

    operations = [
        migrations.AddField(
            model_name="process",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="children",
                to="django_progress.process",
            ),
        ),
        migrations.AddField(
            model_name="process",
            name="steps_left",
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="process",
            name="workflow",
            field=models.CharField(blank=True, default="", editable=False, max_length=100, verbose_name="workflow"),
        ),
        migrations.CreateModel(
            name="Step",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("path", models.CharField(max_length=255, verbose_name="path")),
                ("name", models.CharField(max_length=64, verbose_name="name")),
                (
                    "index",
                    models.PositiveIntegerField(
                        blank=True, help_text="Only a sub-step has one.", null=True, verbose_name="part"
                    ),
                ),
                ("position", models.PositiveIntegerField(default=0, editable=False)),
                ("parent_path", models.CharField(default="#", editable=False, max_length=255)),
                ("description", models.TextField(blank=True, default="", verbose_name="description")),
                ("description_params", models.JSONField(blank=True, editable=False, null=True)),
                ("options", models.JSONField(blank=True, default=dict, editable=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("inactive", "Not begun"),
                            ("queued", "Waiting"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("skipped", "Skipped"),
                            ("cancelled", "Cancelled"),
                            ("stale", "Out of date"),
                        ],
                        default="inactive",
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                (
                    "condition",
                    models.BooleanField(
                        blank=True,
                        editable=False,
                        help_text="What its condition was found to be, once it was asked.",
                        null=True,
                    ),
                ),
                ("weight", models.FloatField(default=0, editable=False)),
                ("fraction", models.FloatField(default=0, editable=False)),
                ("waits_for", models.JSONField(blank=True, default=list, editable=False)),
                ("feeds", models.JSONField(blank=True, default=list, editable=False)),
                ("blockers", models.PositiveIntegerField(default=0, editable=False)),
                ("children_left", models.PositiveIntegerField(default=0, editable=False)),
                ("parts", models.PositiveIntegerField(default=0, editable=False)),
                ("parts_left", models.PositiveIntegerField(default=0, editable=False)),
                ("parts_failed", models.PositiveIntegerField(default=0, editable=False)),
                ("is_reused", models.BooleanField(default=False, verbose_name="reused")),
                (
                    "source",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="copies",
                        to="django_progress.step",
                    ),
                ),
                ("result", models.JSONField(blank=True, null=True, verbose_name="result")),
                ("error", models.TextField(blank=True, default="", verbose_name="error")),
                ("queued_at", models.DateTimeField(blank=True, null=True, verbose_name="queued at")),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started at")),
                ("finished_at", models.DateTimeField(blank=True, null=True, verbose_name="finished at")),
                (
                    "execution",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="step",
                        to="django_progress.process",
                        verbose_name="execution",
                    ),
                ),
                (
                    "process",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="steps",
                        to="django_progress.process",
                    ),
                ),
            ],
            options={
                "verbose_name": "step",
                "verbose_name_plural": "steps",
                "ordering": ["process_id", "position", models.F("index").asc(nulls_first=True)],
                "indexes": [
                    models.Index(fields=["process", "status"], name="dp_step_active"),
                    models.Index(fields=["process", "parent_path"], name="dp_step_under"),
                    models.Index(fields=["process", "index", "position"], name="dp_step_planned"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("process", "path"), name="dp_step_path"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "inactive",
                                    "queued",
                                    "running",
                                    "succeeded",
                                    "failed",
                                    "skipped",
                                    "cancelled",
                                    "stale",
                                ],
                            )
                        ),
                        name="dp_step_status",
                    ),
                ],
            },
        ),
    ]
