"""How to launch: a request in, a session out."""
