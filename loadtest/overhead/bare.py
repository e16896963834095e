"""The least that answers a search over HTTP: FastAPI under uvicorn with nothing behind it."""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from loadtest.overhead.answer import ANSWER

app = FastAPI()


@app.post("/search")
async def search(body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return ANSWER


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
