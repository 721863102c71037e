"""What is missing is named with the line to type, which one module says."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT, run, without

from ncagen import NcagenError, hints

CLONE = "pip install -e '.[{}]' in the clone of ncagen"
# Files that may type pip: what is installed there is no hint to a reader who has ncagen.
INSTALLS = r"^(Makefile|docker/|findings/|tests/|ncagen/hints\.py$|\.ci/)"


def output(program: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    return done.stdout, done.stderr


def test_the_line_to_type():
    assert hints.install("numba") == CLONE.format("build")
    assert hints.install("huggingface_hub") == CLONE.format("hub")
    assert hints.install("PIL") == CLONE.format("view")
    assert hints.install("grain") == "pip install grain"


def test_every_extra_is_one_of_the_project():
    declared = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(hints.EXTRAS.values()) <= set(declared)


@pytest.mark.parametrize(
    ("module", "package", "line"),
    [
        ("ncagen.adapters.torch", "torch", CLONE.format("torch")),
        ("ncagen.adapters.grain", "grain", "pip install grain"),
        ("ncagen.adapters.torchtitan", "torchtitan", "pip install torchtitan"),
    ],
)
def test_an_adapter_names_its_package(module, package, line):
    program = f"""{without(package)}
try:
    import {module}
except ImportError as error:
    print(type(error).__name__, error.name)
    print(error)
"""
    assert output(program) == (f"MissingPackage {package}\n{module} needs {package}: {line}\n", "")


def test_a_missing_package_is_an_error_of_ncagen_too():
    assert issubclass(hints.MissingPackage, NcagenError) and issubclass(hints.MissingPackage, ModuleNotFoundError)


def test_a_module_that_is_no_known_package_stays_as_it_is():
    with pytest.raises(ModuleNotFoundError) as caught, hints.needed_by("this test"):
        import ncagen.no_such_module  # noqa: F401
    assert caught.value.name == "ncagen.no_such_module"


@pytest.mark.parametrize("package", ["click", "numba", "tqdm"])
def test_the_command_line_names_a_missing_package(package, tmp_path):
    program = f"""{without(package)}
sys.argv = ["ncagen", "build", "--tokens", "20K", "--band", "high", "--out", "a"]
from ncagen.__main__ import main
main()
"""
    done = run(program=[sys.executable, "-c", program], cwd=tmp_path)
    what = "compiling kernels needs numba" if package == "numba" else f"{package} is not installed"
    assert done == (2, "", f"ncagen: {what}: {CLONE.format('build')}\n")
    assert list(tmp_path.iterdir()) == []


def test_no_other_place_says_how_to_install():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("this is no git clone")
    for name in listed.stdout.splitlines():
        if not re.search(INSTALLS, name) and name.endswith((".py", ".md", ".toml")):
            found = re.findall(r"pip install [^\n`]*", (ROOT / name).read_text(encoding="utf-8"))
            published = [line for line in found if "ncagen[" in line or "ncagen'" in line]
            assert published == [], f"{name}: no package named ncagen is published"
            if name.startswith("ncagen/"):
                assert [line for line in found if not line.startswith("pip install {")] == [], f"{name}: use hints"
