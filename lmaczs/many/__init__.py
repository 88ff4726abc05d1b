"""Explaining any number of recordings: units of work in, Parquet rows out, in one process or on a cluster.

A run is cut into units (some files, or one shard of a WebDataset). A unit's finished clips lie beside the results one
by one until the unit is complete; then they become one Parquet file. Whoever is stopped, or killed, has lost only the
clip that it was working on, and the next run goes on from there.
"""
