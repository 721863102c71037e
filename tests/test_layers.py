"""Imports go down only, and reading a dataset needs numpy and pyarrow alone."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

# From the ground up. A part may import parts of its own floor and of those below.
FLOORS = (
    ("compile_notice", "cores", "errors", "hints", "numbers", "philox", "processor", "version"),
    ("cuda", "kernels", "native", "philox_kernels"),
    ("row_format",),
    ("selection",),
    ("deflate", "spec"),
    ("dataset", "sources"),
    ("export", "hub"),
    ("opening",),
    ("factory",),
    ("evaluate",),
    ("audit", "view"),
    ("api",),
    ("adapters", "commands"),
    ("cli",),
    ("__main__",),
)
READERS = tuple(f"ncagen.{part}." for part in ("dataset", "export", "hub", "adapters"))
LEVEL = {part: level for level, parts in enumerate(FLOORS) for part in parts}

# Who may know where rows come from. Everyone else reads `row_format`.
KNOW_SOURCES = {"sources", "factory", "view", "audit", "evaluate"}
# Words of the automaton and its score, which stand for a source that leaked.
LEAKED = re.compile(r"grid|automat|patch|gzip|(?<![a-z])cells?(?![a-z])", re.IGNORECASE)

_NCA = "control_kernels cpu cpu_kernels entropy_kernels rule_kernels simd structure_kernels vectors workspace"
COMPILED = {f"ncagen.sources.nca.{name}" for name in _NCA.split()}
COMPILED |= {f"ncagen.deflate.{name}" for name in ("lengths", "lz77", "huffman")} | {"ncagen.kernels"}
COMPILED |= {f"ncagen.deflate.{name}" for name in ("token_columns", "token_parse")}
COMPILED |= {"ncagen.compile_notice", "ncagen.audit.neighbour_kernels", "ncagen.sources.procedural.kernels"}
COMPILED |= {"ncagen.sources.cellular.lane_kernels", "ncagen.sources.cellular.lanes"}
COMPILED |= {"ncagen.sources.nca.sample_kernels"}
COMPILED |= {f"ncagen.sources.text.{name}" for name in ("digest_kernels", "window_kernels")}

FOREIGN = {"numba", "llvmlite", "click", "tqdm", "torch", "ray", "zstandard", "huggingface_hub", "tokenizers"}


def modules() -> dict[str, ast.Module]:
    """Every module's name and parsed source."""
    found = {}
    for path in sorted((ROOT / "ncagen").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported(name: str, tree: ast.Module, known: set[str]) -> set[str]:
    """The modules that a module imports, at its top or within a function."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*name.split(".")[: -node.level], *filter(None, [node.module])])
            full = {f"{base}.{alias.name}" for alias in node.names}
            found |= (full & known) | ({base} if full - known else set())
    return found


def part(module: str) -> str:
    return module.split(".")[1]


def graph() -> dict[str, set[str]]:
    """Each module of the package and what it imports."""
    trees = modules()
    return {name: imported(name, tree, set(trees)) for name, tree in trees.items()}


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("ncagen.")}


def test_every_part_has_a_floor():
    assert {part(name) for name in ours(set(graph()))} <= set(LEVEL)


def test_imports_go_down_only():
    upward = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in ours(others)
        if name != "ncagen" and LEVEL[part(other)] > LEVEL[part(name)]
    ]
    assert upward == []


def test_the_spec_and_what_lies_below_it_stand_alone():
    assert ours(graph()["ncagen.errors"]) == ours(graph()["ncagen.compile_notice"]) == set()
    assert ours(graph()["ncagen.kernels"]) == {
        f"ncagen.{name}" for name in ("compile_notice", "hints", "native", "processor")
    }
    assert ours(graph()["ncagen.row_format"]) == {"ncagen.errors"}
    assert ours(graph()["ncagen.spec"]) == {"ncagen.errors", "ncagen.selection"}


def test_sources_are_known_to_the_factory_view_audit_and_evaluate_alone():
    edges = graph()
    leaks = [
        f"{name} imports {other}"
        for name, others in edges.items()
        for other in ours(others)
        if part(other) == "sources" and name != "ncagen" and part(name) not in KNOW_SOURCES
    ]
    assert leaks == []
    for name in edges:
        if name != "ncagen" and part(name) in ("dataset", "export", "hub"):
            assert not {other for other in reached_from(name, edges) if part(other) == "sources"}, name


@pytest.mark.parametrize("name", [n for n in modules() if n.startswith(READERS)])
def test_no_reader_has_a_name_or_a_message_of_a_source(name):
    assert leaked(modules()[name]) == []


def test_a_leak_is_seen():
    assert leaked(ast.parse("def f(spec):\n    return spec.grid")) == ["grid"]
    assert leaked(ast.parse("def f(gzip_bytes=1):\n    'The gzip length.'\n    return f'{x} patches'")) == [
        "gzip_bytes",
        " patches",
    ]
    assert leaked(ast.parse("CODECS = {2: 'gzip'}\nexcells = monkeypatching_not")) == ["monkeypatching_not"]


def leaked(tree: ast.Module) -> list[str]:
    """Names and texts of the automaton in a module, in its order; docstrings and the name of a codec are none."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, owners) and ast.get_docstring(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            found.append((node.lineno, node.col_offset, node.value))
        for field in ("id", "attr", "arg", "name"):
            if isinstance(text := getattr(node, field, None), str) and hasattr(node, "lineno"):
                found.append((node.lineno, node.col_offset, text))
    return [text for _, _, text in sorted(found) if LEAKED.search(text) and text != "gzip"]


def reached_from(name: str, edges: dict[str, set[str]]) -> set[str]:
    """Every module of the package that a module imports, directly or through others."""
    reached, waiting = set(), ours(edges[name])
    while waiting:
        other = waiting.pop()
        reached.add(other)
        waiting |= ours(edges.get(other, set())) - reached
    return reached


def test_no_module_imports_itself_over_others():
    edges = {name: ours(others) for name, others in graph().items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in edges.get(name, ()):
                visit(other, (*path, name))
            done.add(name)

    for name in edges:
        visit(name, ())


def test_a_dataset_needs_no_kernels():
    edges = graph()
    reached, waiting = set(), [name for name in edges if name.startswith("ncagen.dataset")]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting += ours(edges.get(name, set())) - reached
    assert not reached & COMPILED
    assert not {other.split(".")[0] for name in reached for other in edges[name]} & FOREIGN


def test_this_test_sees_imports():
    trees = modules()
    edges = graph()
    assert "ncagen.factory.scheduler" in edges["ncagen.api"]  # within a function
    assert "ncagen.deflate.huffman" in imported("ncagen.deflate.x", ast.parse("from . import huffman"), set(trees))
    assert set(edges) >= COMPILED


def test_reading_loads_numpy_and_pyarrow_alone(smoke):
    script = f"""
import sys, ncagen
assert len(ncagen.open({str(smoke())!r}, band="high")[0]["input_ids"]) == 1026
print(*sorted({{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    assert {"ncagen", "numpy", "pyarrow"} <= set(done.stdout.split())
    assert not set(done.stdout.split()) & FOREIGN
