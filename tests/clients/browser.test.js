// A real browser: EventSource, fetch and connect-web from a page of another origin, and the gateway's own pages.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createServer, request as httpRequest } from "node:http";
import { chromium } from "playwright-core";
import { gateway } from "./schema.js";
import { serve } from "./page.js";

const MESH = process.env.MESH_URL;
const WATCH = "/v1/queries/q1:watch";
let browser, page, site;

before(async () => {
  site = await serve(process.env.GWCONF_SET);
  browser = await chromium.launchPersistentContext(process.env.PROFILE, {
    executablePath: process.env.CHROMIUM,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
      "--disable-sync"],
  });
  page = await browser.newPage();
  await page.goto(site.url);
  await page.waitForFunction(() => document.title === "ready");
});
after(async () => {
  await browser?.close();
  site?.close();
});

// A proxy before the gateway that notes each request's headers, and cuts the first answer after its second event.
const cutting = async () => {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push(request.headers["last-event-id"] ?? "");
    const onward = httpRequest(MESH + request.url, { headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      // So that the browser does not wait its 3 s before it comes back.
      if (answer.statusCode === 200) response.write("retry: 50\n\n");
      if (seen.length > 1) return answer.pipe(response);
      let text = "";
      answer.on("data", (chunk) => {
        text += chunk;
        const events = text.split("\n\n");
        if (events.length > 2 && !response.writableEnded) {
          answer.destroy();
          response.end(events.slice(0, 2).join("\n\n") + "\n\n");
        }
      });
    });
    onward.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, seen, close: () => { server.closeAllConnections(); server.close(); } };
};

test("an EventSource comes back with the last id that it saw, misses nothing, and stays away after the end", async () => {
  const proxy = await cutting();
  const got = await page.evaluate(async (url) => {
    const source = new EventSource(url);
    const ids = [];
    // Heartbeats take no number of their own, so that theirs is the last event's.
    source.onmessage = (event) => "heartbeat" in JSON.parse(event.data) || ids.push(event.lastEventId);
    await new Promise((resolve) => { source.onerror = () => source.readyState === EventSource.CLOSED && resolve(); });
    return ids;
  }, proxy.url + WATCH);
  proxy.close();
  const sequences = got.map(Number);
  assert.deepEqual(sequences, [...new Set(sequences)].sort((a, b) => a - b), "each event once, in order");
  assert.equal(sequences[0], 1);
  assert.ok(sequences.length >= 8, `${sequences}`);
  // First without an id, then after the cut, then after the end: that one gets 204.
  assert.deepEqual(proxy.seen, ["", "2", `${sequences.at(-1)}`]);
});

test("an EventSource gets the error of a stream that fails midway as an event of its own", async () => {
  const got = await page.evaluate((url) => new Promise((resolve) => {
    const source = new EventSource(url);
    const ticks = [];
    source.onmessage = (event) => ticks.push(JSON.parse(event.data).n);
    source.addEventListener("error", (event) => {
      if (!event.data) return;
      source.close();
      resolve({ ticks, error: JSON.parse(event.data) });
    });
  }), `${gateway}/v1/count/5?fail_after=2&fail_code=14`);
  assert.deepEqual(got.ticks, [1, 2]);
  assert.equal(got.error.error.status, "UNAVAILABLE");
});

test("an EventSource of what does not exist fails at once and does not come back", async () => {
  const state = await page.evaluate((url) => new Promise((resolve) => {
    const source = new EventSource(url);
    source.onerror = () => resolve(source.readyState);
  }), `${gateway}/v1/nothing`);
  assert.equal(state, 2);
});

