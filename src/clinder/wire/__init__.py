"""What happened on the wire: no policy, no retries."""
