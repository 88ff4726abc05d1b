"""Masks that no method made, on the visitor's own recording: a method that does no better explains nothing."""

# Key in `lmaczs.evaluation.masks.CONTROLS` -> label.
PAGE_CONTROLS = {
    "random": "Random cells",
    "energy": "The loudest cells",
}
