"""Bundles the ES modules under `page/` into one script.

A page that is one file has no URL to import from. An import map to `data:` or `blob:` URLs would need a policy that
runs scripts from such URLs, which an attacker could use too. So each module becomes a function that returns its
exports, called once, in the order of the imports. Names stay local to their module, as in the browser.

Supported are `import { a, b } from "./file.js";` and `export` before a function, a class or `const name =`, each at
the beginning of a line. Not covered: default exports, renames, `import *`, exports that change later, cycles; they
raise ValueError.
"""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+\.js)";$', re.M)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.M)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.M)


def bundle(folder: Path, entry: str) -> str:
    """Returns the script of the module `entry` and its imports. Raises ValueError for unsupported or broken imports."""
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in sorted(p.name for p in folder.glob("*.js"))}
    exported = {name: set(_EXPORT.findall(text)) for name, text in texts.items()}
    ordered: list[str] = []
    _visit(entry, texts, ordered, ())
    return "\n".join(_function(name, texts[name], exported) for name in ordered)


def _visit(name: str, texts: dict[str, str], ordered: list[str], path: tuple[str, ...]) -> None:
    """Adds a module to `ordered`, after the modules that it imports."""
    if name in path:
        raise ValueError(f"modules import each other: {' -> '.join([*path, name])}")
    if name not in texts:
        raise ValueError(f"{path[-1] if path else 'page'} imports {name}, which does not exist")
    if name in ordered:
        return
    for _, other in _IMPORT.findall(texts[name]):
        _visit(other, texts, ordered, (*path, name))
    ordered.append(name)


def _function(name: str, text: str, exported: dict[str, set[str]]) -> str:
    """Returns one module as a function that is called once."""

    def imported(match: re.Match) -> str:
        unknown = sorted(set(match[1].split(", ")) - exported[match[2]])
        if unknown:
            raise ValueError(f"{name} imports {unknown[0]} from {match[2]}, which does not export it")
        return f"const {{ {match[1]} }} = {_variable(match[2])};"

    body = _EXPORT.sub("", _IMPORT.sub(imported, text))
    if left := _LEFT.search(body):
        raise ValueError(f"{name}: {left[0]!r} is not understood by bundle.py")
    values = ", ".join(sorted(exported[name]))
    return f"const {_variable(name)} = (() => {{\n{body}\nreturn {{ {values} }};\n}})();\n"


def _variable(name: str) -> str:
    """Returns the variable of a module's exports in the script."""
    return "$" + name.removesuffix(".js")
