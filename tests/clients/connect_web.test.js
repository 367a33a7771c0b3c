// @connectrpc/connect-web as browsers run it, here on Node's fetch: Connect in both codecs, and gRPC-Web in both.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { contract } from "./contract.js";
import { gateway } from "./schema.js";

const base = { baseUrl: gateway };
contract("connect-web, Connect, JSON", createConnectTransport({ ...base, useBinaryFormat: false }));
contract("connect-web, Connect, proto", createConnectTransport({ ...base, useBinaryFormat: true }));
contract("connect-web, Connect, GET", createConnectTransport({ ...base, useHttpGet: true }));
contract("connect-web, gRPC-Web", createGrpcWebTransport(base));
