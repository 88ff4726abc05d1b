"""The page's scripts are ES modules that import what they use; `lmaczs.ui.modules` joins them for Gradio."""

import re
from pathlib import Path

import pytest

from lmaczs.ui.modules import exports, imports, in_order, joined
from lmaczs.ui.web_files import WEB

ENTRIES = ("player/player.js", "scores.js", "source.js", "model.js", "notice.js", "progress.js")
SCRIPTS = sorted(WEB.rglob("*.js"))


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "start.js"


def test_what_is_imported_comes_first_and_once(tmp_path: Path):
    start = write(
        tmp_path,
        a='import { c } from "./c.js";\nexport const a = () => c;\n',
        b='import { c } from "./c.js";\nexport class B {}\nconst own = c;\n',
        c="export let c = 1;\nexport async function d() {}\n",
        start='import { a } from "./a.js";\nimport {\n  B,\n} from "./b.js";\nconst started = [a, B];\n',
    )
    assert [path.stem for path in in_order(start)] == ["c", "a", "b", "start"]
    assert joined(start).split() == [
        "let",
        "c",
        "=",
        "1;",
        "async",
        "function",
        "d()",
        "{}",
        "const",
        "a",
        "=",
        "()",
        "=>",
        "c;",
        "class",
        "B",
        "{}",
        "const",
        "own",
        "=",
        "c;",
        "const",
        "started",
        "=",
        "[a,",
        "B];",
    ]


def test_comments_stay_behind(tmp_path: Path):
    comments = "// One.\n/** Two. */\n/**\n * Three * four.\n */\n"
    code = ['const a = "// five"; // six\n', "const b = `8 /* 9 */`;\n"]
    start = write(tmp_path, start=comments + "\n  // seven\n".join(code))
    assert joined(start) == "".join(code)


def test_a_circle_of_functions_is_joined_from_its_far_end(tmp_path: Path):
    start = write(
        tmp_path,
        other='import { start } from "./start.js";\nexport const other = () => start();\n',
        start='import { other } from "./other.js";\nexport const start = () => other;\n',
    )
    assert [path.stem for path in in_order(start)] == ["other", "start"]


@pytest.mark.parametrize(
    "line",
    [
        'import a from "./a.js";',
        'import * as a from "./a.js";',
        'import { a as b } from "./a.js";',
        'import { a } from "https://example.org/a.js";',
        "export default a;",
        "export { a };",
    ],
)
def test_other_forms_are_refused_by_name(tmp_path: Path, line: str):
    start = write(tmp_path, a="export const a = 1;\n", start=line + "\n")
    with pytest.raises(ValueError, match=r"start\.js"):
        joined(start)


def test_a_name_that_is_not_exported_is_refused(tmp_path: Path):
    start = write(tmp_path, a="const a = 1;\n", start='import { a } from "./a.js";\n')
    with pytest.raises(ValueError, match=r"start\.js imports a, which a\.js does not export"):
        joined(start)


def test_two_modules_of_a_script_may_not_share_a_name(tmp_path: Path):
    start = write(
        tmp_path,
        a="export const a = () => 1;\nconst { own, b } = { own: 1, b: 2 };\n",
        start='import { a } from "./a.js";\nclass own {}\nconst c = a;\n',
    )
    with pytest.raises(ValueError, match=r"start\.js: two of its modules give the name own"):
        joined(start)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_script_of_the_page_is_one(entry: str):
    assert "import {" not in joined(WEB / entry)


def test_every_module_is_used_and_every_export_imported():
    used = {path for entry in ENTRIES for path in in_order(WEB / entry)}
    assert set(SCRIPTS) == used
    asked = {(target, name) for path in SCRIPTS for names, target in imports(path) for name in names}
    tests = "".join(path.read_text("utf-8") for path in (Path(__file__).parents[1] / "js").glob("*.mjs"))
    for path in SCRIPTS:
        for name in exports(path):
            assert (path.resolve(), name) in asked or re.search(rf"\b{name}\b", tests), f"{path.name}: {name}"


@pytest.mark.parametrize("path", sorted(WEB.glob("*.css")), ids=lambda path: path.name)
def test_gradio_can_put_its_own_selector_before_every_rule_for_a_size(path: Path):
    """Within @media it writes `.gradio-container… .contain` before each part between commas, and nothing else is left."""
    for block in re.findall(r"@media[^{]*\{\n((?:[ }].*\n)*?)\}\n", path.read_text("utf-8")):
        for selector in re.findall(r"^ {2}([^ @/}].*?)\{", block, re.MULTILINE | re.DOTALL):
            assert not re.match(r"html|body|:root|\.gradio-container", selector), selector
            assert not re.search(r"\([^)]*,", selector), selector
