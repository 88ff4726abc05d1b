"""Labelled and captioned recordings: datasets in their official layouts, any CSV, shards, and what is in a folder."""
