"""A BinderHub for one machine: the same API, real Jupyter Servers, no containers."""
