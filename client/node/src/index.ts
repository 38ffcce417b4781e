/** The client of archroute: which policy, and hence which model, does a conversation call for? */

export type { TlsOptions } from "./channel.js";
export type { Decision, FallbackReason, Outcome, RankedPolicy, Revisions, Timings, TokenUsage } from "./decision.js";
export {
  AccessDeniedError,
  ArchrouteError,
  DeadlineExceededError,
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
export type { Conversation, Message, MessagePart } from "./message.js";
export type { Policy, RouteOptions, RouteRequest } from "./request.js";
export { type CallOptions, DEFAULT_TIMEOUT, type PolicySet, type PolicySetSummary, Router, type RouterOptions } from "./router.js";
export type { Defaults, Selection, SelectionOutcome, SelectionReason } from "./selection.js";
export type { StreamAnswer, StreamRequest } from "./stream.js";
export { VERSION } from "./version.js";
