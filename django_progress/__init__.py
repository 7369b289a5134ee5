"""Work that outlives a request: processes with milestones, shown live and redirected when they end."""

__version__ = "0.1.0"
