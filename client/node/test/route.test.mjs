import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import grpc from "@grpc/grpc-js";
import * as archroute from "../dist/index.js";
import { fromMilliseconds, toMilliseconds } from "../dist/duration.js";
import {
  FallbackReason,
  GetPolicySetResponseSchema,
  ListPolicySetsResponseSchema,
  Outcome,
  Role,
} from "../dist/stubs/archroute/v1/router_pb.js";
import { matched, never, refusal, serving } from "./fake_server.mjs";

const { Router } = archroute;
const PATIENT = { timeout: 60_000 };
const patient = (address) => new Router(address, PATIENT);

test("the package has the version that it says", async () => {
  const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url)));
  assert.equal(archroute.VERSION, manifest.version);
});

test("what is exported is the interface", () => {
  assert.deepEqual(Object.keys(archroute), [
    "AccessDeniedError",
    "ArchrouteError",
    "DEFAULT_TIMEOUT",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InvalidRequestError",
    "PolicySetNotFoundError",
    "ProtocolError",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "Router",
    "ServerError",
    "UnavailableError",
    "VERSION",
  ]);
});

test("a conversation goes over the wire as OpenAI writes it", async (t) => {
  const { fake, router } = await serving(t, patient);
  await router.route(
    [
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "What is this?" }, { type: "image_url", image_url: {} }] },
      { role: "function", content: null },
    ],
    { policySet: "coding", topK: 3, minProbability: 0.5, sessionId: "s1", decideBy: 1500.25 },
  );
  const [request] = fake.requests;
  assert.deepEqual(request.messages.map(({ role }) => role), [Role.SYSTEM, Role.USER, Role.TOOL]);
  const [text, image] = request.messages[1].parts;
  assert.equal(text.content.value, "What is this?");
  assert.equal(image.content.case, undefined);
  assert.deepEqual(request.messages[2].parts, []);
  assert.deepEqual(request.policies, { case: "policySet", value: "coding" });
  assert.equal(request.options.topK, 3);
  assert.equal(request.options.minProbability, 0.5);
  assert.equal(toMilliseconds(request.options.decideBy), 1500.25);
  assert.equal(request.sessionId, "s1");
});

test("policies can travel with the request, even none", async (t) => {
  const { fake, router } = await serving(t, patient);
  const policies = [{ name: "code", description: "Programs", models: ["large"] }, { name: "talk", description: "Talk" }];
  await router.route("Hi", { policies, defaultPolicy: "talk" });
  await router.route("Hi", { policies: [] });
  const [some, none] = fake.requests.map(({ policies }) => policies);
  assert.deepEqual(some.value.policies.map(({ name, description, models }) => [name, description, models]), [
    ["code", "Programs", ["large"]],
    ["talk", "Talk", []],
  ]);
  assert.equal(some.value.defaultPolicy, "talk");
  assert.equal(none.case, "inlinePolicies");
});

test("an answer is plain values", async (t) => {
  const { fake, router } = await serving(t, patient);
  fake.answer = ({ sessionId }) =>
    matched("code", ["large"], {
      ranking: [{ policy: "code", probability: 0.75 }, { policy: "other", probability: 0.25 }],
      revisions: { bundleDigest: "sha256:0", policySet: "coding", provider: "cpu" },
      tokens: { promptTokens: 120, cachedTokens: 100, forwardPasses: 1 },
      timings: { total: fromMilliseconds(40.5) },
      sessionId,
      fromDecisionCache: true,
    });
  const decision = await router.route("Hi", { sessionId: "s1" });
  assert.equal(decision.outcome, "matched");
  assert.equal(decision.policy, "code");
  assert.deepEqual(decision.models, ["large"]);
  assert.deepEqual(decision.ranking, [{ policy: "code", probability: 0.75 }, { policy: "other", probability: 0.25 }]);
  assert.equal(decision.revisions.policySet, "coding");
  assert.equal(decision.revisions.temperature, null);
  assert.equal(decision.tokens.cachedTokens, 100);
  assert.equal(decision.timings.total, 40.5);
  assert.equal(decision.sessionId, "s1");
  assert.equal(decision.fromDecisionCache, true);
});

