"""How to launch: from a request to a session."""
