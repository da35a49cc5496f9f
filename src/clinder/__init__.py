"""Start a Jupyter session on a BinderHub, use it, and make sure that it stops."""
