// A gRPC server on a free port of the loopback interface that answers what a test tells it to.

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import grpc from "@grpc/grpc-js";
import { METHODS } from "../dist/service.js";
import { Outcome, RouteResponseSchema, RouteStreamResponseSchema } from "../dist/stubs/archroute/v1/router_pb.js";
import { StatusSchema } from "../dist/stubs/google/rpc/status_pb.js";

export class FakeServer {
  /** Called for Route with the request and the call; returns the response, or throws a `refusal`. */
  answer = () => matched("code", ["large", "small"]);
  /** Called for RouteStream with the call. */
  stream = (call) => {
    call.on("data", ({ requestId }) => call.write(answered(requestId)));
    call.on("end", () => call.end());
  };
  /** What came, oldest first. */
  requests = [];
  calls = [];

  static async start(credentials = grpc.ServerCredentials.createInsecure()) {
    const fake = new FakeServer();
    fake.server = new grpc.Server();
    fake.server.addService(METHODS, {
      route: (call, callback) => fake.#settle(call, callback, () => fake.answer(call.request, call)),
      listPolicySets: (call, callback) => fake.#settle(call, callback, () => fake.answer(call.request, call)),
      getPolicySet: (call, callback) => fake.#settle(call, callback, () => fake.answer(call.request, call)),
      routeStream: (call) => {
        fake.calls.push(call);
        fake.stream(call);
      },
    });
    const port = await new Promise((resolve, reject) => {
      fake.server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    fake.address = `127.0.0.1:${port}`;
    return fake;
  }

  /** Breaks off the calls in flight. */
  stop() {
    this.server.forceShutdown();
  }

  async #settle(call, callback, answer) {
    this.requests.push(call.request);
    this.calls.push(call);
    try {
      callback(null, await answer());
    } catch (error) {
      callback(error);
    }
  }
}

/** A decision for a policy. */
export function matched(policy, models = [], fields = {}) {
  return create(RouteResponseSchema, { policy, outcome: Outcome.MATCHED, probability: 0.75, models, ...fields });
}

/** An answer of a stream whose policy says which request it belongs to. */
export function answered(requestId) {
  return create(RouteStreamResponseSchema, {
    requestId,
    result: { case: "response", value: matched(`for-${requestId}`) },
  });
}

/** The error of a call with the details of google.rpc.Status, as an archroute server sends it. */
export function refusal(code, message, details = [], entries = {}) {
  const metadata = new grpc.Metadata();
  const packed = details.map(([schema, fields]) => anyPack(schema, create(schema, fields)));
  const status = create(StatusSchema, { code, message, details: packed });
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  for (const [key, value] of Object.entries(entries)) {
    metadata.set(key, value);
  }
  return Object.assign(new Error(message), { code, details: message, metadata });
}

/** For a handler that never answers. */
export const never = () => new Promise(() => {});

/** Starts a server for one test, and a client of it from `connect`; both end with the test. */
export async function serving(test, connect, credentials) {
  const fake = await FakeServer.start(credentials);
  const router = connect(fake.address);
  test.after(() => {
    router.close();
    fake.stop();
  });
  return { fake, router };
}
