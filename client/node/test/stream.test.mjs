import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import grpc from "@grpc/grpc-js";
import * as archroute from "../dist/index.js";
import { RouteStreamResponseSchema } from "../dist/stubs/archroute/v1/router_pb.js";
import { answered, refusal, serving } from "./fake_server.mjs";

const { Router } = archroute;
const connect = (address) => new Router(address);

function asking(...ids) {
  return ids.map((requestId) => ({ requestId, messages: "Hi" }));
}

async function collect(answers) {
  const found = [];
  for await (const { requestId, decision, error } of answers) {
    found.push([requestId, decision?.policy ?? error]);
  }
  return found;
}

test("answers come in the order of the server", async (t) => {
  const { fake, router } = await serving(t, connect);
  fake.stream = (call) => {
    const waiting = [];
    call.on("data", ({ requestId }) => waiting.unshift(requestId));
    call.on("end", () => {
      for (const requestId of waiting) {
        call.write(answered(requestId));
      }
      call.end();
    });
  };
  assert.deepEqual(await collect(router.routeStream(asking("1", "2", "3"))), [
    ["3", "for-3"],
    ["2", "for-2"],
    ["1", "for-1"],
  ]);
});

test("an answer can be waited for before the next request is made", async (t) => {
  const { router } = await serving(t, connect);
  let next;
  async function* requests() {
    for (const requestId of ["1", "2", "3"]) {
      const answer = new Promise((resolve) => {
        next = resolve;
      });
      yield { requestId, messages: "Hi" };
      assert.equal(await answer, requestId);
    }
  }
  const seen = [];
  for await (const { requestId } of router.routeStream(requests())) {
    seen.push(requestId);
    next(requestId);
  }
  assert.deepEqual(seen, ["1", "2", "3"]);
});

test("an error of one request is in its place, whoever found it", async (t) => {
  const { fake, router } = await serving(t, connect);
  fake.stream = (call) => {
    const error = {
      code: grpc.status.NOT_FOUND,
      reason: "POLICY_SET_NOT_FOUND",
      message: "there is none",
      fieldViolations: [{ field: "policy_set", description: "is unknown" }],
    };
    call.on("data", ({ requestId }) =>
      call.write(
        requestId === "bad"
          ? create(RouteStreamResponseSchema, { requestId, result: { case: "error", value: error } })
          : answered(requestId),
      ),
    );
    call.on("end", () => call.end());
  };
  const requests = [...asking("1", "bad"), { requestId: "wrong", messages: 7 }, ...asking("2")];
  const found = Object.fromEntries(await collect(router.routeStream(requests)));
  assert.deepEqual([found["1"], found["2"]], ["for-1", "for-2"]);
  assert.ok(found.bad instanceof archroute.PolicySetNotFoundError);
  assert.equal(found.bad.reason, "POLICY_SET_NOT_FOUND");
  assert.deepEqual(found.bad.fieldViolations, [{ field: "policy_set", description: "is unknown" }]);
  assert.ok(found.wrong instanceof archroute.InvalidRequestError);
});

test("an error of the requests is thrown after the answers", async (t) => {
  const { router } = await serving(t, connect);
  function* requests() {
    yield* asking("1", "2");
    throw new RangeError("no more");
  }
  const seen = [];
  await assert.rejects(async () => {
    for await (const { requestId } of router.routeStream(requests())) {
      seen.push(requestId);
    }
  }, RangeError);
  assert.deepEqual(seen, ["1", "2"]);
});

for (const ids of [["1", ""], ["1", "1"]]) {
  test(`ids that answers cannot be told apart by: ${JSON.stringify(ids)}`, async (t) => {
    const { fake, router } = await serving(t, connect);
    fake.stream = (call) => call.on("data", () => {}).on("end", () => call.end());
    await assert.rejects(collect(router.routeStream(asking(...ids))), archroute.InvalidRequestError);
  });
}

for (const [what, stream] of [
  ["leaves a request unanswered", (call) => call.on("data", () => {}).on("end", () => call.end())],
  ["answers what was not asked", (call) => call.on("data", () => call.write(answered("else")))],
]) {
  test(`a server that ${what}`, async (t) => {
    const { fake, router } = await serving(t, connect);
    fake.stream = stream;
    await assert.rejects(collect(router.routeStream(asking("1"))), archroute.ProtocolError);
  });
}

test("an answer with no result is an error in its place", async (t) => {
  const { fake, router } = await serving(t, connect);
  fake.stream = (call) => {
    call.on("data", ({ requestId }) => call.write(create(RouteStreamResponseSchema, { requestId })));
    call.on("end", () => call.end());
  };
  const [[requestId, error]] = await collect(router.routeStream(asking("1")));
  assert.equal(requestId, "1");
  assert.ok(error instanceof archroute.ProtocolError);
});

test("what ends the stream is thrown", async (t) => {
  const { fake, router } = await serving(t, connect);
  fake.stream = (call) => call.on("data", () => call.emit("error", refusal(grpc.status.UNAVAILABLE, "stopping")));
  await assert.rejects(collect(router.routeStream(asking("1"))), archroute.UnavailableError);
  fake.stream = (call) => call.on("data", () => {});
  const late = router.routeStream(asking("1"), { timeout: 20 });
  await assert.rejects(collect(late), archroute.DeadlineExceededError);
  const aborted = router.routeStream(asking("1"), { signal: AbortSignal.abort() });
  await assert.rejects(collect(aborted), archroute.RequestCancelledError);
});

test("a caller that stops reading ends the call", async (t) => {
  const { fake, router } = await serving(t, connect);
  async function* forever() {
    for (let id = 0; ; id += 1) {
      yield { requestId: String(id), messages: "Hi" };
      await new Promise(setImmediate);
    }
  }
  for await (const answer of router.routeStream(forever())) {
    assert.equal(answer.decision.policy, `for-${answer.requestId}`);
    break;
  }
  const [call] = fake.calls;
  if (!call.cancelled) {
    await once(call, "cancelled");
  }
});
