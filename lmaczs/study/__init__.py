"""Listening studies, as in the L2I paper: make one, let people rate, analyse what they said."""
