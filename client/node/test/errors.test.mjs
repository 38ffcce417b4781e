import assert from "node:assert/strict";
import { test } from "node:test";
import grpc from "@grpc/grpc-js";
import * as archroute from "../dist/index.js";
import { METHODS } from "../dist/service.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../dist/stubs/google/rpc/error_details_pb.js";
import { fromMilliseconds } from "../dist/duration.js";
import { refusal, serving } from "./fake_server.mjs";

const { Router } = archroute;
const patient = (address) => new Router(address, { timeout: 60_000 });

const CLASSES = {
  CANCELLED: archroute.RequestCancelledError,
  UNKNOWN: archroute.ServerError,
  INVALID_ARGUMENT: archroute.InvalidRequestError,
  DEADLINE_EXCEEDED: archroute.DeadlineExceededError,
  NOT_FOUND: archroute.PolicySetNotFoundError,
  ALREADY_EXISTS: archroute.ServerError,
  PERMISSION_DENIED: archroute.AccessDeniedError,
  RESOURCE_EXHAUSTED: archroute.ResourceExhaustedError,
  FAILED_PRECONDITION: archroute.FailedPreconditionError,
  ABORTED: archroute.ServerError,
  OUT_OF_RANGE: archroute.InvalidRequestError,
  UNIMPLEMENTED: archroute.ProtocolError,
  INTERNAL: archroute.ServerError,
  UNAVAILABLE: archroute.UnavailableError,
  DATA_LOSS: archroute.ServerError,
  UNAUTHENTICATED: archroute.AccessDeniedError,
};

test("every status but OK has an error", () => {
  const names = Object.keys(grpc.status).filter((name) => Number.isNaN(Number(name)) && name !== "OK");
  assert.deepEqual(Object.keys(CLASSES).sort(), names.sort());
});

for (const [name, kind] of Object.entries(CLASSES)) {
  test(`the status ${name}`, async (t) => {
    const { fake, router } = await serving(t, patient);
    fake.answer = () => {
      throw refusal(grpc.status[name], "words of the server");
    };
    await assert.rejects(router.route("Hi"), (error) => {
      assert.equal(error.constructor, kind);
      assert.equal(error.name, kind.name);
      assert.equal(error.code, name);
      assert.match(error.message, /words of the server/);
      return true;
    });
  });
}

test("an error has what the server says of it", async (t) => {
  const { fake, router } = await serving(t, patient);
  const fieldViolations = [{ field: "inline_policies.policies[1].name", description: "is empty" }];
  fake.answer = () => {
    throw refusal(grpc.status.INVALID_ARGUMENT, "wrong", [
      [ErrorInfoSchema, { reason: "INVALID_REQUEST", domain: "archroute" }],
      [BadRequestSchema, { fieldViolations }],
      [RetryInfoSchema, { retryDelay: fromMilliseconds(1500) }],
    ]);
  };
  await assert.rejects(router.route("Hi"), (error) => {
    assert.equal(error.reason, "INVALID_REQUEST");
    assert.deepEqual(error.fieldViolations, fieldViolations);
    assert.equal(error.retryAfter, 1500);
    assert.match(error.message, /\[INVALID_REQUEST\]$/);
    return true;
  });
});

test("details that cannot be parsed are passed over", async (t) => {
  const { fake, router } = await serving(t, patient);
  fake.answer = () => {
    const error = refusal(grpc.status.NOT_FOUND, "no such set");
    error.metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff]));
    throw error;
  };
  await assert.rejects(router.route("Hi"), { name: "PolicySetNotFoundError", reason: "" });
});

test("an answer that cannot be parsed", async (t) => {
  const server = new grpc.Server();
  const raw = { ...METHODS.route, responseSerialize: (bytes) => bytes };
  server.addService({ route: raw }, { route: (_, callback) => callback(null, Buffer.from([0xff, 0xff])) });
  const port = await new Promise((resolve) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, bound) => resolve(bound));
  });
  const router = patient(`127.0.0.1:${port}`);
  t.after(() => {
    router.close();
    server.forceShutdown();
  });
  await assert.rejects(router.route("Hi"), archroute.ProtocolError);
});

test("nobody listens", async (t) => {
  const { fake, router } = await serving(t, patient);
  fake.stop();
  await assert.rejects(router.route("Hi"), (error) => {
    assert.ok(error instanceof archroute.UnavailableError);
    assert.match(error.message, /no archroute server answers at 127\.0\.0\.1:/);
    return true;
  });
});

const secret = "the words of a conversation";
for (const [field, messages, options] of [
  ["messages", { role: "user", content: secret }],
  ["messages[1].role", [{ role: "user", content: secret }, { role: secret, content: "" }]],
  ["messages[0].content", [{ role: "user", content: 7 }]],
  ["messages[0].content[1].text", [{ role: "user", content: [{ type: "text", text: secret }, { type: "text" }] }]],
  ["policySet", secret, { policySet: "a", policies: [] }],
  ["defaultPolicy", secret, { defaultPolicy: "a" }],
  ["topK", secret, { topK: 1.5 }],
  ["topK", secret, { topK: -1 }],
  ["minProbability", secret, { minProbability: 1.1 }],
  ["minProbability", secret, { minProbability: Number.NaN }],
  ["decideBy", secret, { decideBy: 0 }],
  ["timeout", secret, { timeout: 0 }],
]) {
  test(`a request is refused before it is sent: ${field} ${JSON.stringify(options ?? "")}`, async () => {
    const router = new Router("localhost:1");
    await assert.rejects(router.route(messages, options), (error) => {
      assert.ok(error instanceof archroute.InvalidRequestError);
      assert.equal(error.fieldViolations[0].field, field);
      assert.doesNotMatch(error.message, new RegExp(secret));
      return true;
    });
    router.close();
  });
}

for (const address of ["localhost", "localhost:0", "localhost:65536", "http://localhost:50051", "", undefined]) {
  test(`the address ${JSON.stringify(address)} is refused`, () => {
    assert.throws(() => new Router(address), { name: "InvalidRequestError", message: /^address: / });
  });
}

for (const address of ["localhost:50051", "[::1]:50051", "unix:/run/archroute.sock", "dns:///router:50051"]) {
  test(`the address ${address} is accepted`, () => {
    new Router(address).close();
  });
}
