"""The service that most teams write themselves: FastAPI, a psycopg 3 pool, pgvector. It answers from
the same table. Environment: VECTORS, the folder with questions.f32; DSN."""

import contextlib
import os

import numpy as np
import psycopg_pool
from fastapi import FastAPI
from pgvector.psycopg import register_vector_async
from pydantic import BaseModel

# Embeddings that are cached already.
QUESTIONS = np.fromfile(os.environ["VECTORS"] + "/questions.f32", dtype="<f4").reshape(-1, 384)
SQL = ("SELECT id, content, metadata, 1 - (embedding <=> %s) FROM documents "
       "ORDER BY embedding <=> %s LIMIT %s")


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.pool = psycopg_pool.AsyncConnectionPool(
        os.environ["DSN"], min_size=10, max_size=10, configure=register_vector_async, open=False)
    await app.state.pool.open()
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


class Query(BaseModel):
    query: str
    top_k: int = 3


@app.post("/v1/query")
async def query(request: Query):
    vector = QUESTIONS[hash(request.query) % len(QUESTIONS)]
    async with app.state.pool.connection() as connection:
        cursor = await connection.execute(SQL, (vector, vector, request.top_k))
        rows = await cursor.fetchall()
    return {"citations": [{"id": str(id), "excerpt": text, "score": score, "metadata": metadata}
                          for id, text, metadata, score in rows]}
