"""Overlays: a profile that is another one but for what it says itself (`extends`).

Only what differs is written down, so that the two cannot drift apart. Knows no fields: what comes
of it is checked as any profile is.
"""

from typing import Any

Path = tuple[str, ...]


class OverlayError(Exception):
    """The overlay does not fit what it extends; names the place."""


def overlaid(base: Any, overlay: Any, at: Path = ()) -> Any:
    """Return `base` with the values of `overlay`; neither is changed.

    Mappings are merged key by key, and lists of named mappings by `name`; null and all else
    replaces what is there. Raises OverlayError for a name that `base` has not, and for a value of
    another kind in place of a mapping or of named mappings.
    """
    if isinstance(base, dict) and isinstance(overlay, dict):
        return base | {
            key: overlaid(base[key], value, (*at, str(key))) if key in base else value
            for key, value in overlay.items()
        }
    if _is_named(base) and overlay is not None:
        if not _is_named(overlay):
            raise OverlayError(f"{'.'.join(at)}: give a list of mappings that each have a name")
        return _by_name(base, overlay, at)
    if isinstance(base, dict) and overlay is not None:
        raise OverlayError(f"{'.'.join(at)}: give a mapping, not {overlay!r}")
    return overlay


def _is_named(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "name" in one for one in value)
    )


def _by_name(base: list[Any], overlay: list[Any], at: Path) -> list[Any]:
    changes = {one["name"]: one for one in overlay}
    names = [one["name"] for one in base]
    for name in changes:
        if name not in names:
            raise OverlayError(
                f"{'.'.join((*at, str(name)))}: what is extended has only {', '.join(names)}"
            )
    return [overlaid(one, changes.get(one["name"], {}), (*at, str(one["name"]))) for one in base]


def differences(base: Any, other: Any, at: Path = ()) -> set[str]:
    """Return the dotted paths at which `other` is not `base`, named entries by their name."""
    if isinstance(base, dict) and isinstance(other, dict):
        pairs = {key: (base.get(key), other.get(key)) for key in base.keys() | other.keys()}
    elif _is_named(base) and _is_named(other):
        mine, others = ({one["name"]: one for one in each} for each in (base, other))
        pairs = {key: (mine.get(key), others.get(key)) for key in mine.keys() | others.keys()}
    else:
        return set() if base == other else {".".join(at)}
    return {
        path
        for key, (one, another) in pairs.items()
        for path in differences(one, another, (*at, str(key)))
    }
