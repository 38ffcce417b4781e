/** Which model to call, and why; the declared default if there is no decision. */

import type { Decision } from "./decision.js";
import {
  AccessDeniedError,
  DeadlineExceededError,
  FailedPreconditionError,
  InvalidRequestError,
  invalid,
  PolicySetNotFoundError,
  ProtocolError,
  RequestCancelledError,
  ResourceExhaustedError,
  ServerError,
  UnavailableError,
} from "./errors.js";

/** Where conversations go that no policy names a model for. */
export interface Defaults {
  /** Named by a selection of the default, for those who count by policy. */
  readonly policy?: string;
  /** The preferred one first; at least one. */
  readonly models: readonly string[];
}

/**
 * Who named the policy.
 *
 * - `routed`: the router.
 * - `default`: nobody; the model is the declared default.
 */
export type SelectionOutcome = "routed" | "default";

/**
 * Why a selection has its outcome. `answered` is the reason of `routed`, all others are of `default`.
 *
 * - `other`, `low_confidence`, `unrecognized`: the router's decision names no policy; see `Outcome`.
 * - `fallback`: the router had no time to decide, and the policy set declares no default policy.
 * - `no_models`: the policy has no models.
 * - `client_error`: something failed on this side that was not foreseen.
 * - The rest are the errors of this package.
 */
export type SelectionReason =
  | "answered"
  | "other"
  | "low_confidence"
  | "fallback"
  | "unrecognized"
  | "no_models"
  | "access_denied"
  | "cancelled"
  | "deadline_exceeded"
  | "failed_precondition"
  | "invalid_request"
  | "policy_set_not_found"
  | "protocol_error"
  | "resource_exhausted"
  | "server_error"
  | "unavailable"
  | "client_error";

/** Which model to call, which ones to try if it fails, and how that came about. */
export interface Selection {
  readonly model: string;
  /** To try next, in this order: the policy's other models, then the default ones. */
  readonly alternatives: readonly string[];
  /** The policy that the router named, or else that of the defaults; null if they name none. */
  readonly policy: string | null;
  readonly outcome: SelectionOutcome;
  readonly reason: SelectionReason;
  /** The router's answer; null if there was none. */
  readonly decision: Decision | null;
  /** What went wrong; null if nothing did. */
  readonly error: Error | null;
}

const REASONS = new Map<unknown, SelectionReason>([
  [AccessDeniedError, "access_denied"],
  [DeadlineExceededError, "deadline_exceeded"],
  [FailedPreconditionError, "failed_precondition"],
  [InvalidRequestError, "invalid_request"],
  [PolicySetNotFoundError, "policy_set_not_found"],
  [ProtocolError, "protocol_error"],
  [RequestCancelledError, "cancelled"],
  [ResourceExhaustedError, "resource_exhausted"],
  [ServerError, "server_error"],
  [UnavailableError, "unavailable"],
]);

/** The defaults, checked: `select` must not fail for want of a model. Throws `InvalidRequestError`. */
export function checkedDefaults(defaults: Defaults): Defaults {
  if (!Array.isArray(defaults.models) || defaults.models.length === 0) {
    throw invalid("defaults.models", "name at least one model, for when there is no decision");
  }
  return { ...defaults, models: [...defaults.models] };
}

/** The selection that follows from the router's answer. */
export function selectionOf(decision: Decision, defaults: Defaults): Selection {
  if (decision.outcome !== "matched" && decision.policy === null) {
    return ofDefaults(defaults, decision.outcome, decision, null);
  }
  const [model, ...others] = decision.models;
  if (model === undefined) {
    return ofDefaults(defaults, "no_models", decision, null);
  }
  const alternatives = [...new Set([...others, ...defaults.models])].filter((name) => name !== model);
  return { model, alternatives, policy: decision.policy, outcome: "routed", reason: "answered", decision, error: null };
}

/** The selection without an answer. */
export function selectionWithout(error: unknown, defaults: Defaults): Selection {
  const thrown = error instanceof Error ? error : new Error(String(error));
  return ofDefaults(defaults, REASONS.get(thrown.constructor) ?? "client_error", null, thrown);
}

function ofDefaults(
  defaults: Defaults,
  reason: SelectionReason,
  decision: Decision | null,
  error: Error | null,
): Selection {
  const [model, ...alternatives] = defaults.models as [string, ...string[]];
  return { model, alternatives, policy: defaults.policy ?? null, outcome: "default", reason, decision, error };
}
