"""Explanations as pages that open without a server: one for each recording, and an index by class."""
