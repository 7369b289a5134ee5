"""Many parallel tasks, ours and Celery's own, as ``benchmarks.group`` measures them."""
