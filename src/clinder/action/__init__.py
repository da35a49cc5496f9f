"""The GitHub Action: the steps of the composite action."""
