/** The methods of `archroute.v1.RouterService`, as gRPC for Node.js takes them. */

import { type DescMessage, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";
import { RouterService } from "./stubs/archroute/v1/router_pb.js";

const { route, routeStream, listPolicySets, getPolicySet } = RouterService.method;

/** For clients, and for servers in tests. */
export const METHODS = {
  route: definition(route),
  routeStream: definition(routeStream),
  listPolicySets: definition(listPolicySets),
  getPolicySet: definition(getPolicySet),
};

/** The wire format of a method's messages, and where it is found. */
function definition<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { input: I; output: O },
): MethodDefinition<MessageShape<I>, MessageShape<O>> {
  const streams = method.methodKind === "bidi_streaming";
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    originalName: method.localName,
    requestStream: streams,
    responseStream: streams,
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}
