"""A project that uses the app as its documentation says."""
