"""Labelled recordings for evaluation."""
