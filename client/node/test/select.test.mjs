import assert from "node:assert/strict";
import { test } from "node:test";
import grpc from "@grpc/grpc-js";
import { InvalidRequestError, Router } from "../dist/index.js";
import { Outcome } from "../dist/stubs/archroute/v1/router_pb.js";
import { matched, never, refusal, serving } from "./fake_server.mjs";

const defaults = { policy: "general", models: ["mini", "small"] };
const patient = (address) => new Router(address, { timeout: 60_000, defaults });

test("the model of the policy, then its others, then the default ones", async (t) => {
  const { router } = await serving(t, patient);
  const selection = await router.select("Write a loop");
  assert.equal(selection.model, "large");
  assert.deepEqual(selection.alternatives, ["small", "mini"]);
  assert.equal(selection.policy, "code");
  assert.equal(selection.outcome, "routed");
  assert.equal(selection.reason, "answered");
  assert.equal(selection.decision.probability, 0.75);
  assert.equal(selection.error, null);
});

for (const [reason, answer] of [
  ["other", matched("", [], { outcome: Outcome.OTHER })],
  ["low_confidence", matched("", [], { outcome: Outcome.LOW_CONFIDENCE })],
  ["fallback", matched("", [], { outcome: Outcome.FALLBACK })],
  ["unrecognized", matched("code", ["large"], { outcome: 99 })],
  ["no_models", matched("code", [])],
]) {
  test(`an answer without a model: ${reason}`, async (t) => {
    const { fake, router } = await serving(t, patient);
    fake.answer = () => answer;
    const selection = await router.select("Hi");
    assert.equal(selection.model, "mini");
    assert.deepEqual(selection.alternatives, ["small"]);
    assert.equal(selection.policy, "general");
    assert.equal(selection.outcome, "default");
    assert.equal(selection.reason, reason);
    assert.notEqual(selection.decision, null);
    assert.equal(selection.error, null);
  });
}

test("the default policy of a set is a policy", async (t) => {
  const { fake, router } = await serving(t, patient);
  fake.answer = () => matched("review", ["small"], { outcome: Outcome.FALLBACK });
  const { outcome, model, policy } = await router.select("Hi");
  assert.deepEqual({ outcome, model, policy }, { outcome: "routed", model: "small", policy: "review" });
});

for (const [reason, code] of [
  ["access_denied", "UNAUTHENTICATED"],
  ["cancelled", "CANCELLED"],
  ["deadline_exceeded", "DEADLINE_EXCEEDED"],
  ["failed_precondition", "FAILED_PRECONDITION"],
  ["invalid_request", "INVALID_ARGUMENT"],
  ["policy_set_not_found", "NOT_FOUND"],
  ["protocol_error", "UNIMPLEMENTED"],
  ["resource_exhausted", "RESOURCE_EXHAUSTED"],
  ["server_error", "INTERNAL"],
  ["unavailable", "UNAVAILABLE"],
]) {
  test(`a failure of the router is not the caller's: ${reason}`, async (t) => {
    const { fake, router } = await serving(t, patient);
    fake.answer = () => {
      throw refusal(grpc.status[code], "no");
    };
    const selection = await router.select("Hi");
    assert.equal(selection.model, "mini");
    assert.equal(selection.outcome, "default");
    assert.equal(selection.reason, reason);
    assert.equal(selection.error.code, code);
    assert.equal(selection.decision, null);
  });
}

test("neither is a router that does not answer, or is not there", async (t) => {
  const { fake, router } = await serving(t, (address) => new Router(address, { defaults }));
  fake.answer = never;
  assert.equal((await router.select("Hi", { timeout: 20 })).reason, "deadline_exceeded");
  // One that stops may cut a call off, which is told as cancelled; nobody has ever listened here.
  const absent = new Router("localhost:1", { defaults });
  t.after(() => absent.close());
  assert.equal((await absent.select("Hi", { timeout: 60_000 })).reason, "unavailable");
});

test("nor a request that is wrong, a token that cannot be had, or a router that is closed", async () => {
  const token = () => {
    throw new Error("the file of the token is gone");
  };
  const router = new Router("localhost:1", { defaults, token });
  assert.equal((await router.select(7)).reason, "invalid_request");
  const selection = await router.select("Hi");
  assert.equal(selection.reason, "client_error");
  assert.match(selection.error.message, /file of the token/);
  router.close();
  const closed = new Router("localhost:1", { defaults });
  closed.close();
  assert.equal((await closed.select("Hi")).outcome, "default");
});

test("only a router without defaults rejects", async () => {
  const router = new Router("localhost:1");
  await assert.rejects(router.select("Hi"), InvalidRequestError);
  router.close();
  assert.throws(() => new Router("localhost:1", { defaults: { models: [] } }), /defaults\.models/);
});
