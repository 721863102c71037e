"""Refuses invalid arguments to a reader, a path or a layout option, with one line that shows what to type.

Ranges of numbers are checked where they are used; see `numbers`.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from os import PathLike
from typing import Any, TypeVar

from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.reader import Dataset
from ncagen.dataset.tokens import Tokens
from ncagen.errors import NcagenError
from ncagen.numbers import shown

Function = TypeVar("Function", bound=Callable[..., Any])

# For `redirect`: what a batch holds of its rows is the layout's, which every reader takes as one option.
LAYOUT = {field.name: "use layout=ncagen.Layout({name}={value})" for field in fields(Layout)}


def redirect(hints: Mapping[str, str]) -> Callable[[Function], Function]:
    """A decorator of a function or `__init__`: keywords of these names raise NcagenError with what to type instead.

    hints: by keyword, a text in which {name} and {value} stand for what was given. The signature stays as it is.
    """

    def decorate(function: Function) -> Function:
        owner = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def checked(*arguments: Any, **options: Any) -> Any:
            for name in hints.keys() & options.keys():
                hint = hints[name].format(name=name, value=shown(options[name]))
                raise NcagenError(f"{name} is not an option of {owner}: {hint}")
            return function(*arguments, **options)

        return checked  # type: ignore[return-value]  # the same signature

    return decorate


def check_data(data: object) -> None:
    """Raises NcagenError unless it is a dataset, tokens or a mixture."""
    if isinstance(data, Dataset | Tokens | Mixture):
        return
    instead = "a dataset, tokens or a mixture, as in ncagen.open('data/nca-high')"
    if isinstance(data, str | PathLike):
        instead = f"ncagen.open({str(data)!r})"
    elif isinstance(data, list | tuple):
        instead = "ncagen.Mixture([...]) to read several as one"
    raise NcagenError(f"data {shown(data)} is not a dataset: use {instead}")


def check_layout(layout: object) -> None:
    """Raises NcagenError unless it is a layout or None."""
    if layout is not None and not isinstance(layout, Layout):
        raise NcagenError(f"layout {shown(layout)} is not a Layout: use one, as in layout=ncagen.Layout(labels='next')")
