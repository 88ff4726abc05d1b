"""Checks that an explainer cannot pass without listening to the model and to the prompt."""
