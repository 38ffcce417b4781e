// Asks an archroute server which model a message should go to.
//
//     node route.mjs "Plan three days in Lisbon"
//
// The address is taken from ARCHROUTE_ADDRESS.

import { ArchrouteError, InvalidRequestError, Router } from "archroute";

const address = process.env.ARCHROUTE_ADDRESS || "localhost:50051";
const router = new Router(address, { defaults: { policy: "general_knowledge", models: ["openai/gpt-5-mini"] } });
const message = process.argv[2] ?? "Hello";

// What an application needs: a model, whatever happens, within 250 ms.
const { model, outcome, reason } = await router.select(message);
console.log(`send it to ${model} (${outcome}: ${reason})`);

// What a person wants to see: the whole decision, or the error.
try {
  const decision = await router.route(message, { topK: 3, timeout: 30_000 });
  console.log(decision.outcome, decision.policy, decision.models);
  for (const { policy, probability } of decision.ranking) {
    console.log(probability.toFixed(3), policy);
  }
} catch (error) {
  if (!(error instanceof ArchrouteError)) {
    throw error;
  }
  console.error(error.message);
  if (error instanceof InvalidRequestError) {
    console.error(error.fieldViolations);
  }
  process.exitCode = 1;
} finally {
  router.close();
}
