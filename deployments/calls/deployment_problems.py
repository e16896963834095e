"""Why a deployment lacks a replica, as Serve's controller has it."""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context

from ray import serve

from deployments.calls.failure_reasons import hides_failure, is_problem, reason

logger = logging.getLogger(__name__)

_TIMEOUT_S = 1.0


class DeploymentProblems:
    """`stages` maps the names to answer with to those of this application's deployments."""

    def __init__(self, stages: Mapping[str, str]) -> None:
        self._stages = dict(stages)
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self._known: dict[str, str] = {}
        self._is_away = False

    async def __call__(self) -> dict[str, str]:
        """Return the reason of each stage that has a problem; none while the controller is away,
        for which only the first who asks waits a second.

        Serve says why a constructor failed as soon as one has, and goes on trying; what it said is
        kept while the next one takes long.
        """
        if self._is_away:
            return {}
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                messages = await asyncio.shield(self._messages())
        except TimeoutError:
            logger.warning("Serve's controller does not answer: what keeps a stage is not known")
            self._is_away = self._asking is not None
            return {}
        except Exception:  # whatever Ray raises
            logger.exception("Serve does not say what keeps a stage from being ready")
            return {}
        return {
            stage: reason(messages[deployment])
            for stage, deployment in self._stages.items()
            if deployment in messages
        }

    def _messages(self) -> asyncio.Task[dict[str, str]]:
        """Ask, or share the answer of who asks already: Ray waits for a controller that is away
        without an end, and each wait holds a thread."""
        if self._asking is None:
            asking = asyncio.get_running_loop().create_task(
                asyncio.to_thread(_messages, self._known), context=Context()
            )
            asking.add_done_callback(self._asked)
            self._asking = asking
        return self._asking

    def _asked(self, asking: asyncio.Task[dict[str, str]]) -> None:
        self._asking, self._is_away = None, False
        # Seen, even if whoever asked is gone.
        if not asking.cancelled() and not asking.exception():
            self._known = asking.result()


def _messages(known: Mapping[str, str]) -> dict[str, str]:
    """Serve's messages of deployments with a problem; `known` are those of the last time."""
    application = serve.status().applications[serve.get_replica_context().app_name]
    messages = {}
    for name, deployment in application.deployments.items():
        if is_problem(deployment.status, deployment.message):
            messages[name] = deployment.message
        elif hides_failure(deployment.status, deployment.message, known.get(name, "")):
            messages[name] = known[name]
    return messages
