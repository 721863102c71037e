"""How to install what is missing: the one place that names the way, for a release to change.

No release of ncagen is published, so an extra is installed from a clone. A package of others that belongs to no extra
has its own name. Versions are pyproject.toml's, and are not checked here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ncagen.errors import NcagenError

# The extra of pyproject.toml that brings a package, by the name under which the package is imported.
EXTRAS = {
    "click": "build",
    "numba": "build",
    "llvmlite": "build",
    "tqdm": "build",
    "huggingface_hub": "hub",
    "botocore": "s3",
    "PIL": "view",
    "ray": "ray",
    "torch": "torch",
    "cuda": "cuda",
    "matplotlib": "plot",
    "tokenizers": "text",
}
OTHERS = ("grain", "torchtitan", "transformers")  # what ncagen uses and no extra brings


class MissingPackage(NcagenError, ModuleNotFoundError):
    """A package that is not installed. The message says what needs it and what to type; `name` is the package."""


def install(package: str) -> str:
    """What to type to have a package, named as it is imported."""
    extra = EXTRAS.get(package)
    return f"pip install {package}" if extra is None else f"pip install -e '.[{extra}]' in the clone of ncagen"


def reinstall(package: str) -> str:
    """What to type to have another build of a package in the place of the one that is there."""
    return f"pip install --force-reinstall {package}"


def missing(error: ModuleNotFoundError) -> str | None:
    """The package that an import did not find; None for one that ncagen does not name, such as a part of another."""
    package = (error.name or "").split(".")[0]
    return package if package in EXTRAS or package in OTHERS else None


@contextmanager
def needed_by(name: str) -> Iterator[None]:
    """Raises MissingPackage where an import of the block does not find a package. name: what needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = missing(error)
        if package is None:
            raise
        raise MissingPackage(f"{name} needs {package}: {install(package)}", name=package) from None
