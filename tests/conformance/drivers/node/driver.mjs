// Makes the calls of the conformance cases with the client for Node.js. See README.md two folders above.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { Router } from "../../../../client/node/dist/index.js";

// From where the client is installed, and gRPC with it.
const require = createRequire(new URL("../../../../client/node/package.json", import.meta.url));
const grpc = require("@grpc/grpc-js");
const protoLoader = createRequire(require.resolve("@grpc/grpc-js"))("@grpc/proto-loader");

const ROLES = {
  ROLE_SYSTEM: "system",
  ROLE_DEVELOPER: "developer",
  ROLE_USER: "user",
  ROLE_ASSISTANT: "assistant",
  ROLE_TOOL: "tool",
};

function connect({ address, tls, ca, token }) {
  return new Router(address, { ...(tls && { tls: ca ? { ca } : true }), ...(token && { token }) });
}

/** The request in JSON as the client takes it. */
function conversation({ messages }) {
  return messages.map(({ role, parts = [] }) => ({
    role: ROLES[role],
    content: parts.map((part) => ("text" in part ? { type: "text", text: part.text } : { type: "image_url" })),
  }));
}

function options({ policy_set, inline_policies, session_id, options = {} }) {
  return {
    ...(policy_set && { policySet: policy_set }),
    ...(inline_policies && { policies: inline_policies.policies }),
    ...(session_id && { sessionId: session_id }),
    ...(options.top_k && { topK: options.top_k }),
    ...(options.min_probability && { minProbability: options.min_probability }),
    ...(options.decide_by && { decideBy: Number.parseFloat(options.decide_by) * 1000 }),
  };
}

/** The decision as the protocol writes it. */
function response({ policy, outcome, probability, ranking, models, revisions, tokens, sessionId, fallbackReason }) {
  return {
    policy: policy ?? "",
    outcome: `OUTCOME_${outcome.toUpperCase()}`,
    probability,
    ranking,
    models,
    revisions: { policy_set: revisions.policySet, provider: revisions.provider },
    tokens: {
      prompt_tokens: tokens.promptTokens,
      cached_tokens: tokens.cachedTokens,
      forward_passes: tokens.forwardPasses,
    },
    session_id: sessionId,
    fallback_reason: `FALLBACK_REASON_${fallbackReason.toUpperCase() || "UNSPECIFIED"}`,
  };
}

function error({ code, reason, fieldViolations, retryAfter }) {
  return { code, reason, fields: fieldViolations.map(({ field }) => field), retry_after_ms: retryAfter ?? null };
}

async function route({ request, timeout }, router) {
  try {
    const decision = await router.route(conversation(request), { ...options(request), timeout: timeout * 1000 });
    return { response: response(decision) };
  } catch (failure) {
    return { error: error(failure) };
  }
}

async function routeStream({ requests, timeout }, router) {
  const sent = requests.map(({ request_id, request }) => ({
    requestId: request_id,
    messages: conversation(request),
    ...options(request),
  }));
  const answers = [];
  try {
    for await (const answer of router.routeStream(sent, { timeout: timeout * 1000 })) {
      const result = answer.error ? { error: error(answer.error) } : { response: response(answer.decision) };
      answers.push({ request_id: answer.requestId, ...result });
    }
  } catch (failure) {
    return { answers, error: error(failure) };
  }
  return { answers };
}

/** With gRPC itself, as the client has no method for it. */
async function checkHealth({ service, timeout }, { address }) {
  const protos = fileURLToPath(new URL("../../protos", import.meta.url));
  const definition = protoLoader.loadSync("grpc/health/v1/health.proto", { includeDirs: [protos], enums: String });
  const { Health } = grpc.loadPackageDefinition(definition).grpc.health.v1;
  const client = new Health(address, grpc.credentials.createInsecure());
  try {
    return await new Promise((resolve) => {
      client.Check({ service }, { deadline: Date.now() + timeout * 1000 }, (failure, answer) =>
        resolve(failure ? { error: { code: grpc.status[failure.code] } } : { status: answer.status }),
      );
    });
  } finally {
    client.close();
  }
}

const plan = JSON.parse(await text(process.stdin));
for (const planned of plan.cases) {
  const target = plan.targets[planned.target];
  let result;
  if (planned.call === "check_health") {
    result = await checkHealth(planned, target);
  } else {
    const router = connect(target);
    result = await (planned.call === "route" ? route : routeStream)(planned, router);
    router.close();
  }
  console.log(JSON.stringify({ name: planned.name, ...result }));
}
