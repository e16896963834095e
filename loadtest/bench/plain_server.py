"""The server that a user would write without Winnow: FastAPI in front of sentence-transformers.

Runs in an environment of its own, so it imports nothing of this project. It batches the rows of one
request, never those of several.
"""

import argparse
import asyncio
import base64
import json
from pathlib import Path
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


def search_app(
    embedder: SentenceTransformer, reranker: CrossEncoder, documents: list[str]
) -> FastAPI:
    """Search vectors in memory exhaustively: exact, and fastest for a few documents."""
    app = FastAPI()
    lock = asyncio.Lock()
    vectors = embedder.encode(
        documents, batch_size=64, normalize_embeddings=True, show_progress_bar=False
    )

    def search(query: str, top_k: int, top_n: int) -> list[dict[str, Any]]:
        asked = embedder.encode(query, normalize_embeddings=True, show_progress_bar=False)
        candidates = (vectors @ asked).argsort()[::-1][:top_k].tolist()
        pairs = [(query, documents[i]) for i in candidates]
        scores = reranker.predict(pairs, batch_size=64, show_progress_bar=False)
        best = scores.argsort()[::-1][:top_n].tolist()
        return [
            {"id": str(candidates[i]), "text": pairs[i][1], "relevance_score": float(scores[i])}
            for i in best
        ]

    @app.post("/v1/search")
    async def answer(body: dict[str, Any]) -> JSONResponse:
        async with lock:
            results = await asyncio.to_thread(search, body["query"], body["top_k"], body["top_n"])
        return JSONResponse({"results": results})

    return app


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["embed", "rerank", "search"])
    for path in ("--embedder", "--reranker", "--documents"):
        parser.add_argument(path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", required=True)
    return parser.parse_args()


def _app(options: argparse.Namespace) -> FastAPI:
    kwargs = {"dtype": options.dtype}
    if options.kind == "embed":
        model = SentenceTransformer(options.embedder, device="cpu", model_kwargs=kwargs)
        return embed_app(model)
    reranker = CrossEncoder(options.reranker, device="cpu", model_kwargs=kwargs)
    if options.kind == "rerank":
        return rerank_app(reranker)
    embedder = SentenceTransformer(options.embedder, device="cpu", model_kwargs=kwargs)
    lines = Path(options.documents).read_text().splitlines()
    return search_app(embedder, reranker, [json.loads(line)["text"] for line in lines])


if __name__ == "__main__":
    options = _options()
    torch.set_num_threads(options.threads)
    uvicorn.run(_app(options), port=options.port, log_level="warning")
