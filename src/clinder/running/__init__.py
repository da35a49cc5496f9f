"""A session that exists, until it is gone."""
