"""Settings of the example project: SQLite, and Celery over the filesystem. Nothing else has to run.

``EXAMPLE_DATA_DIR``    where everything is kept that the example writes; ``.demo`` by default
``EXAMPLE_DEBUG``       ``1`` (default) or ``0``: for HTTPS only, as ``check --deploy`` wants it
``EXAMPLE_HOSTS``       the site's names, for a site that isn't local
``EXAMPLE_DEMO``        ``1``: there is a user demo with the password demo, and the login page says so
``EXAMPLE_SECRET_KEY``  by default one that is made at the first start and kept beside the data
``EXAMPLE_URL``         the site's own address, for the worker that calls it
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key
from django.utils.translation import gettext_lazy as _

env = os.environ.get

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env("EXAMPLE_DATA_DIR") or BASE_DIR / ".demo").resolve()
MESSAGES_DIR = DATA_DIR / "messages"
CONTROL_DIR = DATA_DIR / "control"
for folder in (DATA_DIR, MESSAGES_DIR, CONTROL_DIR):
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)

DEBUG = env("EXAMPLE_DEBUG", "1") == "1"
DEMO = env("EXAMPLE_DEMO", "0") == "1"
SITE_URL = env("EXAMPLE_URL", "http://127.0.0.1:8000")


def secret_key() -> str:
    """Return the secret of this data directory, made when it is first asked for."""
    file = DATA_DIR / "secret_key"
    if not file.exists():
        draft = file.with_name(f"secret_key.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(get_random_secret_key())
        draft.replace(file)
    return file.read_text()


SECRET_KEY = env("EXAMPLE_SECRET_KEY") or secret_key()
ALLOWED_HOSTS = env("EXAMPLE_HOSTS", "").split() or ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_celery_results",
    "django_progress",
    "example_project",
    "example_project.gallery",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "example_project.urls"
# For servers that ask here what to serve. Django's runserver doesn't; it serves by WSGI.
ASGI_APPLICATION = "example_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
        "OPTIONS": {
            # Two processes write: each waits for its turn from the start of its transaction.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
TIME_ZONE = "UTC"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
STATIC_URL = "/static/"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "gallery:index"
LOGOUT_REDIRECT_URL = "gallery:index"

SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
X_FRAME_OPTIONS = "DENY"

CELERY_BROKER_URL = "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "data_folder_in": str(MESSAGES_DIR),
    "data_folder_out": str(MESSAGES_DIR),
    "control_folder": str(CONTROL_DIR),
    "polling_interval": 0.1,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]

DJANGO_PROGRESS = {"BASE_TEMPLATE": "base.html"}
