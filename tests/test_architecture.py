"""Data flows one way, and so do imports; a few habits that reviews should not have to find."""

import ast
from pathlib import Path

import pytest

import lmaczs

PACKAGE = Path(lmaczs.__file__).parent
ROOT = PACKAGE.parent
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 350, 50
# A module may import from layers below its own, and from its own folder.
LAYERS = {
    "errors": 0,
    "types": 0,
    "sorting": 0,
    "settings": 0.2,
    "pins": 0.2,
    "release_config": 0.3,
    "release_files": 0.4,
    "release_names": 0.4,
    "hub": 1,
    "signal": 1,
    "data": 2,
    "clap": 2,
    "metrics": 2,
    "explainers": 3,
    "hearing": 4,
    "charts": 4,
    "plots": 5,
    "results": 6,
    "evaluation": 6,
    "sanity": 7,
    "many": 7,
    "report": 7,
    "study": 7,
    "cli": 8,
    "ui": 9,
    "__main__": 10,
}
FRONT_DOOR = "__init__.py"  # names things of every layer, and imports none before its first use
NAMES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
NAMES.remove(FRONT_DOOR)
TRAINING = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "train").rglob("*.py"))
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.js"))


def part_of(module):
    """Top-level part of `lmaczs.<part>…`."""
    return module.split(".")[1]


def imported_modules(tree):
    """Every lmaczs module that a file imports, also inside functions and for types only."""
    return {module for module, _ in imports(tree)}


def imports(tree):
    """Every lmaczs module that a file imports, and whether for types only (`if TYPE_CHECKING:`)."""
    types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.startswith("lmaczs.")]
        elif isinstance(node, ast.ImportFrom) and node.module == "lmaczs":
            names = [alias.name for alias in node.names if alias.name != "__version__"]
            found = [lmaczs._HOMES.get(name, f"lmaczs.{name}") for name in names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lmaczs."):
            found = [file_of(f"{node.module}.{alias.name}") or node.module for alias in node.names]
        else:
            continue
        yield from ((module, id(node) in types_only) for module in found)


def file_of(module):
    """The module itself if a file or folder of that name exists, else None."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return module if path.with_suffix(".py").is_file() or path.joinpath("__init__.py").is_file() else None


def module_of(name):
    """Dotted name of a file of the package."""
    parts = Path(name).with_suffix("").parts
    return ".".join(("lmaczs", *parts[: -1 if parts[-1] == "__init__" else None]))


def import_graph(for_types):
    """Module -> modules that it imports at run time, or also for types only."""
    return {
        module_of(name): {
            module for module, types_only in imports(parse(name)) if for_types or not types_only
        }
        for name in NAMES
    }


def by_folder(graph):
    """The same graph between top-level parts of the package."""
    folders = {part_of(module): set() for module in graph}
    for module, targets in graph.items():
        folders[part_of(module)] |= {part_of(target) for target in targets} - {part_of(module)}
    return folders


def circle(graph):
    """Names along one circle of a graph; empty if there is none."""
    done, path = set(), []

    def walk(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        found = next(
            (round_trip for target in sorted(graph.get(name, ())) if (round_trip := walk(target))), []
        )
        path.pop()
        done.add(name)
        return found

    return next((round_trip for name in sorted(graph) if (round_trip := walk(name))), [])


def lines_of_code(source):
    """Numbers of the lines that are neither empty, nor comments, nor docstrings."""
    tree = ast.parse(source)
    documented = set()
    for node in ast.walk(tree):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    return {
        n for n, line in lines if line.strip() and not line.strip().startswith("#") and n not in documented
    }


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


def test_files_import_one_another_without_circles():
    """An import inside a function counts: it only hides the circle."""
    assert circle(import_graph(for_types=False)) == []


def test_folders_import_one_another_without_circles_also_for_types():
    assert circle(by_folder(import_graph(for_types=True))) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("name", [f"lmaczs/{name}" for name in (FRONT_DOOR, *NAMES)] + TRAINING)
def test_files_and_functions_stay_short(name):
    source = (ROOT / name).read_text("utf-8")
    code = lines_of_code(source)
    assert len(code) <= MOST_LINES_OF_A_FILE, f"{len(code)} lines of code"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = sum(node.lineno <= line <= node.end_lineno for line in code)
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {length} lines of code"


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_of_the_page_stay_short(name):
    lines = [line.strip() for line in (ROOT / name).read_text("utf-8").splitlines()]
    code = [line for line in lines if line and not line.startswith(("//", "/*", "*"))]
    assert len(code) <= MOST_LINES_OF_A_FILE, f"{len(code)} lines of code"


# Who may cut a recording into windows, encode them, and join their masks. Everybody else calls `lmaczs.hearing`.
ONE_WAY = {
    "cut_windows": {"clap/recording.py"},
    "plan_windows": {"clap/recording.py"},
    "stitch": {"explainers/base.py", "explainers/l2i/explainer.py"},
    # A release's golden tensors belong to the encoder itself, not to a recording; who randomises weights has to know
    # the order in which the encoder's layers are called, and lets batch normalisations measure many recordings at once;
    # who teaches a copy needs gradients of its weights.
    "analyze": {
        "clap/recording.py",
        "clap/compact_release.py",
        "sanity/randomise.py",
        "sanity/checks.py",
        "sanity/planting.py",
    },
}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "signal/windows.py"])
def test_only_one_place_hears_a_recording(name):
    for node in ast.walk(parse(name)):
        last = called(node).rsplit(".", 1)[-1]
        assert name in ONE_WAY.get(last, {name}), (
            f"line {node.lineno} calls {last}: call lmaczs.hearing instead"
        )


def test_the_exceptions_of_the_one_way_are_used():
    """An exception that nobody needs any more goes."""
    calls = {(called(node).rsplit(".", 1)[-1], name) for name in NAMES for node in ast.walk(parse(name))}
    assert not {(last, name) for last, names in ONE_WAY.items() for name in names} - calls


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("metrics/")])
def test_metrics_know_tensors_only(name):
    assert {part_of(module) for module in imported_modules(parse(name))} <= {
        "metrics",
        "errors",
        "types",
        "sorting",
    }


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("explainers/") and "__init__" not in n])
def test_explainers_do_not_know_one_another(name):
    shared = {
        f"lmaczs.explainers.{part}"
        for part in ("areas", "base", "details", "options", "gradients", "masked_sound", "perturbing")
    }
    own = "lmaczs." + ".".join(Path(name).with_suffix("").parts)
    folder = own.rsplit(".", 1)[0]
    for module in imported_modules(parse(name)):
        if module.startswith("lmaczs.explainers") and module not in shared:
            own_part = folder != "lmaczs.explainers" and module.startswith(folder + ".")
            # What wraps another method finds it by its key.
            own_part |= module == "lmaczs.explainers"
            # The same objective; and what starts from the universal decoder.
            fitted = own == "lmaczs.explainers.optimized_mask" and ".lmac_zs." in module
            fitted |= own == "lmaczs.explainers.optimized_mask" and ".lmac_any." in module
            fitted |= own == "lmaczs.explainers.lmac_zs.guided" and ".lmac_any." in module
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
