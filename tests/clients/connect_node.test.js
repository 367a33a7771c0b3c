// @connectrpc/connect-node over HTTP/1.1: Connect in both codecs, by POST and GET, compressed; and gRPC-Web.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { createConnectTransport as createWebTransport } from "@connectrpc/connect-web";
import { clientStreams, contract } from "./contract.js";
import { gateway, load, service } from "./schema.js";

const base = { baseUrl: gateway, httpVersion: "1.1" };
const transports = {
  "connect-node, Connect, proto": createConnectTransport({ ...base, useBinaryFormat: true }),
  "connect-node, Connect, JSON": createConnectTransport({ ...base, useBinaryFormat: false }),
  "connect-node, Connect, gzip": createConnectTransport({ ...base, sendCompression: compressionGzip, compressMinBytes: 0 }),
  "connect-node, gRPC-Web": createGrpcWebTransport(base),
  "connect-node, gRPC-Web, gzip": createGrpcWebTransport({ ...base, sendCompression: compressionGzip, compressMinBytes: 0 }),
};
for (const [name, transport] of Object.entries(transports)) {
  contract(name, transport);
  clientStreams(name, transport);
}

// answermesh declares reads as free of side effects, so that the client may send them by GET.
const mesh = load(process.env.MESH_SET);
for (const useBinaryFormat of [true, false]) {
  test(`a read goes by GET, ${useBinaryFormat ? "proto" : "JSON"}`, async () => {
    const methods = [];
    // Only connect-web's transport lets one see by which method it calls.
    const client = createClient(mesh.getService("answermesh.v1.QueryService"), createWebTransport({
      baseUrl: process.env.MESH_URL, useBinaryFormat, useHttpGet: true,
      fetch: (url, init) => (methods.push(init.method), fetch(url, init)),
    }));
    const { query } = await client.getQuery({ name: "queries/q1" });
    assert.equal(query.name, "queries/q1");
    assert.deepEqual(methods, ["GET"]);
    const { queries } = await client.listQueries({ pageSize: 5 });
    assert.equal(queries.length, 1);
  });
}

test("the events of an answer arrive one by one", async () => {
  const client = createClient(mesh.getService("answermesh.v1.QueryService"), createConnectTransport({
    baseUrl: process.env.MESH_URL, httpVersion: "1.1",
  }));
  const sequences = [];
  for await (const { event } of client.watchQuery({ name: "queries/q1", afterSequence: 2n })) sequences.push(Number(event.sequence));
  assert.equal(sequences[0], 3);
  assert.deepEqual(sequences, sequences.toSorted((a, b) => a - b));
});

test("a GET that fails has the service's error", async () => {
  const client = createClient(mesh.getService("answermesh.v1.QueryService"), createConnectTransport({
    baseUrl: process.env.MESH_URL, httpVersion: "1.1", useHttpGet: true,
  }));
  await assert.rejects(client.getQuery({ name: "queries/none" }), { rawMessage: /queries\/none/, code: 5 });
});
