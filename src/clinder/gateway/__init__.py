"""A reverse proxy on the loopback interface, between a session and the tools that use it."""
