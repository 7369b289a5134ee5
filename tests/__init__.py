# Makes the app of tests/celery.py the current one as soon as Django starts, as in any project with Celery.
from .celery import app as celery_app

__all__ = ["celery_app"]
