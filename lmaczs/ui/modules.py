"""ES modules -> the one script that a Gradio component runs.

Gradio runs a component's script as the body of a function. The scripts here are ES modules with explicit imports and
exports, so that editors, `tsc` and `node --test` read them as they are; they are joined in the order in which a browser
would run them, without their comments. All modules of one script share its function: no two may give one name to two
things.
"""

import re
from collections import Counter
from pathlib import Path

IMPORT = re.compile(r'^import \{([\w\s,]+)\} from "(\.{1,2}/[\w./]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|class|function)\b)", re.MULTILINE)
# What a module names for all of its script.
TOP = re.compile(r"^(?:async )?(?:const|let|class|function) (\w+)|^(?:const|let) \{([^}]*)\} =", re.MULTILINE)
# Lines that hold nothing else: a quarter of what a slow network would have to bring.
COMMENT = re.compile(r"^[ \t]*(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/[ \t]*)\n|^\s*\n", re.MULTILINE)
# Everything else that the language knows: names that change on the way, defaults, modules as a whole.
OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def joined(entry: Path) -> str:
    """The script of a module and of all that it imports.

    Args:
        entry: the module that starts the component.

    Raises:
        ValueError: a module imports or exports in another form than `import { a, b } from "./c.js";` and
            `export const a`, asks for a name that is not exported, or two modules share a name.
    """
    script = "\n".join(_without_modules(path) for path in in_order(entry))
    names = Counter(
        name.strip() for one, several in TOP.findall(script) for name in (one or several).split(",")
    )
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"{entry.name}: two of its modules give the name {', '.join(twice)} to something.")
    return script


def in_order(entry: Path) -> list[Path]:
    """A module after all that it imports, each once; in a circle, the one that is reached first comes last."""
    order: list[Path] = []
    seen: set[Path] = set()

    def visit(path: Path) -> None:
        if path in seen:
            return
        seen.add(path)
        for _, imported in imports(path):
            visit(imported)
        order.append(path)

    visit(entry.resolve())
    return order


def imports(path: Path) -> list[tuple[list[str], Path]]:
    """What a module imports: (names, the module that exports them)."""
    return [
        ([name.strip() for name in names.split(",") if name.strip()], (path.parent / target).resolve())
        for names, target in IMPORT.findall(path.read_text("utf-8"))
    ]


def exports(path: Path) -> set[str]:
    """Names that a module exports."""
    return set(
        re.findall(
            r"^export (?:async )?(?:const|let|class|function) (\w+)", path.read_text("utf-8"), re.MULTILINE
        )
    )


def _without_modules(path: Path) -> str:
    for names, imported in imports(path):
        if unknown := set(names) - exports(imported):
            raise ValueError(
                f"{path.name} imports {', '.join(sorted(unknown))}, which {imported.name} does not export."
            )
    script = EXPORT.sub("", IMPORT.sub("", path.read_text("utf-8")))
    if found := OTHER.search(script):
        raise ValueError(f"{path.name}: '{found.group()}' is no form that is joined here.")
    return COMMENT.sub("", script)
