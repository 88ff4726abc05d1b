"""The frame: sizes, licence, citation, no traces of a machine, a wheel that works outside the repository."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import lmaczs
from make_release import ReleaseError, set_version, write_hashes

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "assets"
SKIPPED = {
    ".git",
    ".venv",
    "runs",
    "out",
    "build",
    "dist",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
}
# Written in pieces, so that this file does not find itself.
TRACES = [
    "/" + "work/", "/" + "root/", "/" + "farm/", "/" + "opt/wheels", "/" + "opt/pypi",
    "pypi" + ".org", "python" + "hosted", "download." + "pytorch", "npm" + "js.org", "deb." + "debian",
]  # fmt: skip


def files() -> Iterator[Path]:
    """Every file of the project that is not made by a tool."""
    for folder, names, found in os.walk(ROOT):
        names[:] = [name for name in names if name not in SKIPPED and not name.endswith(".egg-info")]
        yield from (Path(folder) / name for name in found if name not in SKIPPED)


def test_no_file_names_a_machine_or_a_registry():
    hits = [
        (str(path.relative_to(ROOT)), trace)
        for path in files()
        for trace in TRACES
        if trace.encode() in path.read_bytes()
    ]
    assert not hits


def test_checkpoints_and_assets_stay_small():
    heavy = [path.name for path in ASSETS.rglob("*.safetensors") if path.stat().st_size > 10_000_000]
    assert not heavy
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 40_000_000


def test_citation_names_this_version_and_both_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == lmaczs.__version__
    assert citation["license"] == "Apache-2.0"
    papers = {reference["identifiers"][0]["value"]: reference for reference in citation["references"]}
    assert set(papers) == {"arXiv:2405.17615", "arXiv:2202.11479"}
    assert [author["family-names"] for author in papers["arXiv:2405.17615"]["authors"]] == [
        "Paissan", "Della Libera", "Ravanelli", "Subakan",
    ]  # fmt: skip


def test_changelog_has_this_version():
    assert f"## [{lmaczs.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.fixture
def repository(tmp_path):
    """What a release changes, and one file of weights."""
    for name in ("lmaczs/__init__.py", "CITATION.cff", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "assets/releases/one").mkdir(parents=True)
    (tmp_path / "assets/releases/one/model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_a_release_has_one_version_everywhere_its_changes_and_hashes(repository):
    before = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for version in ("99.1.0", "99.2.0"):
        if version == "99.2.0":
            with pytest.raises(ReleaseError, match="has nothing under"):
                set_version(repository, version, "2030-01-03")
            log = repository / "CHANGELOG.md"
            log.write_text(
                log.read_text("utf-8").replace("## [Unreleased]\n", "## [Unreleased]\n\n- Newer.\n")
            )
        news = set_version(repository, version, "2030-01-03")
    assert news == "- Newer."
    log = (repository / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]\n\n## [99.2.0] - 2030-01-03\n\n- Newer.\n\n## [99.1.0] - 2030-01-03\n" in log
    assert all(line in log for line in before.splitlines())
    citation = yaml.safe_load((repository / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == "99.2.0" and str(citation["date-released"]) == "2030-01-03"
    assert '__version__ = "99.2.0"' in (repository / "lmaczs/__init__.py").read_text("utf-8")
    (repository / "dist").mkdir()
    (repository / "dist/one.whl").write_bytes(b"wheel")
    sums = write_hashes(repository, repository / "dist").read_text().splitlines()
    assert [line.split("  ")[1] for line in sums] == ["one.whl", "assets/releases/one/model.safetensors"]
    assert sums[1].startswith(hashlib.sha256(b"weights").hexdigest())


@pytest.mark.parametrize("version", ["0.0.1", lmaczs.__version__, "1.2", "v1.2.3", "1.2.3rc1", "", "01.2.3"])
def test_a_version_that_is_none_or_not_newer_changes_nothing(repository, version):
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    with pytest.raises(ReleaseError, match=f"is no version above {lmaczs.__version__}"):
        set_version(repository, version, "2030-01-03")
    assert before == {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}


def test_licence_is_the_whole_apache_licence():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.split()[:5] == ["Apache", "License", "Version", "2.0,", "January"]
    assert "END OF TERMS AND CONDITIONS" in text


def test_ci_runs_make_check():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "exec make check"


@pytest.fixture
def toolbox(tmp_path) -> Path:
    """A .venv whose programs only write down that they were called; those whose name is in FAILING fail."""
    bin_folder = tmp_path / "venv" / "bin"
    bin_folder.mkdir(parents=True)
    for name in ("python", "ruff", "mypy"):
        program = bin_folder / name
        program.write_text(
            f'#!/bin/sh\necho "called: {name} $*"\ncase "{name} $*" in $FAILING*) exit 1;; esac\n'
        )
        program.chmod(0o755)
    # Nothing is fetched: what checks the page's scripts has its own step, and says nothing here.
    node = tmp_path / "venv" / "node" / "node_modules" / ".bin"
    node.mkdir(parents=True)
    for name in ("json2ts", "tsc"):
        (node / name).symlink_to(shutil.which("true"))
    # A stamp that is older than what it depends on would be made anew, now and then.
    for stamp in (".demo-ready", ".test-ready", ".browser-ready", ".scripts-ready"):
        (tmp_path / "venv" / stamp).touch()
    return tmp_path / "venv"


def make(target: str, toolbox: Path, failing: str = "nothing") -> tuple[int, list[str], str]:
    """Exit code of make, what it called, and everything that it said."""
    done = subprocess.run(
        ["make", "-C", str(ROOT), target, f"VENV={toolbox}"],
        env={**os.environ, "FAILING": failing, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
    )
    called = [
        line.removeprefix("called: ") for line in done.stdout.splitlines() if line.startswith("called: ")
    ]
    return done.returncode, called, done.stdout + done.stderr


def test_make_check_runs_the_fast_checks_first(toolbox):
    code, called, said = make("check", toolbox)
    assert code == 0, said
    first, second = called[3:]
    assert [call.strip() for call in called[:3]] == ["ruff check .", "ruff format --check .", "mypy"]
    # Between them they run every test, those that measure sound or time alone.
    assert first.startswith("python -m pytest") and first.strip().endswith("-m not alone")
    assert second.startswith("python -m pytest") and second.strip().endswith("-m alone")


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("ruff check", "'make fix' mends most of it"),
        ("ruff format", "run 'make fix'"),
        ("mypy", "mend what is listed"),
    ],
)
def test_a_check_that_fails_says_what_to_do_and_ends_the_run(toolbox, failing, words):
    code, called, said = make("check", toolbox, failing)
    assert code != 0 and words in said
    assert called[-1].startswith(failing) and not any("pytest" in call for call in called)


def test_requirements_are_the_dependencies_and_bound_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert "torch>=2.11,<=2.13.0" in lines  # an open range fetches gigabytes of CUDA packages
    assert "torchaudio==2.11.0" in lines


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that nothing left in the tree can slip in."""
    source = tmp_path_factory.mktemp("source") / "lmaczs"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*SKIPPED, "*.egg-info", "tests"))
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    done = subprocess.run([*command, "-w", str(target), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(target.glob("lmaczs-*.whl"))


@pytest.mark.slow
def test_wheel_carries_package_page_releases_and_examples(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "lmaczs"
    wanted = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py")}
    wanted |= {
        path.relative_to(ROOT).as_posix()
        for path in (package / "ui").rglob("*")
        if path.suffix in (".js", ".css", ".html", ".json")
    }
    for part in ("releases", "examples"):
        wanted |= {
            f"lmaczs/{path.relative_to(ROOT).as_posix()}"
            for path in (ASSETS / part).rglob("*")
            if path.is_file()
        }
    wanted = {name for name in wanted if "__pycache__" not in name}
    assert any(name.endswith(".css") for name in wanted)
    assert any(
        re.fullmatch(r"lmaczs/assets/releases/compact-clap-2/model\.safetensors", name) for name in wanted
    )
    assert not wanted - packed
    strangers = {name.split("/")[0] for name in packed} - {"lmaczs", f"lmaczs-{lmaczs.__version__}.dist-info"}
    assert not strangers
    metadata = zipfile.ZipFile(wheel)
    points = metadata.read(f"lmaczs-{lmaczs.__version__}.dist-info/entry_points.txt").decode()
    assert "lmaczs = lmaczs.__main__:program" in points


@pytest.mark.slow
def test_wheel_works_outside_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "prompts.txt").write_text("crickets chirping\na dog barking\n")
    example = tmp_path / "site" / "lmaczs" / "assets" / "examples" / "crickets.wav"
    done = subprocess.run(
        [sys.executable, "-m", "lmaczs", "classify", str(example), "--prompts-file", "prompts.txt"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("crickets chirping") < done.stdout.index("a dog barking")
    where = subprocess.run(
        [sys.executable, "-c", "import lmaczs.release_names as r; print(*r.asset_folders())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert where.stdout.split() == [str(tmp_path / "site" / "lmaczs" / "assets")]


def test_pictures_of_benchmarks_are_charts_that_a_change_of_is_a_change_of_text():
    """Images are drawn anew by their commands; what a table shows is there."""
    benchmarks = ROOT / "benchmarks"
    shown = {
        page.parent / name
        for page in benchmarks.rglob("*.md")
        for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text("utf-8"))
    }
    assert shown and all(path.suffix == ".svg" and path.is_file() for path in shown)
    assert all(path.stat().st_size < 200_000 for path in shown)


def test_the_lock_file_pins_what_the_demo_needs_with_hashes_and_leaves_torch_to_the_machine():
    text = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = {
        found[1].lower(): (found[2], found[0].count("--hash=sha256:"))
        for found in re.finditer(r"^([A-Za-z0-9._-]+)==(\S+).*?(?=^\S|\Z)", text, re.M | re.S)
    }
    assert all(hashes for _, hashes in pinned.values())
    assert not [name for name in pinned if re.match(r"torch|triton|nvidia|cuda", name)]
    wanted = [
        Requirement(line)
        for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
        if line[:1].isalpha() and not line.startswith("torch")
    ]
    for requirement in wanted:
        version, _ = pinned[requirement.name.lower().replace("_", "-")]
        assert version in requirement.specifier, requirement
