"""Imports go down only, and reading a dataset needs numpy and pyarrow alone."""

import ast
import subprocess
import sys

from conftest import ROOT

# From the ground up. A part may import parts of its own floor and of those below.
FLOORS = (
    ("errors", "kernels", "numbers", "philox", "version"),
    ("spec",),
    ("deflate", "selection"),
    ("dataset", "sources"),
    ("view", "export", "hub", "audit"),
    ("opening",),
    ("factory",),
    ("adapters", "commands"),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(FLOORS) for part in parts}

COMPILED = {f"ncagen.sources.nca.{name}" for name in ("cpu", "simd")}
COMPILED |= {f"ncagen.deflate.{name}" for name in ("lengths", "lz77", "huffman")} | {"ncagen.kernels"}

FOREIGN = {"numba", "llvmlite", "click", "tqdm", "torch", "ray", "zstandard", "huggingface_hub"}


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
    assert ours(graph()["ncagen.errors"]) == ours(graph()["ncagen.kernels"]) == set()
    assert ours(graph()["ncagen.spec"]) == {"ncagen.errors"}


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
    assert "ncagen.factory.scheduler" in edges["ncagen.commands.build"]  # within a function
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
