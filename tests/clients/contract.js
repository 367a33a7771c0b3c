// What every client of @connectrpc/connect must see through the gateway, whichever transport carries it.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { collect, rpcMessage, service, untilCancelled } from "./schema.js";

const failure = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("the call succeeded");
};

// An iterable for client streams.
export async function* each(...items) {
  yield* items;
}

export const contract = (name, transport) => {
  const of = (service_) => createClient(service(service_), transport);
  const bodies = of("Bodies");
  const streams = of("Streams");
  const trouble = of("Trouble");

  test(`${name}: a message of every kind of field comes back as it was sent`, async () => {
    const probe = {
      name: "naïve 世界", i64: -(2n ** 63n), u64: 2n ** 64n - 1n, dbl: 0.1, flag: true, blob: new Uint8Array([0, 255]), hue: 3,
      nest: { label: "a", child: { depth: 2 } }, longs: [9007199254740993n], labels: { k: "v" }, slots: { [-3]: { label: "m" } },
      wStr: "", wI64: 5n, maybeNum: 0, pick: { case: "pickNum", value: 0 }, info: { a: 1, b: [true, null] },
      ts: { seconds: 1709209845n, nanos: 120000000 },
    };
    const { probe: seen, rpc } = await bodies.whole(probe);
    assert.equal(rpc, "Whole");
    for (const field of Object.keys(probe).filter((key) => !["nest", "slots", "ts"].includes(key)))
      assert.deepEqual(seen[field], probe[field], field);
    assert.equal(seen.nest.child.depth, 2);
    assert.equal(seen.slots[-3].label, "m");
    assert.equal(seen.ts.nanos, 120000000);
  });

  test(`${name}: headers reach the service, its metadata and trailers the client`, async () => {
    const [headers, trailers] = [{}, {}];
    const reply = await trouble.peek(
      { setHeaders: true },
      {
        headers: { "x-mine": "hello", "x-key-bin": "AP8" },
        onHeader: (got) => Object.assign(headers, Object.fromEntries(got)),
        onTrailer: (got) => Object.assign(trailers, Object.fromEntries(got)),
      },
    );
    assert.equal(reply.headers["x-mine"], "hello");
    assert.equal(reply.headers["x-key-bin"], "hex:00ff");
    assert.match(headers["x-backend"], /^one, ?two$/);
    assert.equal(headers["x-blob-bin"].replace(/=+$/, ""), "AP8");
    assert.equal(trailers["x-tail"], "end");
  });

  test(`${name}: every code, its message and its details arrive`, async () => {
    for (let code = 1; code <= 16; code++) {
      const error = await failure(trouble.fail({ code, message: `naïve % ${code}`, details: "many" }));
      assert.equal(error.code, code, Code[code]);
      assert.equal(error.rawMessage, `naïve % ${code}`);
      const [info] = error.findDetails(rpcMessage("ErrorInfo"));
      assert.equal(info.reason, "STOCKOUT");
      assert.equal(info.metadata.zone, "z1");
      assert.equal(error.findDetails(rpcMessage("BadRequest"))[0].fieldViolations[0].field, "probe.name");
    }
  });

  test(`${name}: a detail of a type that nobody knows stays`, async () => {
    const error = await failure(trouble.fail({ code: 9, message: "odd", details: "unknown" }));
    assert.equal(error.details.length, 1);
    assert.match(error.details[0].type, /NotInThePool$/);
    assert.deepEqual([...error.details[0].value], [8, 1]);
  });

  test(`${name}: a timeout ends the call at the service too`, async () => {
    const tag = randomUUID();
    const error = await failure(trouble.nap({ sleepMs: 15000, tag }, { timeoutMs: 300 }));
    assert.equal(error.code, Code.DeadlineExceeded);
    await untilCancelled(tag);
    const { remainingMs } = await trouble.peek({}, { timeoutMs: 20000 });
    // gRPC rounds timeouts up by as much as a hundredth.
    assert.ok(remainingMs > 1000n && remainingMs <= 20200n, `${remainingMs}`);
  });

  test(`${name}: aborting cancels the call at the service`, async () => {
    const [tag, abort] = [randomUUID(), new AbortController()];
    const call = failure(trouble.nap({ sleepMs: 15000, tag }, { signal: abort.signal }));
    setTimeout(() => abort.abort(), 200);
    assert.equal((await call).code, Code.Canceled);
    await untilCancelled(tag);
  });

  test(`${name}: a server stream arrives whole and in order`, async () => {
    const ticks = await collect(streams.count({ upto: 500, pad: 300 }));
    assert.deepEqual(ticks.map((tick) => tick.n), Array.from({ length: 500 }, (_, index) => index + 1));
    assert.equal(ticks[0].big, 9007199254740993n);
    assert.deepEqual(await collect(streams.count({ upto: 0 })), []);
  });

  test(`${name}: messages arrive while the stream still runs, which ends at the service when it is aborted`, async () => {
    const [tag, abort, seen] = [randomUUID(), new AbortController(), []];
    const reading = async () => {
      for await (const tick of streams.count({ upto: 1000, pauseMs: 20, tag }, { signal: abort.signal }))
        if (seen.push(tick.n) === 3) abort.abort();
    };
    assert.equal((await failure(reading())).code, Code.Canceled);
    assert.ok(seen.length < 50);
    await untilCancelled(tag);
  });

  test(`${name}: a stream that fails midway gives its messages, then its error`, async () => {
    const seen = [];
    const reading = async () => {
      for await (const tick of streams.count({ upto: 5, failAfter: 2, failCode: 14 })) seen.push(tick.n);
    };
    const error = await failure(reading());
    assert.deepEqual([error.code, error.rawMessage], [Code.Unavailable, "stream broke"]);
    assert.deepEqual(seen, [1, 2]);
    const early = await failure(collect(streams.count({ upto: 0, failCode: 5 })));
    assert.equal(early.code, Code.NotFound);
  });

  test(`${name}: a method that the service does not implement says so`, async () => {
    assert.equal((await failure(trouble.missing({}))).code, Code.Unimplemented);
  });

  test(`${name}: a large message passes both ways`, async () => {
    const { got, text } = await trouble.size({ size: 3_000_000, text: "z".repeat(2_000_000) });
    assert.deepEqual([got, text.length], [2_000_000, 3_000_000]);
  });
};

// Only transports whose requests stream can do these.
export const clientStreams = (name, transport) => {
  const streams = createClient(service("Streams"), transport);

  test(`${name}: a client stream is counted to its last message`, async () => {
    const tally = await streams.gather(each({ n: 1, text: "a" }, { n: 2, text: "b" }, { n: 39 }));
    assert.deepEqual([tally.count, tally.sum, tally.texts], [3, 42n, ["a", "b"]]);
    assert.equal((await streams.gather(each())).count, 0);
  });

  test(`${name}: both directions may stream, requests first as HTTP/1.1 has it`, async () => {
    const ticks = await collect(streams.chat(each({ n: 1, text: "a" }, { n: 2, text: "b" })));
    assert.deepEqual(ticks.map((tick) => tick.text), ["A", "B"]);
  });
};
