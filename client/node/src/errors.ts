/**
 * What can go wrong, and which gRPC status says so.
 *
 *     ArchrouteError
 *     ├── InvalidRequestError         INVALID_ARGUMENT, OUT_OF_RANGE; also thrown before any call
 *     ├── PolicySetNotFoundError      NOT_FOUND
 *     ├── FailedPreconditionError     FAILED_PRECONDITION
 *     ├── AccessDeniedError           UNAUTHENTICATED, PERMISSION_DENIED
 *     ├── DeadlineExceededError       DEADLINE_EXCEEDED
 *     ├── RequestCancelledError       CANCELLED
 *     ├── ResourceExhaustedError      RESOURCE_EXHAUSTED
 *     ├── UnavailableError            UNAVAILABLE
 *     ├── ServerError                 UNKNOWN, INTERNAL, DATA_LOSS, ABORTED, ALREADY_EXISTS
 *     └── ProtocolError               UNIMPLEMENTED; also an answer that is not one
 *
 * `DeadlineExceededError`, `ResourceExhaustedError` and `UnavailableError` may go away when the call is made
 * again. The rest will not.
 */

import { status } from "@grpc/grpc-js";

/** The name of a gRPC status, such as `NOT_FOUND`. */
export type StatusName = keyof typeof status;

/** One wrong field of a request (google.rpc.BadRequest.FieldViolation). */
export interface FieldViolation {
  /** A path such as `inline_policies.policies[2].name`. */
  readonly field: string;
  /** What is wrong with the field and what to do about it. */
  readonly description: string;
}

/** What is known of an error beyond its message. */
export interface ErrorDetails {
  code?: StatusName | undefined;
  reason?: string;
  fieldViolations?: readonly FieldViolation[];
  retryAfter?: number | undefined;
  cause?: unknown;
}

/** The root of every error that this package throws on purpose. */
export class ArchrouteError extends Error {
  /** The gRPC status that said so; undefined if the client found the error itself. */
  readonly code: StatusName | undefined;
  /** The server's stable name of the error (google.rpc.ErrorInfo.reason); empty if it gave none. */
  readonly reason: string;
  /** The wrong fields, in the order in which they were found. */
  readonly fieldViolations: readonly FieldViolation[];
  /** Milliseconds to wait before trying again (google.rpc.RetryInfo); undefined if the server does not say. */
  readonly retryAfter: number | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code;
    this.reason = details.reason ?? "";
    this.fieldViolations = details.fieldViolations ?? [];
    this.retryAfter = details.retryAfter;
  }
}

/** The request is wrong, and would be wrong again. `fieldViolations` says where. */
export class InvalidRequestError extends ArchrouteError {}

/** The server holds no policy set of that name. */
export class PolicySetNotFoundError extends ArchrouteError {}

/** The server is not set up for the request, for example because it has no default policy set. */
export class FailedPreconditionError extends ArchrouteError {}

/** The server, or a proxy before it, did not accept who is calling. */
export class AccessDeniedError extends ArchrouteError {}

/** No answer came within the timeout. */
export class DeadlineExceededError extends ArchrouteError {}

/** The call was cancelled, by its signal, by closing the router, or on the way. */
export class RequestCancelledError extends ArchrouteError {}

/** The server is at its limit, or the message is larger than it takes; `reason` tells them apart. */
export class ResourceExhaustedError extends ArchrouteError {}

/** Nobody answers at the address, or the server is starting or stopping. */
export class UnavailableError extends ArchrouteError {}

/** The server failed. Its log says why. */
export class ServerError extends ArchrouteError {}

/** What answered does not speak this version of `archroute.v1`. */
export class ProtocolError extends ArchrouteError {}

/** The error for one wrong field, found before any call. The description never holds conversation text. */
export function invalid(field: string, description: string): InvalidRequestError {
  return new InvalidRequestError(`${field}: ${description}`, { fieldViolations: [{ field, description }] });
}
