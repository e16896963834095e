"""Fields of a model in a profile: those that decide answers, and those that do not."""

from cluster.config import AppConfig
from cluster.profile import application, load_profile


def test_other_names_and_the_cutting_of_texts_leave_vectors_valid() -> None:
    """Stored vectors stay in use when an operator changes them, and replicas need not restart."""
    embedder = AppConfig.model_validate(application(load_profile("local"))["args"]).embedder
    changed = embedder.model_copy(update={"aliases": ("another",), "truncate": "END"})
    assert changed.contract("tokenizer") == embedder.contract("tokenizer")
    assert changed.fingerprint("weights") == embedder.fingerprint("weights")


def test_a_router_and_a_replica_with_other_tokenizers_do_not_exchange_ids() -> None:
    """Without a revision, each may have loaded another commit of the same model."""
    embedder = AppConfig.model_validate(application(load_profile("local"))["args"]).embedder
    assert embedder.contract("one") != embedder.contract("another")


def test_a_new_revision_with_the_same_tokenizer_parts_no_router_from_a_replica() -> None:
    """A rollout replaces Routers and replicas one by one: each version meets the other's."""
    embedder = AppConfig.model_validate(application(load_profile("local"))["args"]).embedder
    engine = embedder.engine.model_copy(update={"revision": "another"})
    changed = embedder.model_copy(update={"engine": engine})
    assert changed.contract("tokenizer") == embedder.contract("tokenizer")
    assert changed.contract("") != embedder.contract(""), "nobody knows its tokenizer"
