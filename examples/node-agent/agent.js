// An agent in Node over plain gRPC: tells which documents the answer's passages came from.
//
//   node agent.js MESH_ADDRESS [LISTEN_ADDRESS]
"use strict";
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const PROTO = process.env.ANSWERMESH_PROTO || path.join(__dirname, "..", "..", "proto");
const definition = loader.loadSync(["answermesh/v1/agent_service.proto", "answermesh/v1/mesh_service.proto"], {
  includeDirs: [PROTO],
  keepCase: true,
  enums: String,
  longs: String,
  defaults: true,
});
const v1 = grpc.loadPackageDefinition(definition).answermesh.v1;

const card = {
  agent: "coverage",
  version: "1",
  description: "Tells which documents the passages came from.",
  consumes: [{ kind: "KIND_PASSAGE" }],
  produces: ["KIND_NOTE"],
  idempotent: true,
};

// One query: passages come in while they are found; the half-close says that no more will come.
function run(call) {
  const passages = new Map();
  let started = false;
  call.on("data", (request) => {
    if (!started && !request.start) {
      call.emit("error", { code: grpc.status.INVALID_ARGUMENT, details: "start: is missing; send it first." });
      return;
    }
    started = true;
    for (const { passage } of request.findings || []) passages.set(passage.name, passage);
  });
  call.on("end", () => {
    if (passages.size > 0) call.write({ findings: [{ id: "coverage", note: note([...passages.values()]) }] });
    call.end();
  });
}

function note(passages) {
  const counts = new Map();
  for (const { document_title, uri } of passages) {
    const title = document_title || uri;
    counts.set(title, (counts.get(title) || 0) + 1);
  }
  const listed = [...counts].sort((a, b) => b[1] - a[1]).map(([title, count]) => `${title} (${count})`);
  return { label: "coverage", text: `${passages.length} passages read, from: ${listed.join(", ")}.`.slice(0, 4000) };
}

// The lease: registered while the stream is open and beats; after a break, again, ever more slowly.
function register(address, target, waitMs = 250) {
  const mesh = new v1.MeshService(address, grpc.credentials.createInsecure());
  const lease = mesh.RegisterAgent();
  let beat;
  let held = false;
  lease.on("data", (answer) => {
    if (!held) console.log(`registered as ${answer.name} at target ${target}`);
    held = true;
    const { seconds, nanos } = answer.lease_duration;
    clearTimeout(beat);
    beat = setTimeout(() => lease.write({}), (Number(seconds) * 1000 + nanos / 1e6) / 3);
  });
  lease.on("end", () => {});
  lease.on("error", () => {});
  lease.on("status", (status) => {
    clearTimeout(beat);
    mesh.close();
    if ([grpc.status.INVALID_ARGUMENT, grpc.status.FAILED_PRECONDITION].includes(status.code)) {
      console.error(`the mesh refuses the agent: ${status.details}`);
      process.exit(1);
    }
    const next = held ? 250 : Math.min(waitMs * 2, 10000);
    setTimeout(() => register(address, target, next), next * (0.5 + Math.random() / 2));
  });
  lease.write({ target, card });
}

const [address, listen = "127.0.0.1:0"] = process.argv.slice(2);
if (!address) {
  console.error("usage: node agent.js MESH_ADDRESS [LISTEN_ADDRESS]");
  process.exit(2);
}
const server = new grpc.Server();
server.addService(v1.AgentService.service, { GetCard: (_, answer) => answer(null, { card }), Run: run });
server.bindAsync(listen, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  register(address, `${listen.replace(/:\d+$/, "")}:${port}`);
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    server.forceShutdown();
    process.exit(0);
  });
}
