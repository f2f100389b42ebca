// A bot in another language behind the guard. It knows nothing of the deny list: the guard passes
// Meta's webhooks on as they came, signature included, and blocks whoever is denied.
//
//     PORT=3000 WHATSAPP_APP_SECRET=… node examples/behind_guard.mjs &
//     blockusers guard --forward http://127.0.0.1:3000/ --store deny.db --drop-denied
//
// With --drop-denied it does not even see their messages; what is left is signed anew.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import process from "node:process";

const secret = process.env.WHATSAPP_APP_SECRET;

function isFromMeta(body, signature = "") {
  const expected = "sha256=" + createHmac("sha256", secret).update(body).digest("hex");
  const [given, right] = [Buffer.from(signature), Buffer.from(expected)];
  return given.length === right.length && timingSafeEqual(given, right);
}

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (!isFromMeta(body, request.headers["x-hub-signature-256"])) {
    response.writeHead(401).end();
    return;
  }
  for (const entry of JSON.parse(body).entry ?? []) {
    for (const { value } of entry.changes ?? []) {
      for (const message of value?.messages ?? []) {
        console.log("to answer:", message.text?.body);
      }
    }
  }
  response.end("ok");
}).listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
