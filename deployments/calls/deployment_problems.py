"""Why a deployment lacks a replica, as Serve's controller has it."""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context

from ray import serve

from deployments.calls.failure_reasons import is_problem, reason

logger = logging.getLogger(__name__)

_TIMEOUT_S = 1.0


class DeploymentProblems:
    """`stages` maps the names to answer with to those of this application's deployments."""

    def __init__(self, stages: Mapping[str, str]) -> None:
        self._stages = dict(stages)
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self._is_away = False

    async def __call__(self) -> dict[str, str]:
        """Return the reason of each stage that has a problem; none while the controller is away,
        for which only the first who asks waits a second.

        Serve says why a constructor failed as soon as one has, and goes on trying.
        """
        if self._is_away:
            return {}
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                messages = await asyncio.shield(self._messages())
        except Exception:  # whatever Ray raises
            logger.exception("Serve does not say what keeps a stage from being ready")
            self._is_away = self._asking is not None
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
                asyncio.to_thread(_messages), context=Context()
            )
            asking.add_done_callback(self._asked)
            self._asking = asking
        return self._asking

    def _asked(self, asking: asyncio.Task[dict[str, str]]) -> None:
        self._asking, self._is_away = None, False
        if not asking.cancelled():
            asking.exception()  # seen, even if whoever asked is gone


def _messages() -> dict[str, str]:
    application = serve.status().applications[serve.get_replica_context().app_name]
    return {
        name: deployment.message
        for name, deployment in application.deployments.items()
        if is_problem(deployment.status, deployment.message)
    }
