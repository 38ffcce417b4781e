import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import grpc from "@grpc/grpc-js";
import { AccessDeniedError, InvalidRequestError, Router, UnavailableError } from "../dist/index.js";
import { matched, refusal, serving } from "./fake_server.mjs";

const folder = mkdtempSync(join(tmpdir(), "archroute-"));
after(() => rmSync(folder, { recursive: true }));

/** A certificate that is its own authority. */
function certificate(name) {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  execFileSync("openssl", [...made, ...subject, "-keyout", key, "-out", cert], { stdio: "pipe" });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

const server = certificate("router.test");
const client = certificate("client.test");
const trusting = { ca: server.cert, serverName: "router.test" };

function secured({ mutual = false } = {}) {
  const pairs = [{ private_key: server.key, cert_chain: server.cert }];
  return grpc.ServerCredentials.createSsl(mutual ? client.cert : null, pairs, mutual);
}

test("TLS with an authority of one's own, and a token", async (t) => {
  const tokens = ["first", "second"];
  const options = { tls: trusting, token: () => tokens.shift(), timeout: 60_000 };
  const { fake, router } = await serving(t, (address) => new Router(address, options), secured());
  await router.route("Hi");
  await router.route("Hi");
  const sent = fake.calls.map((call) => call.metadata.get("authorization"));
  assert.deepEqual(sent, [["Bearer first"], ["Bearer second"]]);
});

test("a server that is not trusted", async (t) => {
  const { router } = await serving(t, (address) => new Router(address, { tls: true, timeout: 60_000 }), secured());
  await assert.rejects(router.route("Hi"), UnavailableError);
});

test("a certificate of the client's", async (t) => {
  const both = { ...trusting, ...client };
  const credentials = secured({ mutual: true });
  const { router } = await serving(t, (address) => new Router(address, { tls: both, timeout: 60_000 }), credentials);
  assert.equal((await router.route("Hi")).policy, "code");
  assert.throws(() => new Router("localhost:1", { tls: { cert: client.cert } }), InvalidRequestError);
});

test("a token stays on this machine without TLS", async (t) => {
  for (const address of ["router.example:50051", "10.0.0.1:50051", "dns:///router:50051", "localhost.example:1"]) {
    assert.throws(() => new Router(address, { token: "secret" }), (error) => {
      assert.equal(error.fieldViolations[0].field, "token");
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
  const { fake, router } = await serving(t, (address) => new Router(address, { token: "secret", timeout: 60_000 }));
  fake.answer = (_, call) => {
    if (call.metadata.get("authorization")[0] !== "Bearer secret") {
      throw refusal(grpc.status.UNAUTHENTICATED, "who is it?");
    }
    return matched("code");
  };
  assert.equal((await router.route("Hi")).policy, "code");
  const stranger = new Router(fake.address, { timeout: 60_000 });
  t.after(() => stranger.close());
  await assert.rejects(stranger.route("Hi"), AccessDeniedError);
});

test("the token goes with a stream as well", async (t) => {
  const { fake, router } = await serving(t, (address) => new Router(address, { token: "secret" }));
  for await (const { decision } of router.routeStream([{ requestId: "1", messages: "Hi" }])) {
    assert.equal(decision.policy, "for-1");
  }
  assert.deepEqual(fake.calls[0].metadata.get("authorization"), ["Bearer secret"]);
});
