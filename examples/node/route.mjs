// Asks an archroute server which policy a message calls for.
//
//     node route.mjs "Plan three days in Lisbon"
//
// The address is taken from ARCHROUTE_ADDRESS. Nothing is generated: the proto file is read as it is.

import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const protos = fileURLToPath(new URL("../../protos", import.meta.url));
const definition = await protoLoader.load("archroute/v1/router.proto", {
  includeDirs: [protos],
  enums: String,
  defaults: true,
});
const { RouterService } = grpc.loadPackageDefinition(definition).archroute.v1;

const address = process.env.ARCHROUTE_ADDRESS || "localhost:50051";
const client = new RouterService(address, grpc.credentials.createInsecure());

const request = {
  messages: [{ role: "ROLE_USER", parts: [{ text: process.argv[2] ?? "Hello" }] }],
  options: { topK: 3 },
};
const deadline = new Date(Date.now() + 30_000);

client.Route(request, { deadline }, (error, answer) => {
  client.close();
  if (error) {
    console.error(`${grpc.status[error.code]}: ${error.details}`);
    process.exitCode = 1;
    return;
  }
  // Only OUTCOME_MATCHED names a policy. With any other outcome, go on with your default model.
  console.log(answer.outcome, answer.policy, answer.models);
  for (const { policy, probability } of answer.ranking) {
    console.log(probability.toFixed(3), policy);
  }
});
