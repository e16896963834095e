"""The server that a user would write: FastAPI in front of sentence-transformers.

Runs in an environment of its own, so it imports nothing of this project. A batch is what one
request holds.
"""

import argparse
import asyncio
import base64
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sentence_transformers import CrossEncoder, SentenceTransformer


def embed_app(model: SentenceTransformer) -> FastAPI:
    app = FastAPI()
    lock = asyncio.Lock()

    @app.post("/v1/embeddings")
    async def embeddings(body: dict[str, Any]) -> JSONResponse:
        async with lock:
            vectors = await asyncio.to_thread(
                model.encode, body["input"], batch_size=64, show_progress_bar=False
            )
        data = [
            {"object": "embedding", "index": i, "embedding": base64.b64encode(v).decode()}
            for i, v in enumerate(vectors)
        ]
        return JSONResponse({"object": "list", "data": data})

    return app


def rerank_app(model: CrossEncoder) -> FastAPI:
    app = FastAPI()
    lock = asyncio.Lock()

    @app.post("/v1/rerank")
    async def rerank(body: dict[str, Any]) -> JSONResponse:
        pairs = [(body["query"], document) for document in body["documents"]]
        async with lock:
            scores = await asyncio.to_thread(
                model.predict, pairs, batch_size=64, show_progress_bar=False
            )
        order = scores.argsort()[::-1].tolist()
        results = [{"index": i, "relevance_score": float(scores[i])} for i in order]
        return JSONResponse({"results": results})

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["embed", "rerank"])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kwargs = {"dtype": options.dtype}
    if options.kind == "embed":
        app = embed_app(SentenceTransformer(options.model, device="cpu", model_kwargs=kwargs))
    else:
        app = rerank_app(CrossEncoder(options.model, device="cpu", model_kwargs=kwargs))
    uvicorn.run(app, port=options.port, log_level="warning")
