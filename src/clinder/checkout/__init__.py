"""What to launch: this checkout, this CI job, and which commit's image will do."""
