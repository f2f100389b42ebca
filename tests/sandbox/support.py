"""A caller in plain `http.client`: it knows nothing of aiohttp, and less of blockusers."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from blockusers.sandbox import Sandbox

NUMBER_ID = "106540352242922"


@attrs.frozen
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int | None:
        """The top-level error code."""
        return self.json.get("error", {}).get("code")

    @property
    def details(self) -> str:
        return self.json["error"]["error_data"]["details"]

    @property
    def added(self) -> list[str]:
        return [row["input"] for row in self.json["block_users"].get("added_users", ())]

    @property
    def failed(self) -> dict[str, int]:
        rows = self.json["block_users"].get("failed_users", ())
        return {row["input"]: row["errors"][0]["code"] for row in rows}

    @property
    def listed(self) -> list[str]:
        return [row.get("wa_id") or row["user_id"] for row in self.json["data"]]

    @property
    def cursors(self) -> dict[str, str]:
        return self.json["paging"]["cursors"]


@attrs.frozen
class Api:
    """Calls a running sandbox."""

    sandbox: Sandbox

    def send(
        self,
        method: str,
        path: str = f"/v25.0/{NUMBER_ID}/block_users",
        body: str | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection(urlsplit(self.sandbox.url).netloc, timeout=2)
        try:
            connection.request(method, path, body, self.token if headers is None else headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get_open(self) -> http.client.HTTPConnection:
        """Ask for the list, and leave the answer to the caller."""
        connection = http.client.HTTPConnection(urlsplit(self.sandbox.url).netloc, timeout=2)
        connection.request("GET", f"/v25.0/{NUMBER_ID}/block_users", headers=self.token)
        return connection

    @property
    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.sandbox.credentials['access_token']}"}

    def wait_for_glitch(self, name: str) -> None:
        """Wait until the sandbox's thread has come so far."""
        deadline = time.monotonic() + 2
        while name not in {seen.glitch for seen in self.sandbox.requests}:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def post(self, *users: str) -> Reply:
        return self.send("POST", body=body_for(*users))

    def delete(self, *users: str) -> Reply:
        return self.send("DELETE", body=body_for(*users))

    def get(self, query: str = "") -> Reply:
        return self.send("GET", f"/v25.0/{NUMBER_ID}/block_users?{query}")

    def walk(self, limit: int) -> list[str]:
        """Follow the cursors to the end."""
        found: list[str] = []
        reply = self.get(f"limit={limit}")
        while reply.listed:
            found += reply.listed
            reply = self.get(f"limit={limit}&after={reply.cursors['after']}")
        return found


def body_for(*users: str) -> str:
    entries = [{"user_id" if "." in user else "user": user} for user in users]
    return json.dumps({"messaging_product": "whatsapp", "block_users": entries})
