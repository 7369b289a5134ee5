"""What live streams cost: see ``__main__.py``."""