test("a page of another origin calls by fetch, with preflight, and reads the headers it may", async () => {
  const got = await page.evaluate(async (url) => {
    const answer = await fetch(`${url}/v1/whole`, {
      method: "POST", headers: { "content-type": "application/json", authorization: "Bearer t", "x-request-id": "abc" },
      body: JSON.stringify({ name: "naïve", i64: "9007199254740993" }),
    });
    const deleted = await fetch(`${url}/v1/many/x`, { method: "DELETE", headers: { "x-mine": "1" } });
    return { reply: await answer.json(), id: answer.headers.get("x-request-id"), deleted: deleted.status };
  }, gateway);
  assert.deepEqual(got.reply.probe, { name: "naïve", i64: "9007199254740993" });
  assert.deepEqual([got.id, got.deleted], ["abc", 200]);
});

test("a page of another origin aborts a stream that it reads", async () => {
  const tag = `browser-${Date.now()}`;
  const state = await page.evaluate(async ([url, tag]) => {
    const abort = new AbortController();
    const answer = await fetch(`${url}/v1/count/1000?pause_ms=20&tag=${tag}`, { headers: { accept: "application/x-ndjson" }, signal: abort.signal });
    const { value } = await answer.body.getReader().read();
    abort.abort();
    for (;;) {
      const journal = await (await fetch(`${url}/v1/journal/${tag}`)).json();
      if (journal.cancelled) return { first: JSON.parse(new TextDecoder().decode(value).split("\n")[0]), journal };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }, [gateway, tag]);
  assert.deepEqual([state.first.n, state.journal.cancelled], [1, 1]);
});

for (const protocol of ["connect", "grpc-web"]) {
  test(`connect-web in the page, ${protocol}: calls, streams, errors and their details`, async () => {
    const got = await page.evaluate(async ([url, protocol]) => {
      const bodies = client(url, protocol, "gwconf.v1.Bodies");
      const streams = client(url, protocol, "gwconf.v1.Streams");
      const trouble = client(url, protocol, "gwconf.v1.Trouble");
      const headers = {};
      const seen = await bodies.whole({ name: "naïve", i64: 5n });
      await trouble.peek({ setHeaders: true }, { headers: { "x-mine": "1" }, onHeader: (got) => Object.assign(headers, Object.fromEntries(got)) });
      const ticks = [];
      for await (const tick of streams.count({ upto: 50, pad: 2000 })) ticks.push(tick.n);
      const error = await failure(trouble.fail({ code: 9, message: "naïve %", details: "errorinfo" }));
      const slow = await failure(trouble.nap({ sleepMs: 15000 }, { timeoutMs: 300 }));
      return {
        name: seen.probe.name, ticks: ticks.length, code: error.code, message: error.rawMessage, details: error.details.length, slow: slow.code,
        backend: headers["x-backend"],
      };
    }, [gateway, protocol]);
    assert.deepEqual({ ...got, backend: null }, {
      name: "naïve", ticks: 50, code: 9, message: "naïve %", details: 1, slow: 4, backend: null,
    });
    // What the service sets is for pages to read too.
    assert.match(got.backend ?? "", /one/);
  });
}

test("the documentation page finds a method, calls it, shows its stream, and asks nobody but the gateway", async () => {
  const [docs, asked, faults] = [await browser.newPage(), [], []];
  docs.on("request", (request) => asked.push(request));
  docs.on("pageerror", (error) => faults.push(error.message));
  docs.on("console", (told) => told.type() === "error" && faults.push(told.text()));
  await docs.goto(`${MESH}/docs`);
  await docs.fill("#auth", "Bearer mine");
  await docs.fill("#find", "watchquery");
  const operation = docs.locator("details.op:visible").first();
  await operation.locator("summary").click();
  await operation.locator('input[aria-label="query"]').fill("q1");
  await operation.locator(".send").click();
  await docs.waitForFunction(() => document.querySelector(".told:not([hidden])")?.textContent.includes("queryEnded"));
  assert.match(await operation.locator(".told").textContent(), /^200 OK/);
  const call = asked.find((request) => request.url().endsWith(WATCH));
  assert.equal(call.headers().authorization, "Bearer mine");
  assert.deepEqual(asked.filter((request) => !request.url().startsWith(MESH)).map((request) => request.url()), []);
  assert.deepEqual(faults.filter((fault) => !fault.includes("favicon")), []);
});
