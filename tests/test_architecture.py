"""Data flows one way, and so do imports; a few habits that reviews should not have to find."""

import ast
from pathlib import Path

import pytest

import lmaczs

PACKAGE = Path(lmaczs.__file__).parent
# A module may import from layers below its own, and from its own folder.
LAYERS = {
    "errors": 0,
    "types": 0,
    "settings": 0.2,
    "release_files": 0.4,
    "hub": 1,
    "signal": 1,
    "data": 2,
    "clap": 2,
    "metrics": 2,
    "explainers": 3,
    "pipeline": 4,
    "charts": 4,
    "plots": 5,
    "results": 6,
    "evaluation": 6,
    "sanity": 7,
    "many": 7,
    "cli": 8,
    "ui": 9,
    "__main__": 10,
}
FRONT_DOOR = "__init__.py"  # names things of every layer, and imports none before its first use
NAMES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
NAMES.remove(FRONT_DOOR)


def part_of(module):
    """Top-level part of `lmaczs.<part>…`."""
    return module.split(".")[1]


def imported_modules(tree):
    """Every lmaczs module that a file imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lmaczs."))
        elif isinstance(node, ast.ImportFrom) and node.module == "lmaczs":
            names = [alias.name for alias in node.names if alias.name != "__version__"]
            yield from (lmaczs._HOMES.get(name, f"lmaczs.{name}") for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lmaczs."):
            yield node.module


def parse(name):
    return ast.parse((PACKAGE / name).read_text("utf-8"))


def called(node):
    """Dotted name of what a call calls, e.g. "torch.load"."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_down(name):
    own = Path(name).parts[0].removesuffix(".py")
    assert own in LAYERS, f"give '{own}' a layer"
    for module in imported_modules(parse(name)):
        part = part_of(module)
        assert part == own or LAYERS[part] < LAYERS[own], f"{name} imports {module}"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("metrics/")])
def test_metrics_know_tensors_only(name):
    assert {part_of(module) for module in imported_modules(parse(name))} <= {"metrics", "errors", "types"}


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("explainers/") and "__init__" not in n])
def test_explainers_do_not_know_one_another(name):
    shared = {f"lmaczs.explainers.{part}" for part in ("base", "hooks", "scores", "decibels", "perturbing")}
    own = "lmaczs." + ".".join(Path(name).with_suffix("").parts)
    folder = own.rsplit(".", 1)[0]
    for module in imported_modules(parse(name)):
        if module.startswith("lmaczs.explainers") and module not in shared:
            own_part = folder != "lmaczs.explainers" and module.startswith(folder + ".")
            fitted = own == "lmaczs.explainers.optimized_mask" and ".lmac_zs." in module  # the same objective
            assert own_part or fitted, f"{name} imports {module}"


@pytest.mark.parametrize("name", NAMES)
def test_no_relative_imports(name):
    assert not [node for node in ast.walk(parse(name)) if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize("name", NAMES)
def test_no_print_outside_the_command_line(name):
    prints = [node.lineno for node in ast.walk(parse(name)) if called(node) == "print"]
    is_program = name.startswith("cli/") or "__main__" in (PACKAGE / name).read_text("utf-8")
    assert not prints or is_program, f"{name}: lines {prints}"


@pytest.mark.parametrize("name", NAMES)
def test_no_code_from_strings_and_no_pickles(name):
    for node in ast.walk(parse(name)):
        if not isinstance(node, ast.Call):
            continue
        assert called(node) not in {"eval", "exec", "pickle.load", "pickle.loads"}, f"{name}: {node.lineno}"
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called(node) == "torch.load":
            assert keywords.get("weights_only") == "True", f"{name}: line {node.lineno}"
        if called(node).endswith("load_state_dict"):
            assert keywords.get("strict", "True") == "True", f"{name}: line {node.lineno}"
        if called(node).startswith("subprocess."):
            assert "shell" not in keywords, f"{name}: line {node.lineno}"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_says_what_it_is_for(name):
    source = (PACKAGE / name).read_text("utf-8")
    assert not source or ast.get_docstring(ast.parse(source)), f"{name} has no docstring"
