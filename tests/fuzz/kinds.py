"""What is fuzzed: kind -> (case as "module:function", cases in `make fuzz`, cases in `make test`)."""

KINDS: dict[str, tuple[str, int, int]] = {}
