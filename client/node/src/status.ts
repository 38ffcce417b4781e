/** From a gRPC status to an error of this package: the one place where calls and streams meet. */

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { toMilliseconds } from "./duration.js";
import {
  AccessDeniedError,
  type ArchrouteError,
  DeadlineExceededError,
  type ErrorDetails,
  FailedPreconditionError,
  type FieldViolation,
  InvalidRequestError,
  PolicySetNotFoundError,
  ProtocolError,
  RequestCancelledError,
  ResourceExhaustedError,
  ServerError,
  type StatusName,
  UnavailableError,
} from "./errors.js";
import type { RouteError } from "./stubs/archroute/v1/router_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./stubs/google/rpc/error_details_pb.js";
import { StatusSchema } from "./stubs/google/rpc/status_pb.js";

// Where gRPC's richer error model puts a google.rpc.Status: https://grpc.io/docs/guides/error/
const DETAILS_KEY = "grpc-status-details-bin";

// How gRPC for Node.js begins the status of a call whose answer it cannot parse. The server said OK.
const UNREADABLE = "Response message parsing error";

type ErrorClass = new (message: string, details: ErrorDetails) => ArchrouteError;

const ERRORS: Record<StatusName, ErrorClass> = {
  OK: ProtocolError,
  CANCELLED: RequestCancelledError,
  UNKNOWN: ServerError,
  INVALID_ARGUMENT: InvalidRequestError,
  DEADLINE_EXCEEDED: DeadlineExceededError,
  NOT_FOUND: PolicySetNotFoundError,
  ALREADY_EXISTS: ServerError,
  PERMISSION_DENIED: AccessDeniedError,
  RESOURCE_EXHAUSTED: ResourceExhaustedError,
  FAILED_PRECONDITION: FailedPreconditionError,
  ABORTED: ServerError,
  OUT_OF_RANGE: InvalidRequestError,
  UNIMPLEMENTED: ProtocolError,
  INTERNAL: ServerError,
  UNAVAILABLE: UnavailableError,
  DATA_LOSS: ServerError,
  UNAUTHENTICATED: AccessDeniedError,
};

/** The error for a call that failed, which names the address that was called. */
export function callError(error: unknown, address: string): Error {
  if (!isServiceError(error)) {
    return error instanceof Error ? error : new Error(String(error));
  }
  if (error.code === status.INTERNAL && error.details.startsWith(UNREADABLE)) {
    return new ProtocolError(`the answer from ${address} cannot be parsed`, { cause: error });
  }
  return build(statusName(error.code), error.details, { ...readDetails(error.metadata), cause: error }, address);
}

/** The error that a stream gives in the place of one answer. */
export function routeError(error: RouteError, address: string): ArchrouteError {
  const details: ErrorDetails = {
    reason: error.reason,
    fieldViolations: error.fieldViolations.map(({ field, description }) => ({ field, description })),
    retryAfter: error.retryAfter && toMilliseconds(error.retryAfter),
  };
  return build(statusName(error.code), error.message, details, address);
}

function build(code: StatusName, said: string, details: ErrorDetails, address: string): ArchrouteError {
  const reason = details.reason ? ` [${details.reason}]` : "";
  // An archroute server gives a reason with every error; gRPC itself, when nobody is there, does not.
  const nobody = code === "UNAVAILABLE" && !details.reason;
  const summary = nobody ? `no archroute server answers at ${address}` : `${address} answered ${code}`;
  const message = `${summary}${said ? `: ${said}` : ""}${reason}`;
  return new ERRORS[code](message, { ...details, code });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && "details" in error;
}

function statusName(code: number): StatusName {
  const name = status[code] as StatusName | undefined;
  return name ?? "UNKNOWN";
}

function readDetails(metadata: Metadata | undefined): ErrorDetails {
  const found: ErrorDetails = {};
  const violations: FieldViolation[] = [];
  for (const value of metadata?.get(DETAILS_KEY) ?? []) {
    try {
      for (const packed of fromBinary(StatusSchema, value as Buffer).details) {
        const info = anyUnpack(packed, ErrorInfoSchema);
        if (info) {
          found.reason = info.reason;
        }
        const retry = anyUnpack(packed, RetryInfoSchema);
        if (retry?.retryDelay) {
          found.retryAfter = toMilliseconds(retry.retryDelay);
        }
        for (const { field, description } of anyUnpack(packed, BadRequestSchema)?.fieldViolations ?? []) {
          violations.push({ field, description });
        }
      }
    } catch {
      // Details that cannot be parsed are passed over: the status beside them still says what happened.
    }
  }
  return { ...found, fieldViolations: violations };
}
