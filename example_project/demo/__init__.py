"""What ``manage.py demo`` is made of: services to run, and a browser to go through them with."""
