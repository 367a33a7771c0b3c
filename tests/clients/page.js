// A page of another origin than the gateway's, that loads connect-web by an import map, as a browser without a bundler does.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const MODULES = new URL("./node_modules", import.meta.url).pathname;
const esm = (name) => `/${name}/dist/esm/`;
const IMPORTS = {
  "@connectrpc/connect": `${esm("@connectrpc/connect")}index.js`,
  "@connectrpc/connect/protocol": `${esm("@connectrpc/connect")}protocol/index.js`,
  "@connectrpc/connect/protocol-connect": `${esm("@connectrpc/connect")}protocol-connect/index.js`,
  "@connectrpc/connect/protocol-grpc-web": `${esm("@connectrpc/connect")}protocol-grpc-web/index.js`,
  "@connectrpc/connect-web": `${esm("@connectrpc/connect-web")}index.js`,
  "@bufbuild/protobuf": `${esm("@bufbuild/protobuf")}index.js`,
  "@bufbuild/protobuf/codegenv2": `${esm("@bufbuild/protobuf")}codegenv2/index.js`,
  "@bufbuild/protobuf/wire": `${esm("@bufbuild/protobuf")}wire/index.js`,
  "@bufbuild/protobuf/wkt": `${esm("@bufbuild/protobuf")}wkt/index.js`,
};
const PAGE = `<!doctype html><meta charset="utf-8"><title>A caller</title><link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module">
import { createClient, ConnectError } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
const bytes = new Uint8Array(await (await fetch("/schema.binpb")).arrayBuffer());
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
const transports = { connect: createConnectTransport, "grpc-web": createGrpcWebTransport };
window.client = (gateway, protocol, service) =>
  createClient(registry.getService(service), transports[protocol]({ baseUrl: gateway }));
window.failure = (promise) => promise.then(() => null, (error) => ConnectError.from(error));
document.title = "ready";
</script>`;

const TYPES = { ".js": "text/javascript", ".binpb": "application/octet-stream" };

export const serve = async (schema) => {
  const server = createServer(async (request, response) => {
    if (request.url === "/") return response.setHeader("content-type", "text/html").end(PAGE);
    const path = request.url === "/schema.binpb" ? schema : join(MODULES, normalize(request.url));
    try {
      const body = await readFile(path);
      response.setHeader("content-type", TYPES[extname(path)] ?? "text/plain").end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
};
