// The grpc-web client of Google, in Node over xhr2: binary and text, unary and server streams, errors, deadlines.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { gateway, message, rpcMessage } from "./schema.js";

const require = createRequire(import.meta.url);
globalThis.XMLHttpRequest = require("xhr2");
const { GrpcWebClientBase, MethodDescriptor, MethodType } = require("grpc-web");

const method = (path, type, input, output) =>
  new MethodDescriptor(path, type, Object, Object,
    (request) => toBinary(message(input), create(message(input), request)), (bytes) => fromBinary(message(output), bytes));
const unary = (name, input, output) => method(`/gwconf.v1.${name}`, MethodType.UNARY, input, output);
const WHOLE = unary("Bodies/Whole", "Probe", "Seen");
const FAIL = unary("Trouble/Fail", "FailRequest", "FailRequest");
const PEEK = unary("Trouble/Peek", "PeekRequest", "PeekReply");
const NAP = unary("Trouble/Nap", "PeekRequest", "PeekReply");
const COUNT = method("/gwconf.v1.Streams/Count", MethodType.SERVER_STREAMING, "CountRequest", "Tick");
const call = (client, descriptor, request, metadata = {}) =>
  client.unaryCall(gateway + descriptor.getName(), request, metadata, descriptor);

const read = (client, request) => new Promise((resolve) => {
  const seen = { ticks: [], error: null, status: null, metadata: null };
  client.serverStreaming(gateway + COUNT.getName(), request, {}, COUNT)
    .on("data", (tick) => seen.ticks.push(tick.n))
    .on("metadata", (metadata) => { seen.metadata = metadata; })
    .on("status", (status) => { seen.status = status; })
    .on("error", (error) => { seen.error = error; resolve(seen); })
    .on("end", () => resolve(seen));
});

for (const format of ["text", "binary"]) {
  const client = new GrpcWebClientBase({ format });

  test(`grpc-web, ${format}: a message comes back as it was sent`, async () => {
    const seen = await call(client, WHOLE, { name: "naïve 世界", i64: 9007199254740993n, blob: new Uint8Array([0, 251, 255]) });
    assert.deepEqual([seen.rpc, seen.probe.name, seen.probe.i64], ["Whole", "naïve 世界", 9007199254740993n]);
    assert.deepEqual([...seen.probe.blob], [0, 251, 255]);
  });

  test(`grpc-web, ${format}: metadata goes both ways`, async () => {
    const reply = await call(client, PEEK, { setHeaders: true }, { "x-mine": "hello", deadline: `${Date.now() + 20000}` });
    assert.equal(reply.headers["x-mine"], "hello");
    assert.ok(reply.remainingMs > 1000n && reply.remainingMs <= 20200n, `${reply.remainingMs}`);
  });

  test(`grpc-web, ${format}: an error has its code, message and details`, async () => {
    const error = await call(client, FAIL, { code: 9, message: "naïve %", details: "many" }).then(() => assert.fail(), (got) => got);
    assert.deepEqual([error.code, error.message], [9, "naïve %"]);
    const status = fromBinary(rpcMessage("Status"), Buffer.from(error.metadata["grpc-status-details-bin"], "base64"));
    assert.equal(status.details.length, 3);
  });

  test(`grpc-web, ${format}: a deadline ends the call`, async () => {
    const error = await call(client, NAP, { sleepMs: 15000 }, { deadline: `${Date.now() + 400}` }).then(() => assert.fail(), (got) => got);
    assert.equal(error.code, 4);
  });
}

// Only the text format streams in this client: binary XHR gives nothing before the end.
const text = new GrpcWebClientBase({ format: "text" });

test("grpc-web, text: a server stream arrives whole", async () => {
  const seen = await read(text, { upto: 200, pad: 100 });
  assert.equal(seen.error, null);
  assert.deepEqual(seen.ticks, Array.from({ length: 200 }, (_, index) => index + 1));
  assert.equal(seen.status.code, 0);
});

test("grpc-web, text: a stream that fails midway gives its messages, then its error", async () => {
  const seen = await read(text, { upto: 5, failAfter: 2, failCode: 14 });
  assert.deepEqual(seen.ticks, [1, 2]);
  assert.deepEqual([seen.error.code, seen.error.message], [14, "stream broke"]);
});
