"""The surface that a GitHub workflow sees: the steps of the composite action."""
