// The messages and services of the two upstreams, from descriptor sets that the test run has made: no generated code.
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

export const load = (path) => createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(path)));

// Where the gateway before the service of the transcoding cases listens, and that service's schema.
export const gateway = process.env.GWCONF_URL;
export const registry = load(process.env.GWCONF_SET);
export const service = (name) => registry.getService(`gwconf.v1.${name}`);
export const message = (name) => registry.getMessage(`gwconf.v1.${name}`);
const errors = load(process.env.ERRORS_SET);
export const rpcMessage = (name) => errors.getMessage(`google.rpc.${name}`);

export const collect = async (stream) => {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
};

// What the service says of the calls that had this tag: how many started, finished and were cancelled.
export const journal = async (tag) => (await fetch(`${gateway}/v1/journal/${tag}`)).json();

// Asks until the service has seen the cancellation; the test runner's own time limit bounds it.
export const untilCancelled = async (tag) => {
  while (!(await journal(tag)).cancelled) await new Promise((resolve) => setTimeout(resolve, 20));
};
