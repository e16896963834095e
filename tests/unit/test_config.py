"""What a profile says of a model: what of it decides answers, and what does not."""

from cluster.config import AppConfig
from cluster.profile import application, load_profile


def test_other_names_and_the_cutting_of_texts_leave_vectors_valid() -> None:
    """Stored vectors stay in use when an operator changes them, and replicas need not restart."""
    embedder = AppConfig.model_validate(application(load_profile("local"))["args"]).embedder
    changed = embedder.model_copy(update={"aliases": ("another",), "truncate": "END"})
    assert changed.contract() == embedder.contract()
    assert changed.fingerprint("weights") == embedder.fingerprint("weights")
