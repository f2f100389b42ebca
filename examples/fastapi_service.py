"""A service on FastAPI through which a team blocks, unblocks and looks.

WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=… python examples/fastapi_service.py
curl localhost:8080/blocked --json '["+1 650 555 1234", "0151 2345678"]'
curl localhost:8080/blocked
curl -X DELETE localhost:8080/blocked/16505551234
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from blockusers import Account, BlockUsersError, Client, Incomplete, InvalidUser


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Client]]:
    """Keep one client open as long as the service runs."""
    async with Client(Account.from_env()) as client:
        yield {"client": client}


def get_client(request: Request) -> Client:
    """Return the client that all requests share."""
    client: Client = request.state.client
    return client


Shared = Annotated[Client, Depends(get_client)]
app = FastAPI(title="Who may not write to us", lifespan=lifespan)


@app.post("/blocked")
async def block(users: list[str], client: Shared) -> dict[str, Any]:
    """Block users; say of each what became of it, even if the job ends in the middle."""
    try:
        report, error = await client.block(users), None
    except Incomplete as early:
        report, error = early.report, str(early)
    return {"summary": report.summary(), "error": error, "users": report.to_dicts()}


@app.delete("/blocked/{user}")
async def unblock(user: str, client: Shared) -> dict[str, Any]:
    """Unblock one user."""
    outcome = await client.unblock_one(user)
    return outcome.to_dict()


@app.get("/blocked")
async def blocked(client: Shared) -> list[str | None]:
    """List the blocked users."""
    return [user.wa_id or user.user_id async for user in client.blocked()]


@app.exception_handler(InvalidUser)
async def bad_user(_: Request, error: Exception) -> JSONResponse:
    """Say why an input names nobody."""
    return JSONResponse({"error": str(error)}, status_code=422)


@app.exception_handler(BlockUsersError)
async def bad_gateway(_: Request, error: Exception) -> JSONResponse:
    """Say what Meta said."""
    return JSONResponse({"error": str(error)}, status_code=502)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