for (const [outcome, expected] of [
  [Outcome.OTHER, { outcome: "other", policy: null, models: [], fallbackReason: "" }],
  [Outcome.LOW_CONFIDENCE, { outcome: "low_confidence", policy: null, models: [], fallbackReason: "" }],
  [Outcome.FALLBACK, { outcome: "fallback", policy: "code", models: ["large"], fallbackReason: "decide_by_passed" }],
  [99, { outcome: "unrecognized", policy: null, models: [], fallbackReason: "" }],
]) {
  test(`the outcome ${expected.outcome}`, async (t) => {
    const { fake, router } = await serving(t, patient);
    const fallbackReason = outcome === Outcome.FALLBACK ? FallbackReason.DECIDE_BY_PASSED : 0;
    fake.answer = () => matched("code", ["large"], { outcome, fallbackReason });
    const { outcome: found, policy, models, fallbackReason: reason } = await router.route("Hi");
    assert.deepEqual({ outcome: found, policy, models, fallbackReason: reason }, expected);
  });
}

for (const fields of [{ outcome: Outcome.UNSPECIFIED }, { policy: "" }]) {
  test(`an answer that is none: ${JSON.stringify(fields)}`, async (t) => {
    const { fake, router } = await serving(t, patient);
    fake.answer = () => matched("code", [], fields);
    await assert.rejects(router.route("Hi"), archroute.ProtocolError);
  });
}

test("a call has a deadline unless it says otherwise", async (t) => {
  const { fake, router } = await serving(t, (address) => new Router(address));
  const bounds = [];
  fake.answer = (_, call) => {
    bounds.push(call.getDeadline() - Date.now());
    return matched("code");
  };
  // The first also connects, for which its 250 ms may be too short here.
  await router.route("Hi", PATIENT);
  await router.route("Hi", { timeout: Number.POSITIVE_INFINITY });
  await router.select("Hi").catch(() => {});
  await router.route("Hi").catch(() => {});
  assert.ok(bounds[0] > archroute.DEFAULT_TIMEOUT);
  assert.equal(bounds[1], Number.POSITIVE_INFINITY);
  assert.ok(bounds.slice(2).every((bound) => bound <= archroute.DEFAULT_TIMEOUT));
});

test("a deadline that passes", async (t) => {
  const { fake, router } = await serving(t, (address) => new Router(address, { timeout: 20 }));
  fake.answer = never;
  await assert.rejects(router.route("Hi"), (error) => {
    assert.ok(error instanceof archroute.DeadlineExceededError);
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.match(error.message, new RegExp(fake.address));
    return true;
  });
});

test("a signal cancels a call, before it and during it", async (t) => {
  const { fake, router } = await serving(t, patient);
  const controller = new AbortController();
  fake.answer = () => {
    controller.abort();
    return never();
  };
  await assert.rejects(router.route("Hi", { signal: controller.signal }), archroute.RequestCancelledError);
  await assert.rejects(router.route("Hi", { signal: AbortSignal.abort() }), archroute.RequestCancelledError);
});

test("gRPC makes a call again that the server could not take", async (t) => {
  const { fake, router } = await serving(t, patient);
  const refused = { "grpc-retry-pushback-ms": "1" };
  fake.answer = () => {
    if (fake.requests.length < 3) {
      throw refusal(grpc.status.RESOURCE_EXHAUSTED, "full", [], refused);
    }
    return matched("code");
  };
  assert.equal((await router.route("Hi")).policy, "code");
  assert.equal(fake.requests.length, 3);
});

test("policy sets are listed and shown", async (t) => {
  const { fake, router } = await serving(t, patient);
  fake.answer = () =>
    create(ListPolicySetsResponseSchema, {
      policySets: [{ name: "coding", revision: "sha256:1", policyCount: 2, isDefault: true }],
    });
  assert.deepEqual(await router.listPolicySets(), [
    { name: "coding", revision: "sha256:1", policyCount: 2, isDefault: true },
  ]);
  fake.answer = ({ name }) =>
    create(GetPolicySetResponseSchema, {
      policySet: { name, revision: "sha256:1", policies: [{ name: "code", description: "Programs", models: ["a"] }] },
    });
  assert.deepEqual(await router.getPolicySet("coding"), {
    name: "coding",
    revision: "sha256:1",
    policies: [{ name: "code", description: "Programs", models: ["a"] }],
    defaultPolicy: null,
  });
  fake.answer = () => create(GetPolicySetResponseSchema);
  await assert.rejects(router.getPolicySet(), archroute.ProtocolError);
});
