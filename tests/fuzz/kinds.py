"""What is fuzzed: kind -> (case as "module:function", cases in `make fuzz`, cases in `make test`)."""

KINDS: dict[str, tuple[str, int, int]] = {
    "files": ("tests.fuzz.files:try_file", 2000, 20),
    "prompts": ("tests.fuzz.prompts:try_prompts", 2000, 100),
    "payloads": ("tests.fuzz.payloads:try_payload", 300, 60),
    "releases": ("tests.fuzz.releases:try_release", 100, 30),
}
