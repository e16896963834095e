"""A profile without its embedding cache, for load whose texts may repeat."""

from typing import Any

from cluster.profile import application, load_profile


def uncached_profile(name: str = "local") -> dict[str, Any]:
    profile = load_profile(name)
    application(profile)["args"]["router"]["embed_cache"] = {"max_bytes": 0}
    return profile
