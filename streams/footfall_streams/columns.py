"""Rows as parallel columns: what a structured array says, at a tenth of the cost of gathering its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray


class Columns:
    """Columns of one length, by name. `rows["first"]` is a column itself, `rows[places]` a copy of some rows."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = dict(columns)

    @classmethod
    def zeros(cls, length: int, dtype: np.dtype[np.void]) -> Self:
        """Rows of nothing but zeros with the fields of `dtype`."""
        return cls({name: np.zeros(length, dtype[name]) for name in dtype.names or ()})

    @classmethod
    def from_records(cls, records: NDArray[np.void]) -> Self:
        """The rows of a structured array."""
        return cls({name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()})

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Self:
        """The rows of all parts, which have the same columns, one after the other."""
        return cls({name: np.concatenate([part[name] for part in parts]) for name in parts[0]._columns})

    @classmethod
    def sorted_by(cls, name: str, parts: Sequence[Columns]) -> Self:
        """The rows of all parts, by that column; the parts, each of them sorted itself, are used up.

        Column by column, so that there is never a second copy of them all.
        """
        order = np.argsort(np.concatenate([part[name] for part in parts]), kind="stable")
        names = list(parts[0]._columns)
        return cls({name: np.concatenate([part._columns.pop(name) for part in parts])[order] for name in names})

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __iter__(self) -> Iterator[np.void]:
        return iter(self.records())

    @overload
    def __getitem__(self, chosen: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, chosen: NDArray[Any] | slice) -> Self: ...
    def __getitem__(self, chosen: str | NDArray[Any] | slice) -> NDArray[Any] | Self:
        if isinstance(chosen, str):
            return self._columns[chosen]
        if isinstance(chosen, np.ndarray) and chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        return type(self)({name: column[chosen] for name, column in self._columns.items()})

    def __setitem__(self, name: str, values: Any) -> None:
        self._columns[name][:] = values

    def copy(self) -> Self:
        return type(self)({name: column.copy() for name, column in self._columns.items()})

    def records(self, dtype: np.dtype[np.void] | None = None) -> NDArray[np.void]:
        """The rows as a structured array, of the fields of `dtype` if one is given."""
        dtype = dtype or np.dtype([(name, column.dtype) for name, column in self._columns.items()])
        records = np.empty(len(self), dtype)
        for name in dtype.names or ():
            records[name] = self._columns[name]
        return records

    def replace(self, gone: NDArray[np.int64], rows: Columns, places: NDArray[np.int64]) -> None:
        """Drop the rows at `gone`, and put `rows` in before those `places` (ascending) of what remains.

        Column by column, so that there is never a second copy of them all.
        """
        if not len(gone) and not len(rows):
            return
        total = len(self) - len(gone) + len(rows)
        new = np.zeros(total, bool)
        new[places + np.arange(len(rows))] = True
        source = np.empty(total, np.int64)
        source[new] = len(self) + np.arange(len(rows))
        source[~new] = np.delete(np.arange(len(self)), gone)
        for name in self._columns:
            self._columns[name] = np.concatenate([self._columns[name], rows[name]])[source]

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop the rows where `mask` is False, column by column likewise."""
        places = np.flatnonzero(mask)
        for name in self._columns:
            self._columns[name] = self._columns[name][places]

    def take(self, places: NDArray[np.int64]) -> Self:
        """Take out the rows at these places."""
        taken = self[places]
        if len(places):
            mask = np.ones(len(self), bool)
            mask[places] = False
            self.keep(mask)
        return taken
